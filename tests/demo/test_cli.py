"""The command line as a user meets it: exit status, one line on standard error, nothing
half-written."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from command import one_line

import structlin as sl
from structlin import demo


def test_help_and_version(cmd):
    status, out, _ = cmd("--version")
    assert (status, out.strip()) == (0, sl.__version__)
    for name in ("", "compress", "demo", "inspect", "predict", "train"):
        status, out, _ = cmd(*filter(None, [name]), "--help")
        assert status == 0
        assert "Usage" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--structures", "Dopd"), "no structure is named 'Dopd'; there are LowRank"),
        (("--structures", ","), "names no structure"),
        (("--compression", "0"), "--compression must be positive"),
        (("--compression", "nan"), "--compression must be positive"),
        (("--compression", "100000"), "compression 100000 is out of reach: LowRank(compression="),
        (("--compression", "ten"), "Invalid value for '--compression'"),
        (("--epochs", "-1"), "--epochs must be positive"),
        (("--seeds", "0"), "--seeds must be 1 or more"),
        (("--text", "missing.txt"), "There is no file missing.txt"),
        (("--text", "empty.txt"), "empty.txt is empty"),
        (("--text", "binary.txt"), "is binary"),
        (("--text", "short.txt"), "one batch needs"),
        (("--valid", "short.txt"), "--valid needs --text"),
        (("--frobnicate",), "No such option"),
    ],
)
def test_wrong_arguments(cmd, tmp_path, args, message):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.txt").write_bytes(bytes(range(64)) * 100)
    (tmp_path / "short.txt").write_text("too short")
    before = set(tmp_path.iterdir())
    status, _, err = cmd("demo", "--out", "result", *args)
    assert status == 2
    assert message in one_line(err)
    assert set(tmp_path.iterdir()) == before


def test_unknown_command(cmd):
    status, _, err = cmd("dmeo")
    assert status == 2
    assert "No such command 'dmeo'" in one_line(err)


def test_unwritable_out(cmd, tmp_path):
    (tmp_path / "file").write_text("in the way")
    status, _, err = cmd("demo", "--out", "file/out")
    assert status == 1
    assert "cannot write" in one_line(err)
    status, _, err = cmd("demo", "--json", "file/table.json")
    assert status == 1
    assert "cannot write" in one_line(err)
    assert not (tmp_path / "out").exists()


def test_interruption_and_divergence(cmd, monkeypatch):
    for error, status, words in (
        (KeyboardInterrupt, 130, "interrupted"),
        (demo.DivergedError("The loss is nan at step 7: lower the rate."), 1, "step 7"),
    ):

        def fail(*args, error=error):
            raise error

        monkeypatch.setattr(demo, "run", fail)
        code, _, err = cmd("demo")
        assert code == status
        assert words in one_line(err)


def test_inspect(cmd, tmp_path):
    kernel = sl.specs.LowRank(rank=2).fit(jnp.arange(12.0).reshape(3, 4))
    sl.save(tmp_path / "m.slin", {"out": {"kernel": kernel, "bias": jnp.zeros(4)}, "steps": [1]})
    status, out, _ = cmd("inspect", "m.slin", "--json", "figures.json")
    assert status == 0
    assert "LowRank" in out
    rows = json.loads((tmp_path / "figures.json").read_text())["rows"]
    assert {
        "path": "out/kernel",
        "what": "LowRank",
        "shape": [3, 4],
        "params": 14,
        "bytes": 56,
    } in rows
    assert {"path": "out/bias", "what": "float32", "shape": [4], "params": 4, "bytes": 16} in rows


def test_inspect_shows_bytes_beside_their_bound(cmd, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    dense = jax.random.normal(jax.random.key(0), (80, 50))
    w = sl.matrices.Quantized.of(sl.matrices.Dense(dense), 3)
    tree = {"embed": {"embedding": w}, "odd": [jnp.zeros((0, 2)), jnp.array([jnp.nan]), None, 3]}
    for name, coding in [("plain", None), ("coded", "ans")]:
        sl.save(tmp_path / f"{name}.slin", tree, coding=coding)
        options = ("--json", f"{name}.json", "--plot", f"{name}.png")
        status, out, _ = cmd("inspect", f"{name}.slin", *options)
        assert status == 0
        for words in ("embedding", "Quantized(80x50", "codes of 3 bits", "█", "None"):
            assert words in out
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    plain, coded = (
        json.loads((tmp_path / f"{name}.json").read_text())["tensors"]
        for name in ("plain", "coded")
    )
    assert [t["name"] for t in plain] == [t["name"] for t in coded]
    assert plain[0]["bytes"] == 1500 > coded[0]["bytes"] == coded[0]["coded"] == plain[0]["coded"]
    assert plain[0]["bound"] == coded[0]["bound"] < coded[0]["coded"]
    assert sum(plain[0]["counts"]) == 4000
    status, _, err = cmd("inspect", "plain.slin", "--plot", "picture.gif")
    assert status == 2
    assert ".png, .pdf, .svg" in one_line(err)


def test_inspect_of_damaged_files(cmd, tmp_path):
    sl.save(tmp_path / "m.slin", {"w": jnp.ones((8, 8))})
    whole = (tmp_path / "m.slin").read_bytes()
    (tmp_path / "cut.slin").write_bytes(whole[:-20])
    (tmp_path / "flipped.slin").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (tmp_path / "foreign.slin").write_bytes(b"PK\x03\x04 something else")
    (tmp_path / "empty.slin").write_bytes(b"")
    for name in ("cut", "flipped", "foreign", "empty"):
        status, _, err = cmd("inspect", f"{name}.slin")
        assert status == 1
        assert f"{name}.slin" in one_line(err)
    status, _, err = cmd("inspect", "nowhere.slin")
    assert status == 2
    assert "no file nowhere.slin" in one_line(err)


def test_module_entry_point(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "structlin", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert done.stdout.strip() == sl.__version__
