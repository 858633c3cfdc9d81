"""Whatever is missing or wrong, one warning says so and XLA goes on."""

import stat
import sys
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from structlin import cli
from structlin import matrices as ms
from structlin.kernels import native
from structlin.kernels.native import _library, _program

NONSENSE = 'for last; do :; done; [ $# -eq 1 ] || echo nonsense > "$last"'
"""A compiler that writes to its last argument, unless it is only asked for its version."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Native code is on, with an empty cache and nothing loaded."""
    monkeypatch.setenv("STRUCTLIN_NATIVE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.forget()
    yield
    native.forget()


def compiler(tmp_path, body):
    """A compiler that does what the lines of a shell script say."""
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def product():
    """A product in XLA, and the warnings that came with it."""
    w = ms.Native(ms.Dense(jnp.arange(6.0).reshape(2, 3)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            np.testing.assert_allclose(jnp.ones(2) @ w, [3, 5, 7])
    return [str(w.message) for w in caught]


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    said = product()
    assert len(said) == 1
    assert "there is no C++ compiler (no-such-compiler)" in said[0]
    assert "STRUCTLIN_NATIVE=0" in said[0]


def test_a_build_that_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler(tmp_path, 'echo "x.cc:1: error: too old" >&2; exit 3'))
    said = product()
    assert len(said) == 1
    assert "ended with 3: x.cc:1: error: too old" in said[0]
    assert "ended with 3" in native.status().problem
    assert not list(tmp_path.rglob("*.so"))


def test_a_library_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler(tmp_path, NONSENSE))
    assert len(product()) == 1
    (path,) = tmp_path.rglob("*.so")
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert native.clean() == [path]
    assert not path.exists()


def test_a_wrong_result(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")  # where the other tests have built it
    monkeypatch.setattr(_library, "wrong_results", lambda names: "the product is off by 1.0e+00")
    native.forget()
    said = product()
    assert len(said) == 1
    assert "self-check failed: the product is off by 1.0e+00" in said[0]


def test_a_folder_that_others_can_write(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", compiler(tmp_path, "exit 0"))
    folder = native.library_path().parent
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    said = product()
    assert len(said) == 1
    assert "can be written by somebody else" in said[0]


def test_turned_off(monkeypatch):
    monkeypatch.setenv("STRUCTLIN_NATIVE", "0")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert product() == []
    assert not native.ready()
    assert "turns it off" in native.status().problem


def test_the_place_depends_on_the_circumstances(monkeypatch, tmp_path):
    first = native.library_path()
    monkeypatch.setenv("CXX", compiler(tmp_path, "echo another"))
    second = native.library_path()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    assert len({first, second, native.library_path()}) == 3


def test_the_command_line(monkeypatch, capsys, tmp_path):
    def run(*args):
        monkeypatch.setattr(sys, "argv", ["structlin", "native", *args])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        return (exit_info.value.code or 0, *capsys.readouterr())

    assert run("status")[:2] == (0, "not in use: it is not built: the first use builds it\n")
    monkeypatch.setenv("CXX", compiler(tmp_path, "exit 3"))
    status, _, err = run("build")
    assert status == 1
    assert err.startswith("structlin: ")
    assert err.count("\n") == 1
    monkeypatch.setenv("CXX", compiler(tmp_path, NONSENSE))
    assert run("build")[0] == 1
    assert run("clean")[1].startswith("removed ")
    assert run("clean") == (0, "", "")


@pytest.mark.parametrize(("cores", "columns", "rows"), [(1, 520, 1), (2, 520, 0), (2, 512, 1)])
def test_large_dense_arrays_are_left_to_several_cores(cores, columns, rows, monkeypatch):
    monkeypatch.setattr(_program, "_cores", lambda: cores)
    assert native.dense_program(jnp.ones((1024, columns))).rows == rows
