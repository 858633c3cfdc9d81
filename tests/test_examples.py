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
CHECKPOINT = next(p for p in EXAMPLES if p.stem.startswith("07"))


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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path, capsys, outputs, monkeypatch, checkpoint):
    arguments = [checkpoint] if path == CHECKPOINT else []
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


def test_real_checkpoint_is_converted_and_compressed(data_dir, capsys, monkeypatch):
    monkeypatch.setenv("STRUCTLIN_DATA", str(data_dir))
    monkeypatch.setattr(sys, "argv", [str(CHECKPOINT)])
    runpy.run_path(str(CHECKPOINT), run_name="__main__")
    assert converted_and_compressed(capsys.readouterr().out)


def test_without_a_checkpoint_one_line_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTLIN_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(CHECKPOINT)])
    with pytest.raises(SystemExit, match="no .*silero.*: give a .safetensors file") as caught:
        runpy.run_path(str(CHECKPOINT), run_name="__main__")
    assert "\n" not in str(caught.value)
