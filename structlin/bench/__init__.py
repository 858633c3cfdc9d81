"""How fast structures are on this CPU, against dense forms that share their rounds.

``structlin bench`` and the scripts in ``benchmarks/speed`` measure by what is here.
"""

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
from structlin.bench._measure import FULL_EFFORT, QUICK_EFFORT, Peers, measure, run
from structlin.bench._targets import Reached, reached
from structlin.bench._timing import Effort, interleaved, quartiles, quiet, ratios

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
    "quiet",
    "ratios",
    "reached",
    "read_run",
    "run",
]
