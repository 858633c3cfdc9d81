"""Checks on several devices: a script makes them in a process that has the devices, tests read."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

HERE = Path(__file__).parent


def environment(**more: str) -> dict[str, str]:
    """That of a process on CPUs alone which imports the package and what is beside the tests."""
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_PLATFORMS": "cpu",
        **more,
    }


def outcomes(script: str, timeout: float = 300) -> dict[str, str]:
    """Check -> what went wrong, empty if nothing did, of every check in ``script``."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    ran = subprocess.run(
        [sys.executable, HERE / script],
        capture_output=True,
        text=True,
        env=environment(XLA_FLAGS=flags),
        timeout=timeout,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return json.loads(ran.stdout.splitlines()[-1])


def together(
    commands: Sequence[Sequence[str]], folder: Path, timeout: float = 120
) -> list[tuple[int, str]]:
    """The exit status and the words of programs of Python that run at the same time.

    When one fails, or after ``timeout`` seconds, those that still run are killed.
    """
    papers = [folder / f"{i}.txt" for i in range(len(commands))]
    running: list[subprocess.Popen] = []
    try:
        for command, paper in zip(commands, papers, strict=True):
            with paper.open("w") as out:
                started = subprocess.Popen(
                    [sys.executable, *command], stdout=out, stderr=out, env=environment()
                )
            running.append(started)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            statuses = [process.poll() for process in running]
            if None not in statuses or any(statuses):
                break
            time.sleep(0.05)
    finally:
        for process in running:
            process.kill()
    return [(p.wait(), paper.read_text()) for p, paper in zip(running, papers, strict=True)]


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def report(checks: Mapping[str, Callable[[], None]]) -> None:
    """Makes the checks and prints the line of JSON that `outcomes` reads."""
    outcome = {}
    for name, check in checks.items():
        try:
            check()
        except Exception as error:
            outcome[name] = f"{type(error).__name__}: {error}"[:600]
        else:
            outcome[name] = ""
    print(json.dumps(outcome))


def mesh_of(axis_type: AxisType) -> jax.sharding.Mesh:
    """Eight devices, four times two."""
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(axis_type,) * 2)


def on(mesh, x, *axes):
    """``x`` split over the axes of ``mesh``."""
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))


def near(got, want, within=1e-4):
    """Fails where ``got`` is off, relative to the largest entry if that is above 1."""
    difference = float(np.abs(np.asarray(got) - np.asarray(want)).max(initial=0))
    scale = max(1.0, float(np.abs(np.asarray(want)).max(initial=0)))
    assert difference <= within * scale, f"off by {difference}"
