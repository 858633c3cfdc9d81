"""The command line in a folder of its own."""

import pytest
from command import run


@pytest.fixture
def cmd(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *args: run(monkeypatch, capsys, *args)
