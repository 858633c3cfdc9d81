"""Every example runs, and says what it is meant to say."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

FOLDER = Path(__file__).parents[1] / "examples"
# 08 needs processes of its own, which test_distributed.py gives it.
EXAMPLES = [p for p in sorted(FOLDER.glob("[0-9]*.py")) if p.stem != "08_distributed"]
CHECKPOINT, TEXTS = (next(p for p in EXAMPLES if p.stem.startswith(n)) for n in ("07", "09"))


def numbers(pattern, text):
    return [float(x.replace(",", "")) for x in re.findall(pattern, text)]


@pytest.fixture(scope="module")
def outputs():
    return {}


@pytest.fixture
def checkpoint(tmp_path, rng):
    """The state dict of two layers with PyTorch's names; the first is the one that is read."""
    shapes = {"weight_ih_l0": (96, 12), "weight_hh_l0": (96, 24), "weight_ih_l1": (96, 24)}
    shapes |= {"bias_ih_l0": (96,), "bias_hh_l0": (96,)}
    save_file(
        {f"encoder.{n}": rng.normal(size=s).astype(np.float32) for n, s in shapes.items()},
        tmp_path / "lstm.safetensors",
    )
    return tmp_path / "lstm.safetensors"


@pytest.fixture
def texts(tmp_path, rng):
    """A folder like that of ATIS, of texts that one word decides."""
    words = {"flight": "fly flights flying", "fare": "fare price cost", "city": "where city town"}
    others = ["the", "to", "from", "please", "in", "show", "me", "boston", "dallas", "early"]
    for part, count in (("train", 320), ("test", 100)):
        (tmp_path / part).mkdir()
        labels = [str(x) for x in rng.choice(list(words), count)]
        lines = [
            " ".join(rng.permutation([*rng.choice(others, 5), rng.choice(words[x].split())]))
            for x in labels
        ]
        (tmp_path / part / "label").write_text("\n".join(labels), encoding="utf-8")
        (tmp_path / part / "seq.in").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path, capsys, outputs, monkeypatch, checkpoint, texts):
    arguments = {CHECKPOINT: [checkpoint], TEXTS: [texts]}.get(path, [])
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")
    outputs[path.stem[:2]] = capsys.readouterr().out
    assert outputs[path.stem[:2]].strip()


def test_replaced_layer_is_smaller_and_learns(outputs):
    dense, doped = numbers(r"kernel +([\d,]+) bytes", outputs["01"])
    assert dense / doped >= 10
    assert (
        max(numbers(r"([\d.]+) bits", outputs["01"])) < 4
    )  # the entropy of single characters is 4.7


def test_compressed_nnx_model_keeps_its_loss(outputs):
    dense, tuned, packed = numbers(r"(?:dense|tuned|packed) +([\d.]+) bits", outputs["06"])
    assert max(dense, tuned) < 4
    assert packed == tuned


def test_compressed_lstm_keeps_its_loss(outputs):
    dense, packed, reloaded = numbers(r"(?:dense|packed|reloaded) +([\d.]+)", outputs["02"])
    assert max(dense, packed) < 4
    assert reloaded == packed


def test_unmodified_model_is_tuned_and_packed(outputs):
    dense, tuned, packed = numbers(r"(?:dense|tuned|packed) +([\d.]+) bits", outputs["04"])
    assert max(dense, tuned) < 4
    assert packed == tuned


def test_plans_beat_low_rank_at_one_budget(outputs):
    *planned, low_rank = numbers(r"bytes, ([\d.]+) bits", outputs["05"])[1:]
    assert len(planned) == 3
    assert max(planned) < low_rank


def converted_and_compressed(text):
    (off,) = numbers(r"differ by (\S+)", text)
    before, after, change = numbers(r"([\d.,]+)(?: bytes became|; the states|%)", text)
    return off < 1e-5 and before > after and 0 < change < 100


def test_pytorch_checkpoint_is_converted_and_compressed(outputs):
    assert converted_and_compressed(outputs["07"])


def test_exported_model_reads_raw_text(outputs):
    (right,) = numbers(r"text; ([\d.]+)%", outputs["09"])
    assert right > 80  # the most frequent of three intents is about a third


def test_real_checkpoint_is_converted_and_compressed(data_dir, capsys, monkeypatch):
    monkeypatch.setenv("STRUCTLIN_DATA", str(data_dir))
    monkeypatch.setattr(sys, "argv", [str(CHECKPOINT)])
    runpy.run_path(str(CHECKPOINT), run_name="__main__")
    assert converted_and_compressed(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (CHECKPOINT, "no .*silero.*: give a .safetensors file"),
        (TEXTS, "no .*atis.*: give a folder like that of ATIS"),
    ],
)
def test_without_data_one_line_says_what_to_give(path, message, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTLIN_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(path)])
    with pytest.raises(SystemExit, match=message) as caught:
        runpy.run_path(str(path), run_name="__main__")
    assert "\n" not in str(caught.value)
