"""The settings of a process, in processes of their own."""

import subprocess
import sys

PROGRAM = """
import jax
import structlin as sl
{before}
print(*sl.tune_cpu(), sep="\\n")
print(float(jax.jit(lambda x: x * 2)(1.5)), jax.config.values["jax_cpu_enable_async_dispatch"])
"""


def run(before=""):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_it_says_what_it_did():
    first, second, after = run()
    assert first == "dispatch is synchronous now"
    assert second.startswith(("freed memory stays", "memory is allocated as before"))
    assert after == "3.0 False"


def test_too_late_is_harmless():
    first, _, after = run("jax.devices()")
    assert "JAX has started" in first
    assert after == "3.0 True"
