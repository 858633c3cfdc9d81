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
ROUNDS = 50
"""How often each model is timed."""

STRUCTURES = ("Kron", "DopedKron", "LowRank", "HMD", "Sparse")
SMALL, DISTILLED = "Small dense", "Kron, distilled"
RECIPES = {name: CONTENDERS[name] for name in ("Dense", *STRUCTURES)} | {
    SMALL: CONTENDERS["Dense"],
    DISTILLED: dataclasses.replace(CONTENDERS["Kron"], distilled=0.5),
}


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
        Settings("LSTM", 128, together=4, read="mean", batch=64, epochs=12, dropout=0.5, noise=0.5),
        (15.0, 38.0),
        {},
    ),
}


def rows() -> list[Row]:
    """All models, those of the first seed first."""
    return [row for seed in SEEDS for name in TASKS for row in _of_seed(name, seed)]


def _of_seed(name: str, seed: int) -> list[Row]:
    asked = TASKS[name].asked
    dense = row_of(name, "Dense", 1.0, seed)
    others = [row_of(name, s, c, seed) for c in asked for s in (SMALL, *STRUCTURES)]
    return [dense, *others, *(row_of(name, DISTILLED, c, seed, teacher=dense) for c in asked)]


def rate_rows() -> list[Row]:
    """Every structure at every rate, for half as long."""
    made = []
    for name, task in TASKS.items():
        settings = dataclasses.replace(task.settings, epochs=task.settings.epochs // 2)
        for structure in ("Dense", SMALL, *STRUCTURES):
            asked = 1.0 if structure == "Dense" else task.asked[0]
            made += [
                row_of(name, structure, asked, 0, settings=settings, rate=rate) for rate in RATES
            ]
    return made


def row_of(
    name: str,
    structure: str,
    asked: float,
    seed: int,
    *,
    settings: Settings | None = None,
    rate: float | None = None,
    teacher: Row | None = None,
) -> Row:
    """A structure at a compression, on a task."""
    task, small = TASKS[name], structure == SMALL
    recipe = RECIPES[structure]
    if rate is None:
        called, rate = f"{name}, {structure}, {asked:g}x, seed {seed}", task.rates[structure]
    else:
        called = f"{name}, {structure}, rate {rate:g}"
    recipe = dataclasses.replace(recipe, learning_rate=rate)
    made = settings or task.settings
    return classifier_row(
        called, task.data, made, recipe, asked, seed, small=small, teacher=teacher
    )


def clock(rows: list[Row], given: argparse.Namespace) -> None:
    """Adds the microseconds of one sequence to the rows of the file; the models take turns."""
    there = json.loads(given.out.read_text("utf-8"))
    found = {row["name"]: row for row in there["rows"] if "figures" in row}
    for name, task in TASKS.items():
        known = task.data()
        calls = {
            row.name: _call(row, found[row.name], len(known.classes), known.test.x[:1], given.runs)
            for row in rows
            if row.name in found and row.name.startswith(f"{name}, ")
        }
        for called, seconds in timed(calls, ROUNDS).items():
            found[called]["microseconds"] = round(1e6 * seconds, 1)
    write_json(given.out, there)


def _call(row: Row, found: dict[str, Any], classes: int, x: Any, runs: Path) -> Any:
    """What classifies ``x`` by the packed model of a row."""
    fields = {f.name: row.recipe[f.name] for f in dataclasses.fields(Settings)}
    model = Classifier(classes, Settings(**fields | {"hidden": found["hidden"]}))
    params = sl.load(row.folder(runs) / "model.slin")
    return functools.partial(jax.jit(model.apply), {"params": params}, jnp.asarray(x))


def main() -> None:
    """Measures what is missing, and writes after every row."""
    options = parser("Train small classifiers of every structure.", "training_iot.json")
    options.add_argument("--rates", action="store_true", help="every structure at several rates")
    options.add_argument("--time", action="store_true", help="time the models that are there")
    given = options.parse_args()
    if given.rates:
        given.out = given.out.with_name("training_iot_rates.json")
        carry_out(rate_rows(), given)
    elif given.time:
        clock(rows(), given)
    else:
        carry_out(rows(), given)


if __name__ == "__main__":
    main()
