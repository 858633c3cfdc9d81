"""Trained models of others in ordinary Flax modules, read by `structlin.convert`, and their tests.

Each model is a `Trained`: an unmodified Linen module, its parameters, and what it is good for,
measured by `evaluate`. The files and the texts are read from the folder of data sets
(``$STRUCTLIN_DATA``, by default ``../shared/data`` beside the project).
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import structlin as sl

ROOT = Path(__file__).resolve().parents[1]
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH"),
    *("T", "TH", "UW", "V", "W", "Y", "Z", "ZH"),
)
PHONEMES = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    *sorted([v + s for v in VOWELS for s in "012"] + [*CONSONANTS]),
]
START, STOP = PHONEMES.index("<s>"), PHONEMES.index("</s>")
MOST = 20
"""How many phonemes of a word are made at most, as in the package of the model."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model and its test.

    Attributes:
        name: Its folder, and file where there are several.
        module: The Linen module; its parameters are those of Flax's own layers.
        params: What it was trained to.
        cells: Where in ``params`` its recurrent cells are, and of which kind.
        metric: The name of the figure that counts, in what ``test`` returns.
        test: Parameters (dense) to figures.
    """

    name: str
    module: nn.Module
    params: dict[str, Any]
    cells: dict[tuple[str, ...], str]
    metric: str
    test: Callable[[Any], dict[str, float]]


def evaluate(model: Trained, params: Any) -> dict[str, float]:
    """The figures of a model with other parameters; structured ones are formed as dense arrays."""
    return model.test(sl.densify(params))


def data_folder() -> Path:
    """The folder of data sets.

    Raises:
        FileNotFoundError: There is none.
    """
    folder = Path(os.environ.get("STRUCTLIN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"No data sets in {folder}: set STRUCTLIN_DATA to the folder that holds them."
        )
    return folder


class CharRNN(nn.Module):
    """Embedding, two LSTM layers, and the logits of the next character.

    Attributes:
        vocabulary: How many characters there are.
        hidden: The width of the embedding and of both layers.
    """

    vocabulary: int
    hidden: int = 128

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits ``(time, batch, vocabulary)`` for characters ``(time, batch)``, from rest."""
        x: Any = nn.Embed(self.vocabulary, self.hidden, name="embed")(tokens)
        for name in ("cell_0", "cell_1"):
            cell = nn.OptimizedLSTMCell(self.hidden, name=name)
            x = nn.RNN(cell, time_major=True, name=f"rnn_{name}")(x)
        return nn.Dense(self.vocabulary, name="out")(x)


class G2P(nn.Module):
    """A GRU that reads the letters of a word and one that writes its phonemes, each the likeliest.

    Attributes:
        hidden: The width of both embeddings and both cells.
    """

    hidden: int = 256

    @nn.compact
    def __call__(self, letters: jax.Array, lengths: jax.Array) -> jax.Array:
        """Phonemes ``(batch, MOST)`` for letters ``(batch, time)`` of words of these lengths."""
        x = nn.Embed(len(LETTERS), self.hidden, name="letters")(letters)
        rnn = nn.RNN(nn.GRUCell(self.hidden, name="encoder"), return_carry=True, name="reader")
        state, _ = rnn(x, seq_lengths=lengths)
        embed = nn.Embed(len(PHONEMES), self.hidden, name="phonemes")
        decoder, out = nn.GRUCell(self.hidden, name="decoder"), nn.Dense(len(PHONEMES), name="out")

        def step(module: nn.Module, carry: Any, _: None) -> tuple[Any, jax.Array]:
            del module
            state, last = carry
            state, y = decoder(state, embed(last))
            best = jnp.argmax(out(y), axis=-1)
            return (state, best), best

        writer = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            length=MOST,
            out_axes=1,
        )
        start = jnp.full(letters.shape[:1], START)
        return writer(self, (state, start), None)[1]


def charrnn(name: str, characters: int | None = 100_000) -> Trained:
    """A character LSTM of ml5.js, ``"shakespeare"`` or ``"charlotte_bronte"``.

    It is tested on the text that it was trained on: there is no other of its kind.

    Args:
        name: Which of the two.
        characters: How many to test on, spread over the whole text; all of it if ``None``.
    """
    data = data_folder()
    folder = data / "models" / "ml5_charrnn"
    text_file = {
        "shakespeare": "tinyshakespeare/input.txt",
        "charlotte_bronte": "bronte/bronte.txt",
    }
    vocabulary = json.loads((folder / f"{name}.vocab.json").read_text("utf-8"))
    with np.load(folder / f"{name}.npz") as file:
        weights = dict(file)
    params: dict[str, Any] = {
        "embed": {"embedding": jnp.asarray(weights["embedding"])},
        "out": {
            "kernel": jnp.asarray(weights["rnnlm_softmax_w"]),
            "bias": jnp.asarray(weights["rnnlm_softmax_b"]),
        },
    }
    for cell in ("cell_0", "cell_1"):
        params[cell] = sl.convert(weights, prefix=f"{cell}_basic_lstm_cell")
    text = (data / text_file[name]).read_text("utf-8")
    tokens = np.array([vocabulary[c] for c in text], np.int32)
    module = CharRNN(len(vocabulary))
    cells = {("cell_0",): "lstm", ("cell_1",): "lstm"}
    test = functools.partial(bits_a_character, module, tokens, characters)
    return Trained(f"ml5_charrnn/{name}", module, params, cells, "bits_per_character", test)


STREAMS, WARM_UP = 256, 100


def bits_a_character(
    module: CharRNN, tokens: np.ndarray, characters: int | None, params: Any
) -> dict[str, float]:
    """Mean bits of a text's characters, each given those before it.

    The text is read at `STREAMS` places at once, as far apart as can be; reading begins `WARM_UP`
    characters before the first that counts. Of the whole text, only its first `WARM_UP` characters
    and a remainder do not count.
    """
    apart = (len(tokens) - 1 - WARM_UP) // STREAMS
    length = min(apart, (characters or len(tokens)) // STREAMS)
    chunks = -(-length // 500)
    chunk, total = length // chunks, 0.0
    for first in range(chunks):
        time = first * chunk + np.arange(WARM_UP + chunk + 1)
        at = time[:, None] + np.arange(STREAMS) * apart
        total += float(_bits(module, params, jnp.asarray(tokens[at])))
    return {"bits_per_character": total / chunks}


@functools.partial(jax.jit, static_argnums=0)
def _bits(module: CharRNN, params: Any, tokens: jax.Array) -> jax.Array:
    logits: Any = module.apply({"params": params}, tokens[:-1])
    found = jax.nn.log_softmax(logits[WARM_UP:])
    right = jnp.take_along_axis(found, tokens[1 + WARM_UP :, :, None], axis=-1)
    return -jnp.mean(right) / jnp.log(2.0)


def silero_cell() -> tuple[nn.OptimizedLSTMCell, dict[str, Any]]:
    """The LSTM cell, 128 to 128, of Silero's voice activity detector, and its parameters."""
    path = data_folder() / "models" / "silero_vad" / "silero_vad_16k.safetensors"
    return nn.OptimizedLSTMCell(128), sl.convert(path, prefix="lstm_cell")


def g2p(words: int = 4000) -> Trained:
    """The grapheme-to-phoneme model of g2p_en, tested on words of the CMU dictionary."""
    data = data_folder()
    with np.load(data / "models" / "g2p_en" / "checkpoint20.npz") as file:
        weights = dict(file)
    params: dict[str, Any] = {
        "letters": {"embedding": jnp.asarray(weights["enc_emb"])},
        "phonemes": {"embedding": jnp.asarray(weights["dec_emb"])},
        "out": {"kernel": jnp.asarray(weights["fc_w"].T), "bias": jnp.asarray(weights["fc_b"])},
    }
    for side, name in (("enc", "encoder"), ("dec", "decoder")):
        renamed = {
            f"weight_{n}".replace("weight_b", "bias"): weights[f"{side}_{key}"]
            for n, key in (("ih", "w_ih"), ("hh", "w_hh"), ("b_ih", "b_ih"), ("b_hh", "b_hh"))
        }
        params[name] = sl.convert(renamed)
    module = G2P()
    test = functools.partial(word_accuracy, module, sample(data / "cmudict" / "cmudict", words))
    cells = {("encoder",): "gru", ("decoder",): "gru"}
    return Trained("g2p_en", module, params, cells, "word_accuracy", test)


Dictionary = list[tuple[str, list[list[str]]]]


def dictionary(path: Path) -> Dictionary:
    """Every word of letters alone, with all of its pronunciations, in the order of the file."""
    found: dict[str, list[list[str]]] = {}
    for line in path.read_text("latin-1").splitlines():
        word, _, *phonemes = line.split()
        if word.isascii() and word.isalpha():
            found.setdefault(word.lower(), []).append(phonemes)
    return list(found.items())


def sample(path: Path, words: int) -> Dictionary:
    """Words drawn from the dictionary, always the same ones."""
    known = dictionary(path)
    chosen = np.random.default_rng(0).choice(len(known), min(words, len(known)), replace=False)
    return [known[i] for i in sorted(chosen)]


def word_accuracy(module: G2P, words: Dictionary, params: Any) -> dict[str, float]:
    """Shares of words right, and of phonemes wrong, against the nearest pronunciation."""
    guesses = pronounce(module, params, [word for word, _ in words])
    right = wrong = total = 0
    for guess, (_, pronunciations) in zip(guesses, words, strict=True):
        distances = [edit_distance(guess, p) for p in pronunciations]
        best = int(np.argmin(distances))
        right += distances[best] == 0
        wrong += distances[best]
        total += len(pronunciations[best])
    return {"word_accuracy": right / len(words), "phoneme_error": wrong / total}


def pronounce(module: G2P, params: Any, words: list[str], batch: int = 1000) -> list[list[str]]:
    """The phonemes of each word."""
    lengths = np.array([len(w) + 1 for w in words], np.int32)
    longest = int(lengths.max())
    letters = np.full((-(-len(words) // batch) * batch, longest), LETTERS.index("</s>"), np.int32)
    for row, word in zip(letters, words, strict=False):
        row[: len(word)] = [LETTERS.index(c) if c in LETTERS else 1 for c in word]
    lengths = np.pad(lengths, (0, len(letters) - len(words)), constant_values=1)
    found = [
        _pronounce(module, params, jnp.asarray(letters[at]), jnp.asarray(lengths[at]))
        for at in (slice(i, i + batch) for i in range(0, len(letters), batch))
    ]
    rows = np.concatenate([np.asarray(f) for f in found])[: len(words)]
    return [[PHONEMES[p] for p in row[: _until(row)]] for row in rows]


@functools.partial(jax.jit, static_argnums=0)
def _pronounce(module: G2P, params: Any, letters: jax.Array, lengths: jax.Array) -> jax.Array:
    result: Any = module.apply({"params": params}, letters, lengths)
    return result


def _until(row: np.ndarray) -> int:
    stops = np.flatnonzero(row == STOP)
    return int(stops[0]) if len(stops) else len(row)


def edit_distance(a: list[str], b: list[str]) -> int:
    """The fewest insertions, deletions and replacements between two lists."""
    if a == b:
        return 0
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(corner + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]
