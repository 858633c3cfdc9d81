"""What the machine can do at most, who else uses it, and how figures were made."""

import datetime
import functools
import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import structlin
from structlin.demo._results import device_name

__all__ = ["Others", "Roofline", "header", "roofline"]

FOOTPRINTS = tuple(2**k for k in range(17, 28))
"""Bytes from 128 KiB to 128 MiB, whose reading is timed: each level of cache, and memory."""

SIDE, TRIES = 1024, 7
PACKAGES = "jax", "jaxlib", "flax", "numpy"


class Roofline(NamedTuple):
    """The most that NumPy's BLAS reaches in this process, on all cores.

    Attributes:
        flops: Operations a second of a matrix product.
        bandwidth: Bytes read a second, by how many bytes are read again and again.
    """

    flops: float
    bandwidth: Mapping[int, float]

    def seconds(self, flops: float, size: float, footprint: float | None = None) -> float:
        """The least time for so many operations, and for reading so many bytes.

        Args:
            flops: Operations.
            size: Bytes that are read.
            footprint: The bytes that compete for the caches; ``size`` if not given.
        """
        known = sorted(self.bandwidth)
        rates = [self.bandwidth[k] for k in known]
        footprint = max(size if footprint is None else footprint, 1.0)
        rate = np.interp(np.log(footprint), np.log(known), rates)
        return max(flops / self.flops, size / float(rate))


@functools.cache
def roofline() -> Roofline:
    """Measures it, the best of some tries; in about a second."""
    a = np.ones((SIDE, SIDE), np.float32)
    out = np.empty_like(a)
    flops = 2 * SIDE**3 / _fastest(lambda: np.matmul(a, a, out=out))
    rates = {}
    for size in FOOTPRINTS:
        side = math.isqrt(size // 16)
        # Which reads faster depends on the level: two vectors at a time, or a wide matrix.
        vectors, matrix = np.ones((2, size // 8), np.float32), np.ones((side, 4 * side), np.float32)
        rates[size] = max(_rate(*vectors), _rate(matrix[:, 0].copy(), matrix))
    return Roofline(flops, rates)


def _rate(x: np.ndarray, y: np.ndarray) -> float:
    """Bytes a second of reading both for their product."""
    size = x.nbytes + y.nbytes
    calls = max(1, 2**24 // size)

    def read() -> None:
        for _ in range(calls):
            np.dot(x, y)

    return calls * size / _fastest(read)


def _fastest(call: Callable[[], Any]) -> float:
    call()
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


class Others:
    """The CPU time of all other processes of the machine, from when it is made."""

    def __init__(self) -> None:
        self._start = _busy(), time.perf_counter()

    def share(self) -> float | None:
        """Of the time of all CPUs since then; ``None`` where the system does not tell."""
        (total, own), start = self._start
        now_total, now_own = _busy()
        if total is None or now_total is None:
            return None
        other = (now_total - total) - (now_own - own)
        elapsed = (time.perf_counter() - start) * (os.cpu_count() or 1)
        return round(max(other, 0.0) / max(elapsed, 1e-9), 3)


def _busy() -> tuple[float | None, float]:
    """Seconds in which CPUs worked for anybody, and those for this process."""
    own = time.process_time()
    stat = Path("/proc/stat")
    if not stat.exists():
        return None, own
    fields = [int(n) for n in stat.read_text("utf-8").splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK"), own


def header(command: str, packages: Sequence[str] = PACKAGES, **more: Any) -> dict[str, Any]:
    """How figures were made, for JSON.

    Args:
        command: Makes them again.
        packages: What they depend on, beside this library.
        more: What else there is to say, such as the settings of `structlin.tune_cpu` or a seed.
    """
    return {
        "command": command,
        "versions": {"structlin": structlin.__version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "device": device_name(),
        "threads": threads(),
        **more,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def threads() -> int:
    """The CPUs that this process may use."""
    found = getattr(os, "sched_getaffinity", None)
    return len(found(0)) if found else os.cpu_count() or 1
