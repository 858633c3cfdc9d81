"""``structlin bench``: a run on the screen and in a file, and runs compared."""

import json

import pytest
from command import one_line

from structlin import bench
from structlin.bench import Case, Effort

TINY = Effort(rounds=3, seconds=5.0, sample=1e-4), 1


@pytest.fixture
def tiny(monkeypatch):
    """One small case in place of the quick ones, with settings of the process left alone."""
    monkeypatch.setattr(bench, "QUICK", (Case("layer", 20, 1, 3, ("Kron", "Sparse 95 %")),))
    monkeypatch.setattr(bench, "QUICK_EFFORT", TINY)
    monkeypatch.setattr("structlin.tune_cpu", lambda: ("not tuned",))
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--margin", "0.2"), "--margin needs --compare"),
        (("--compare", "run.json", "--margin", "0"), "--margin must be above 0 and below 1"),
        (("--compare", "run.json", "--margin", "nan"), "--margin must be above 0 and below 1"),
        (("--compare", "run.json", "--margin", "half"), "Invalid value for '--margin'"),
        (("--compare", "nowhere.json"), "there is no file nowhere.json"),
        (("--compare", "other.json"), "other.json is no run of structlin bench"),
        (("--compare", "text.json"), "text.json is no run of structlin bench"),
        (("--compare", "."), "cannot read ."),
        (("--slow",), "No such option"),
        (("layer",), "unexpected extra argument"),
    ],
)
def test_wrong_arguments(cmd, tmp_path, tiny, args, message):
    (tmp_path / "other.json").write_text('{"rows": [{"name": "Kron"}]}')
    (tmp_path / "text.json").write_text("not JSON")
    status, out, err = cmd("bench", "--quick", *args)
    assert status == 2
    assert message in one_line(err)
    assert not out


def test_unwritable_json(cmd, tmp_path, tiny):
    (tmp_path / "file").write_text("in the way")
    for path in ("file/run.json", "."):
        status, _, err = cmd("bench", "--quick", "--json", path)
        assert status == 1
        assert "cannot write" in one_line(err)


def test_a_run_and_a_comparison_with_it(cmd, tmp_path, tiny):
    status, out, _ = cmd("bench", "--quick", "--json", "run.json")
    assert status == 0
    for words in ("layer, 20 units, batch 1, 3 steps", "Hoisted dense scan", "Kron, XLA", "speed"):
        assert words in out
    assert "native rows are skipped: STRUCTLIN_NATIVE=0 turns it off" in out
    run = json.loads((tmp_path / "run.json").read_text())
    assert set(run) == {"command", "versions", "device", "threads", "settings", "date", "rows"}
    assert run["command"] == "structlin bench --quick"
    assert run["settings"] == ["not tuned"]
    assert [r["name"] for r in run["rows"]] == [case.name for case in bench.QUICK]

    def stored(scale):
        """The run as it would have been if all were so many times faster than they are now."""
        for row in run["rows"][0]["contenders"]:
            row["disturbed"] = False
            row["speedup"] = {over: [scale] * 3 for over in row["speedup"]}
        (tmp_path / "before.json").write_text(json.dumps(run))
        return cmd("bench", "--quick", "--compare", "before.json", "--margin", "0.5")

    status, out, _ = stored(1e-6)
    assert status == 0
    assert "2 compared, 0 slower by more than 50 %" in out


def test_what_became_slower_is_named(cmd, tmp_path, tiny, monkeypatch):
    def made(speed):
        rows = [{"name": "Hoisted dense scan", "structure": "", "speedup": {}}]
        rows += [{"name": n, "structure": n, "speedup": {}} for n in ("Kron, XLA", "Sparse, XLA")]
        for row, ratio in zip(rows, (1.0, speed, 2.0), strict=True):
            row |= {"microseconds": [9.0] * 3, "disturbed": False}
            row["mode"] = "XLA" if row["structure"] else ""
            if row["structure"]:
                row["speedup"] = {"Hoisted dense scan": [ratio] * 3}
        record = {"name": "layer", "baseline": "Hoisted dense scan", "others": 0.0}
        return record | {"contenders": rows}

    (tmp_path / "run.json").write_text(json.dumps({"rows": [made(8.0)]}))
    for speed, options, status in ((5.0, (), 1), (6.0, (), 0), (6.0, ("--margin", "0.2"), 1)):
        monkeypatch.setattr(bench, "run", lambda *_, s=speed: [made(s)])
        code, out, err = cmd("bench", "--quick", "--compare", "run.json", *options)
        assert (code, err) == (status, "")
        assert ("slower: layer, Kron, XLA" in out) == (status == 1)
        assert "Sparse, XLA: " not in out


def test_failures_are_one_line(cmd, tiny, monkeypatch):
    for error, status in ((KeyboardInterrupt(), 130), (RuntimeError("Kron differs"), 1)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(bench, "run", fail)
        code, _, err = cmd("bench", "--quick")
        assert code == status
        one_line(err)
