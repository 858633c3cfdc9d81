"""README.md: its commands are where the checks look for them, its Python runs, its tables hold."""

import os
import re
import subprocess
import sys

import pytest
from readme_commands import README, command_blocks

TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

# The examples run one after the other in a fresh interpreter, as a reader would run them: under
# JAX's default settings rather than this session's, and with no name left from the one before.
_DRIVER = """
import sys
for number, block in enumerate(sys.stdin.read().split(chr(0)), 1):
    exec(compile(block, f"<README.md, Python block {number}>", "exec"), {"__name__": "__main__"})
"""


def _run(*arguments: str, **options):
    # README's reader has the package installed; here it may only lie in the tree.
    path = os.pathsep.join(filter(None, [str(README.parent), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        capture_output=True,
        timeout=600,
        **options,
    )


def test_readme_has_exactly_its_two_command_blocks():
    assert set(command_blocks(TEXT)) == {"demo", "test"}
    assert len(re.findall(r"^\s*```(?:bash|sh|shell|console)", TEXT, re.MULTILINE)) == 2


@pytest.mark.parametrize("name", ["demo", "test"])
def test_a_command_block_makes_its_own_environment(name):
    block = command_blocks(TEXT)[name]
    assert "python -m venv" in block
    assert "pip install -e" in block


def test_python_blocks_run(tmp_path):
    assert PYTHON, "README.md shows no Python"
    done = _run("-c", _DRIVER, input="\0".join(PYTHON), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_tables_agree_with_the_committed_results():
    done = _run("benchmarks/tables.py", "--check", cwd=README.parent)
    assert done.returncode == 0, done.stdout + done.stderr
