"""Matrices on meshes of eight devices, in a process of its own that is told to have so many."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def outcome():
    """Check -> what went wrong, empty if nothing did, of every check in ``sharded.py``."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    paths = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, HERE / "sharded.py"],
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"},
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["auto", "explicit", "shard_map", "columns"])
def test_numbers_and_shardings_on_eight_devices(outcome, kind):
    checks = {check: error for check, error in outcome.items() if check.startswith(f"{kind} ")}
    wrong = "\n".join(f"{check}: {error}" for check, error in checks.items() if error)
    assert checks
    assert not wrong, wrong
