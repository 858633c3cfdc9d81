"""Files of measured rows."""

import fcntl
import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

experiments = importlib.import_module("_experiments")
Row = experiments.Row


@pytest.fixture
def run(tmp_path):
    """Carries out rows with further options, and returns the rows of the file."""

    def carried_out(rows, *options):
        out = tmp_path / "results" / "figures.json"
        parser = experiments.parser("Test.", "figures.json", quick="less")
        given = ["--out", str(out), "--runs", str(tmp_path / "runs"), *options]
        experiments.carry_out(rows, parser.parse_args(given))
        return json.loads(out.read_text())["rows"] if out.exists() else []

    return carried_out


def row(name, measured, **recipe):
    def measure(folder):
        measured.append(name)
        (folder / "checkpoints").mkdir()
        return {"figures": {"test": 1.0}}

    return Row(name, recipe, measure)


def test_rows_are_measured_once_and_their_checkpoints_removed(run, tmp_path):
    measured = []
    rows = [row("b", measured), row("a", measured)]
    assert [r["name"] for r in run(rows, "--only", "b")] == ["b"]
    assert [r["name"] for r in run(rows)] == ["a", "b"]
    run(rows)
    assert measured == ["b", "a"]
    assert not list((tmp_path / "runs").glob("*/checkpoints"))


def test_a_row_that_another_process_is_at_is_left_alone(run, tmp_path):
    measured = []
    rows = [row("a", measured), row("b", measured)]
    folder = rows[0].folder(tmp_path / "runs")
    folder.mkdir(parents=True)
    with open(folder / "lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert [r["name"] for r in run(rows)] == ["b"]
    assert [r["name"] for r in run(rows)] == ["a", "b"]


def test_figures_of_another_recipe_are_not_taken_for_these(run):
    run([row("a", [], steps=1)])
    with pytest.raises(SystemExit, match="'steps': 1.*'steps': 2.*another --out"):
        run([row("a", [], steps=2)])


def test_a_folder_belongs_to_one_recipe(tmp_path):
    one, same, other = (row("a", [], steps=s) for s in (1, 1, 2))
    assert one.folder(tmp_path) == same.folder(tmp_path) != other.folder(tmp_path)


def test_quick_figures_do_not_go_to_the_results(run):
    with pytest.raises(SystemExit, match="--quick needs --out"):
        run([], "--quick", "--out", str(experiments.RESULTS / "figures.json"))


def test_the_rows_are_listed(run, capsys):
    run([row("a", [])])
    assert run([row("a", []), row("b", [])], "--list")
    assert capsys.readouterr().out.splitlines() == ["a (there)", "b "]
