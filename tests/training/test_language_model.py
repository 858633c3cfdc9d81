"""The benchmark of language models, on a small text."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

bench = importlib.import_module("language_model")
data = importlib.import_module("_data")

SMALL = bench.Settings(text="", hidden=32, batch=2, time=4, steps=4)


@pytest.fixture
def text():
    rng = np.random.default_rng(0)
    parts = (rng.integers(0, 5, n).astype(np.int32) for n in (200, 60, 60))
    return data.Text("small", *parts, tuple("abcde"))


@pytest.mark.parametrize(
    ("name", "asked"), [("Dense", 1.0), ("DopedKron, 16 x 1 blocks", 4.0), ("LowRank", 4.0)]
)
def test_a_row_has_its_bits_and_its_honest_size(name, asked, text, tmp_path):
    row = bench.Row(name, asked, 0)
    found = bench.measure(row, text, SMALL, tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert 0 < found["bits_per_character"]["test"] < 5
    spec = bench.CONTENDERS[name].spec(asked)
    expected = 2 * (spec.cost((32, 128)).bytes if spec else 32 * 128 * 4)
    assert found["bytes"] == expected
    assert found["compression"] >= asked


def test_a_fixed_support_stays_where_it_was_drawn(text):
    contender = bench.CONTENDERS["Sparse, fixed support"]
    params = bench.drawn(5, 32, contender.spec(4.0), 0)
    optimiser = bench.optimiser_of(contender, params, SMALL)
    grads = bench.jax.tree.map(bench.jnp.ones_like, params)
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    for side in ("i", "h"):
        before, change = (t["cell"][side]["kernel"].values for t in (params, updates))
        assert not np.any(np.asarray(change)[np.asarray(before) == 0])


def test_a_spec_that_cannot_be_so_small_says_why(text, tmp_path):
    found = bench.measure(bench.Row("LowRank", 1000.0, 0), text, SMALL, tmp_path)
    assert "Ask for compression" in found["refused"]


def test_every_contender_can_be_as_small_as_it_is_asked():
    found = bench.rows(quick=False)
    assert len({row.name for row in found}) == len(found) == 48
    for row in found:
        spec = bench.CONTENDERS[row.structure].spec(row.asked)
        assert spec is None or spec.sized((256, 1024)).cost((256, 1024)).compression >= row.asked


def test_the_command_writes_every_row_and_measures_none_twice(text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "QUICK", SMALL)
    monkeypatch.setattr(bench, "characters", lambda path: text)
    monkeypatch.setattr(bench, "rows", lambda quick: [bench.Row("LowRank", 4.0, s) for s in (0, 1)])
    out = tmp_path / "figures.json"
    command = ["language_model.py", "--quick", "--out", str(out), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", [*command, "--only", "seed 1"])
    bench.main()
    first = json.loads(out.read_text())
    assert [row["seed"] for row in first["rows"]] == [1]
    monkeypatch.setattr(sys, "argv", command)
    bench.main()
    both = json.loads(out.read_text())
    assert both["rows"][0] == first["rows"][0]
    assert [row["seed"] for row in both["rows"]] == [1, 0]
    assert not list((tmp_path / "runs").glob("*/checkpoints"))
    assert {"command", "seed", "versions", "device", "date", "settings"} <= set(both)
    monkeypatch.setattr(sys, "argv", [*command, "--steps", "5"])
    with pytest.raises(SystemExit, match="give another --out"):
        bench.main()


def test_figures_of_another_size_do_not_go_to_the_results(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["language_model.py", "--quick"])
    with pytest.raises(SystemExit):
        bench.main()
    assert "need --out" in capsys.readouterr().err
