"""Every example runs, and says what it is meant to say."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))


def numbers(pattern, text):
    return [float(x.replace(",", "")) for x in re.findall(pattern, text)]


@pytest.fixture(scope="module")
def outputs():
    return {}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_runs(path, capsys, outputs):
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
