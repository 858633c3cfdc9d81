"""Trains small recurrent classifiers of every structure, of digits and of motions.

    python benchmarks/training/iot_table.py                     # what is still missing
    python benchmarks/training/iot_table.py --only 'har, Kron'  # rows of this name
    python benchmarks/training/iot_table.py --rates             # to choose learning rates
    python benchmarks/training/iot_table.py --time              # times the rows that are there

After Thakker et al. (2019), "Compressing RNNs for IoT devices by 15-38x using Kronecker products":
the digits of MNIST, read by rows, an LSTM of 40; those of USPS, a FastGRNN of 32, the nearest to
their FastRNN here; motions (UCI HAR), four samples of nine channels to a step, an LSTM of 128 whose
outputs are averaged, trained on inputs with noise. One structure makes both kernels, which together
have the bytes asked for; biases and output layer are dense. Small dense is the widest dense model
whose kernels are as small. Half of the loss of the distilled rows is the divergence from the dense
model of their seed.

Figures are percents right; the sizes are those of the packed kernels, of the recurrent layer with
its biases, and of the whole model, indices counted, and how much smaller that is than in the dense
model. A structure whose shapes are few may be smaller than asked for. Each has its best learning
rate on the validation part of seed 0, at the smaller compression, after fewer epochs; the noise was
chosen there too. A time is that of one sequence in a compiled call of its own; all models of a task
take turns.
"""

import argparse
import dataclasses
import functools
import itertools
import json
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from _classifier import Classifier, Settings, Task, classifier_row, drawn
from _data import activities, mnist_rows, usps_rows
from _experiments import Row, carry_out, parser
from _recipes import Recipe, doped_kron
from _sizes import Asked, kernel_specs

import structlin as sl
from structlin import bench, specs
from structlin.demo._results import write_json

SEEDS = (0, 1, 2)
RATES = (3e-3, 1e-2, 3e-2, 1e-1)
RATE_EPOCHS = {"mnist": 4, "usps": 20, "har": 6}
ROUNDS = 50
"""How often each model is timed."""

PRUNED, DROPOUT = 0.6, 0.05
STRUCTURES = ("Kron", "DopedKron", "LowRank", "HMD", "Sparse")
SMALL, DISTILLED = "Small dense", "Kron, distilled"
RECIPES = {
    "Dense": Recipe(lambda _: None),
    SMALL: Recipe(lambda _: None),
    "Kron": Recipe(lambda c: specs.Kron(compression=c)),
    DISTILLED: Recipe(lambda c: specs.Kron(compression=c), distilled=0.5),
    "DopedKron": doped_kron(pruned=PRUNED, dropout=DROPOUT),
    "LowRank": Recipe(lambda c: specs.LowRank(compression=c)),
    "HMD": Recipe(lambda c: specs.PerGate(specs.HMD(compression=c))),
    "Sparse": Recipe(lambda c: specs.Sparse(compression=c, anneal=True), pruned=PRUNED),
}
ONE_GATE = {"HMD": Recipe(lambda c: specs.HMD(compression=c))}

TASKS = {
    "mnist": Task("mnist", functools.cache(mnist_rows), Settings("LSTM", 40, batch=100, epochs=8)),
    "usps": Task("usps", functools.cache(usps_rows), Settings("FastGRNN", 32, batch=50, epochs=20)),
    "har": Task(
        "har",
        functools.cache(activities),
        Settings("LSTM", 128, together=4, read="mean", batch=64, epochs=12, dropout=0.5, noise=0.5),
    ),
}
ASKED = {"mnist": (11.0, 23.0), "usps": (4.5, 12.0), "har": (15.0, 38.0)}
"""The compressions of both kernels."""

CHOSEN: dict[str, dict[str, float]] = {
    "mnist": {
        "Dense": 1e-2,
        "Small dense": 3e-2,
        "Kron": 3e-2,
        "DopedKron": 1e-2,
        "LowRank": 3e-2,
        "HMD": 1e-1,
        "Sparse": 3e-2,
    },
    "usps": {
        "Dense": 3e-2,
        "Small dense": 1e-2,
        "Kron": 3e-2,
        "DopedKron": 3e-2,
        "LowRank": 3e-2,
        "HMD": 3e-2,
        "Sparse": 3e-2,
    },
    "har": {
        "Dense": 3e-3,
        "Small dense": 3e-3,
        "Kron": 1e-2,
        "DopedKron": 3e-3,
        "LowRank": 1e-2,
        "HMD": 1e-2,
        "Sparse": 1e-2,
    },
}
"""The learning rate of each structure, see training_iot_rates.json."""


def rows() -> list[Row]:
    """All models, those of the first seed first."""
    return [row for seed in SEEDS for name in TASKS for row in _of_seed(name, seed)]


def _of_seed(name: str, seed: int) -> list[Row]:
    asked = ASKED[name]
    dense = row_of(name, "Dense", 1.0, seed)
    others = [row_of(name, s, c, seed) for c in asked for s in (SMALL, *STRUCTURES)]
    return [dense, *others, *(row_of(name, DISTILLED, c, seed, dense) for c in asked)]


def row_of(name: str, structure: str, asked: float, seed: int, teacher: Row | None = None) -> Row:
    """A structure at a compression, on a task."""
    task, rate = TASKS[name], CHOSEN[name][structure.removesuffix(", distilled")]
    recipe = dataclasses.replace(recipe_of(task, structure), learning_rate=rate)
    called, small = f"{name}, {structure}, {asked:g}x, seed {seed}", structure == SMALL
    return classifier_row(called, task, recipe, asked, seed, small=small, teacher=teacher)


def rate_rows() -> list[Row]:
    """Every structure at every rate, in fewer epochs."""
    made = []
    for name, full in TASKS.items():
        settings = dataclasses.replace(full.settings, epochs=RATE_EPOCHS[name])
        task = dataclasses.replace(full, settings=settings)
        for structure, rate in itertools.product(("Dense", SMALL, *STRUCTURES), RATES):
            recipe = dataclasses.replace(recipe_of(task, structure), learning_rate=rate)
            asked = 1.0 if structure == "Dense" else ASKED[name][0]
            called, small = f"{name}, {structure}, rate {rate:g}", structure == SMALL
            made.append(classifier_row(called, task, recipe, asked, 0, small=small))
    return made


def recipe_of(task: Task, structure: str) -> Recipe:
    """A structure and how it trains; an HMD is one for each gate, or the first had all columns."""
    alone = task.settings.cell == "FastGRNN"
    return (ONE_GATE if alone and structure in ONE_GATE else RECIPES)[structure]


def clock(given: argparse.Namespace) -> None:
    """Adds the microseconds of one sequence to the rows of the first seed; models take turns."""
    there = json.loads(given.out.read_text("utf-8"))
    found = {row["name"]: row for row in there["rows"] if "figures" in row}
    for name in TASKS:
        models = [("Dense", 1.0)] + [(s, c) for c in ASKED[name] for s in (SMALL, *STRUCTURES)]
        named = {f"{name}, {s}, {c:g}x, seed {SEEDS[0]}": (s, c) for s, c in models}
        calls = {n: _call(TASKS[name], *named[n], found[n]["hidden"]) for n in named if n in found}
        for called, samples in bench.interleaved(calls, bench.Effort(ROUNDS)).items():
            found[called]["microseconds"] = round(1e6 * bench.quartiles(samples)[1], 1)
    write_json(given.out, there)


def _call(task: Task, structure: str, asked: float, hidden: int) -> Callable[[], Any]:
    """What classifies one sequence by a packed model, of random values: the time is the same."""
    data, settings = task.data(), dataclasses.replace(task.settings, hidden=hidden)
    features, spec = data.train.x.shape[-1], recipe_of(task, structure).spec
    kernels: Any = (None, None)
    if structure in STRUCTURES:
        made = kernel_specs(cast(Asked, spec), settings.shapes(features), asked)
        kernels = tuple(_sparse_at_once(kernel) for kernel in made)
    model = Classifier(len(data.classes), settings, kernels)
    params = sl.pack(drawn(model, features, 0))
    run, x = jax.jit(model.apply), jnp.asarray(data.test.x[:1])
    return lambda: jax.block_until_ready(run({"params": params}, x))


def _sparse_at_once(spec: Any) -> Any:
    return dataclasses.replace(spec, anneal=False) if getattr(spec, "anneal", False) else spec


def main() -> None:
    """Measures what is missing, and writes after every row."""
    options = parser("Train small classifiers of every structure.", "training_iot.json")
    options.add_argument("--rates", action="store_true", help="every structure at several rates")
    options.add_argument("--time", action="store_true", help="time the rows that are there")
    given = options.parse_args()
    if given.rates:
        given.out = given.out.with_name("training_iot_rates.json")
        carry_out(rate_rows(), given)
    elif given.time:
        clock(given)
    else:
        carry_out(rows(), given)


if __name__ == "__main__":
    main()
