"""Trains small recurrent classifiers of every structure, on digits and on motions.

    python benchmarks/training/iot_table.py                     # what is still missing
    python benchmarks/training/iot_table.py --only 'usps, '     # rows of this name
    python benchmarks/training/iot_table.py --rates             # chooses learning rates
    python benchmarks/training/iot_table.py --time              # adds the times, all rows at once
"""

import argparse
import dataclasses
import functools
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from _classifier import Classifier, Settings, classifier_row
from _data import Sequences, activities, mnist_rows, usps_rows
from _experiments import Row, carry_out, parser
from _recipes import CONTENDERS

import structlin as sl
from structlin.demo._results import write_json

sys.path.append(str(Path(__file__).resolve().parents[1]))
timed: Callable[..., dict[Any, float]] = importlib.import_module("rnn").timed

SEEDS = (0, 1, 2)
RATES = (3e-3, 1e-2, 3e-2)
RATE_EPOCHS = 1 / 2
ROUNDS = 50
STRUCTURES = ("Kron", "DopedKron", "LowRank", "HMD", "Sparse")


class Task(NamedTuple):
    """What is classified, by what.

    Attributes:
        data: Reads it; the same arrays whenever it is asked.
        settings: Of the classifier.
        asked: The compressions of both kernels.
        rates: The peak learning rate of each structure, see training_iot_rates.json.
    """

    data: Callable[[], Sequences]
    settings: Settings
    asked: tuple[float, float]
    rates: dict[str, float]


TASKS = {
    "mnist": Task(
        functools.cache(mnist_rows),
        Settings("LSTM", 40, batch=100, epochs=8),
        (11.0, 23.0),
        {},
    ),
    "usps": Task(
        functools.cache(usps_rows),
        Settings("FastGRNN", 32, batch=50, epochs=40),
        (4.5, 12.0),
        {},
    ),
    "har": Task(
        functools.cache(activities),
        Settings("LSTM", 64, together=4, read="mean", batch=64, epochs=15, dropout=0.5),
        (15.0, 38.0),
        {},
    ),
}
