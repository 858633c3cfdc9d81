"""Models on eight devices, of one process and of two."""

import re
import runpy
import time
from pathlib import Path

import jax
import pytest
from devices import free_port, outcomes, together
from numpy.testing import assert_allclose

EXAMPLE = Path(__file__).parents[1] / "examples" / "08_distributed.py"


@pytest.fixture(scope="module")
def outcome():
    """Check -> what went wrong, empty if nothing did, of every check in ``distributed.py``."""
    return outcomes("distributed.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["data", "words"])
def test_losses_gradients_and_collectives_on_eight_devices(outcome, kind):
    checks = {check: error for check, error in outcome.items() if check.startswith(f"{kind} ")}
    wrong = "\n".join(f"{check}: {error}" for check, error in checks.items() if error)
    assert checks
    assert not wrong, wrong


@pytest.fixture(scope="module")
def on_one_device():
    """The losses of the example on one device."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    return runpy.run_path(str(EXAMPLE), run_name="example")["train"](mesh)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_example_has_the_losses_of_one_device(processes, on_one_device, tmp_path):
    joined = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", str(processes)]
    commands = [[str(EXAMPLE), *joined, "--process", str(i)] for i in range(processes)]
    ran = together(commands, tmp_path)
    said = "\n".join(words for _, words in ran)
    if "Multiprocess computations aren't implemented on the CPU backend" in said:
        pytest.skip("this build of jaxlib has no collectives between processes on CPUs")
    assert [status for status, _ in ran] == [0] * processes, said[-4000:]
    assert f"8 devices, {processes} process" in said
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)", said)]
    assert_allclose(losses, on_one_device, rtol=0, atol=1e-5)
    assert losses[-1] < losses[0] - 0.2


def test_processes_end_when_one_fails_or_time_is_up(tmp_path):
    start = time.monotonic()
    failing, waiting = ["-c", "raise SystemExit('no')"], ["-c", "import time; time.sleep(300)"]
    (status, words), (killed, _) = together([failing, waiting], tmp_path)
    assert (status, words) == (1, "no\n")
    assert killed not in (None, 0)
    assert together([waiting], tmp_path, timeout=0.2)[0][0] not in (None, 0)
    assert time.monotonic() - start < 60
