"""The command line run as a user runs it, in this process."""

import sys

import pytest

from structlin import cli


def run(monkeypatch, capsys, *args):
    """The exit status, standard output and standard error of ``structlin ARGS``."""
    monkeypatch.setattr(sys, "argv", ["structlin", *map(str, args)])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    out, err = capsys.readouterr()
    return exit_info.value.code or 0, out, err


def one_line(err):
    assert err.startswith("structlin: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err
