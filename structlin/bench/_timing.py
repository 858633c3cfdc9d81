"""Times calls in turn, and tells which samples other work of the machine has disturbed."""

import contextlib
import dataclasses
import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

try:
    import resource
except ImportError:  # pragma: no cover (not on every system)
    resource = None

__all__ = ["Clocks", "Effort", "Sample", "interleaved", "quartiles", "quiet", "ratios", "used"]

HELD = 0.9
"""The share of its best that a call's CPU time over wall time must reach."""

SWITCHES = 50.0
"""The involuntary context switches a second of wall time that pass as the system's own."""

FEWEST = 3
"""Of how many quiet samples a figure is made; with fewer it is made of all, and marked."""


def switches() -> int:
    """How often threads of this process were made to give up a CPU; 0 where nobody counts."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw if resource else 0


@dataclasses.dataclass(frozen=True)
class Clocks:
    """What samples are measured by.

    Attributes:
        wall: Seconds.
        cpu: Seconds of CPU time of all threads of the process.
        switches: How often one of them was made to give up its CPU.
        sleep: Waits for some seconds.
    """

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    switches: Callable[[], int] = switches
    sleep: Callable[[float], None] = time.sleep


class Sample(NamedTuple):
    """Some calls in a row.

    Attributes:
        calls: How many.
        wall: Seconds that all took.
        cpu: CPU time of the process meanwhile.
        switches: Involuntary context switches meanwhile.
    """

    calls: int
    wall: float
    cpu: float
    switches: int


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        rounds: The rounds after which all is known, if no sample is disturbed; else up to twice as
            many.
        seconds: No further round starts after so long, if `FEWEST` are done.
        sample: Calls are repeated until a sample takes so many seconds.
        pause: Seconds before each sample, for threads of others to come to rest.
    """

    rounds: int = 25
    seconds: float = 20.0
    sample: float = 2e-3
    pause: float = 0.0


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    effort: Effort,
    clocks: Clocks = Clocks(),
) -> dict[str, list[Sample]]:
    """Samples of each call, all of them in turn in every round, each round in an order of its own.

    Every call runs twice beforehand, to compile and to learn how often a sample repeats it, and
    once before each sample, so that what the others left in the caches costs nothing.

    Args:
        calls: By name; each returns when its work is done.
        effort: How long.
        clocks: What to measure by.

    Returns:
        By name, a sample for each round.
    """
    repeats = {name: _repeats(call, effort, clocks) for name, call in calls.items()}
    samples: dict[str, list[Sample]] = {name: [] for name in calls}
    order, start = np.random.default_rng(0), clocks.wall()
    with _no_garbage():
        for done in range(2 * effort.rounds):
            late = clocks.wall() - start > effort.seconds and done >= FEWEST
            if late or all(sum(quiet(s)) >= effort.rounds for s in samples.values()):
                break
            for name in order.permutation(list(calls)).tolist():
                samples[name].append(_sample(calls[name], repeats[name], effort, clocks))
    return samples


def quiet(samples: Sequence[Sample]) -> list[bool]:
    """Which samples no other work of the machine has disturbed, as far as can be told.

    A call that keeps its CPU has a certain CPU time over wall time: 1 on one thread, less where it
    waits, more where it has several. A sample that has clearly less than the best one, or was made
    to give up its CPU more often than `SWITCHES`, is disturbed.
    """
    shares = [s.cpu / s.wall if s.wall else 1.0 for s in samples]
    least = HELD * min(1.0, max(shares, default=1.0))
    return [
        share >= least and s.switches <= SWITCHES * s.wall
        for s, share in zip(samples, shares, strict=True)
    ]


def used(samples: Sequence[Sample]) -> list[bool]:
    """The samples that figures are made of: the quiet ones, or all if too few are."""
    found = quiet(samples)
    return found if sum(found) >= FEWEST else [True] * len(samples)


def quartiles(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """The first quartile, the median and the third quartile of the seconds of a call."""
    kept = zip(samples, used(samples), strict=True)
    return _quartiles([s.wall / s.calls for s, good in kept if good])


def ratios(over: Sequence[Sample], samples: Sequence[Sample]) -> tuple[float, float, float]:
    """Quartiles of how many times longer ``over`` took, round by round.

    Rounds count in which both are good; if there are too few, all do.
    """
    both = [a and b for a, b in zip(used(over), used(samples), strict=True)]
    if sum(both) < FEWEST:
        both = [True] * len(both)
    times = zip(over, samples, both, strict=True)
    return _quartiles([(a.wall / a.calls) / (b.wall / b.calls) for a, b, good in times if good])


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    first, median, third = np.percentile(values, (25, 50, 75)).tolist()
    return first, median, third


def _repeats(call: Callable[[], Any], effort: Effort, clocks: Clocks) -> int:
    call()
    start = clocks.wall()
    call()
    return max(1, math.ceil(effort.sample / max(clocks.wall() - start, 1e-7)))


def _sample(call: Callable[[], Any], repeats: int, effort: Effort, clocks: Clocks) -> Sample:
    if effort.pause:
        clocks.sleep(effort.pause)
    call()
    switched, cpu, start = clocks.switches(), clocks.cpu(), clocks.wall()
    for _ in range(repeats):
        call()
    wall = clocks.wall() - start
    return Sample(repeats, wall, clocks.cpu() - cpu, clocks.switches() - switched)


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """The garbage of Python is collected before, and not meanwhile."""
    gc.collect()
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
