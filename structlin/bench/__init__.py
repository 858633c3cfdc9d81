"""How fast structures are on this CPU, against dense forms that share their rounds.

``structlin bench`` and the scripts in ``benchmarks/speed`` measure by what is here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from structlin.bench._cases import BY_DENSITY, FULL, QUICK, STRUCTURES, Case
from structlin.bench._compare import Change, changes, read_run
from structlin.bench._contenders import (
    Contender,
    dense_weights,
    drawn,
    inputs,
    native_problem,
)
from structlin.bench._machine import header
from structlin.bench._measure import Peers, measure
from structlin.bench._targets import Reached, reached
from structlin.bench._timing import Effort, interleaved, quartiles, ratios

__all__ = [
    "BY_DENSITY",
    "FULL",
    "FULL_EFFORT",
    "QUICK",
    "QUICK_EFFORT",
    "STRUCTURES",
    "Case",
    "Change",
    "Contender",
    "Effort",
    "Peers",
    "Reached",
    "changes",
    "dense_weights",
    "drawn",
    "header",
    "inputs",
    "interleaved",
    "measure",
    "native_problem",
    "quartiles",
    "ratios",
    "reached",
    "read_run",
    "run",
]

FULL_EFFORT = Effort(rounds=25, seconds=8.0), 3
"""Of each draw of the weights, and how often they are drawn."""

QUICK_EFFORT = Effort(rounds=15, seconds=5.0), 1


def run(cases: Sequence[Case], effort: Effort, draws: int) -> Iterator[dict[str, Any]]:
    """Measures cases one after the other, each a row of a result file."""
    for case in cases:
        yield {"name": case.name} | measure(case, effort, draws)
