"""Real trained cells do what they did where they were trained."""

import importlib
import json
import sys
from pathlib import Path

import flax.linen as nn
import numpy as np
import oracles_recurrent as oracles
import pytest
from safetensors.numpy import load_file

import structlin as sl

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

models = importlib.import_module("_models")


def test_shakespeare(data_dir):
    model = models.charrnn("shakespeare", 100_000)
    # 1.868 over the whole text; a sample of this size is within 0.03.
    assert models.evaluate(model, model.params)["bits_per_character"] == pytest.approx(
        1.87, abs=0.03
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bits"), [("shakespeare", 1.87), ("charlotte_bronte", 1.89)])
def test_published_bits_a_character(name, bits, data_dir):
    model = models.charrnn(name, None)
    assert model.test(model.params)["bits_per_character"] == pytest.approx(bits, abs=0.01)


@pytest.mark.slow
def test_published_word_accuracy(data_dir):
    model = models.g2p()
    figures = model.test(model.params)
    # Published on 4,000 other words: a standard error is 0.7 points. On 20,000 it is 70.6 %.
    assert figures["word_accuracy"] == pytest.approx(0.700, abs=0.0075)
    assert figures["phoneme_error"] == pytest.approx(0.094, abs=0.003)


def test_pronunciations(data_dir):
    model = models.g2p(1)
    words = {"structure": "S T R AH1 K CH ER0", "small": "S M AO1 L", "kernel": "K ER1 N AH0 L"}
    assert models.pronounce(model.module, model.params, list(words), batch=4) == [
        phonemes.split() for phonemes in words.values()
    ]


def test_edit_distance():
    for a, b, far in (("kitten", "sitting", 3), ("", "ab", 2), ("ab", "", 2), ("flaw", "lawn", 2)):
        assert models.edit_distance(list(a), list(b)) == far


def test_silero(data_dir, rng):
    cell, params = models.silero_cell()
    path = data_dir / "models" / "silero_vad" / "silero_vad_16k.safetensors"
    weights = {n.removeprefix("lstm_cell."): v for n, v in load_file(path).items()}
    x, h, c = (rng.normal(size=(4, 128)).astype(np.float32) for _ in range(3))
    (_, new), _ = cell.apply({"params": params}, (c, h), x)
    np.testing.assert_allclose(new, oracles.pytorch_lstm(weights, x, h, c)[0], atol=1e-5)


def test_the_cudnn_layers_of_textgenrnn_know_what_comes_next(data_dir):
    folder = data_dir / "models" / "textgenrnn"
    vocabulary = json.loads((folder / "textgenrnn_vocab.json").read_text("utf-8"))
    with np.load(folder / "weights.npz") as file:
        weights = dict(file)
    text = (
        "What is the best way to get started with a new job in a big city? I have never seen "
        "anything like this before, but it looks like a great way to learn something new."
    )
    tokens = np.array([vocabulary[c] for c in text])
    windows = np.lib.stride_tricks.sliding_window_view(tokens[:-1], 40)
    embedded = weights["embedding/embeddings"][windows]
    outputs = [embedded]
    for layer in ("rnn_1", "rnn_2"):
        rnn = nn.RNN(nn.OptimizedLSTMCell(128))
        params = {"cell": sl.convert(weights, prefix=layer)}
        outputs.append(np.asarray(rnn.apply({"params": params}, outputs[-1])))
    x = np.concatenate(outputs, axis=-1)
    scores = np.exp(x @ weights["attention/attention_W"])
    pooled = (x * scores).sum(1) / scores.sum(1)
    logits = pooled @ weights["output/kernel"] + weights["output/bias"]
    assert np.mean(logits.argmax(-1) == tokens[40:]) > 0.6
