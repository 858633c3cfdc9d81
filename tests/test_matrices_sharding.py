"""Matrices on meshes of eight devices, in a process of its own that is told to have so many."""

import pytest
from devices import outcomes


@pytest.fixture(scope="module")
def outcome():
    """Check -> what went wrong, empty if nothing did, of every check in ``sharded.py``."""
    return outcomes("sharded.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["auto", "explicit", "shard_map", "columns"])
def test_numbers_and_shardings_on_eight_devices(outcome, kind):
    checks = {check: error for check, error in outcome.items() if check.startswith(f"{kind} ")}
    wrong = "\n".join(f"{check}: {error}" for check, error in checks.items() if error)
    assert checks
    assert not wrong, wrong
