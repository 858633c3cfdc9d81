"""Times `structlin.RNN` against ``nn.RNN`` on the dense cells of Flax, at batch 1.

    python benchmarks/rnn.py         # writes benchmarks/results/rnn.json

Both run the same cell on the same parameters in one compiled call, forward and with the gradient of
all parameters; the calls take turns, and the figures are medians.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import structlin as sl

RESULTS = Path(__file__).resolve().parent / "results"
HIDDEN, BATCH, STEPS = 650, 1, 64
CELLS: dict[str, Callable[[int], Any]] = {
    "OptimizedLSTMCell": nn.OptimizedLSTMCell,
    "LSTMCell": nn.LSTMCell,
    "GRUCell": nn.GRUCell,
    "MGUCell": nn.MGUCell,
    "SimpleCell": nn.SimpleCell,
}


def timed(calls: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """The median seconds of each call; they take turns, the first two of each not counted."""
    seconds: dict[Any, list[float]] = {key: [] for key in calls}
    for turn in range(rounds + 2):
        for key, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            if turn > 1:
                seconds[key].append(time.perf_counter() - start)
    return {key: float(np.median(times)) for key, times in seconds.items()}


def measure(name: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of one cell: forward, and with the gradient."""
    cell = CELLS[name](HIDDEN)
    inputs = jax.random.normal(jax.random.key(1), (BATCH, STEPS, HIDDEN))
    variables = nn.RNN(cell).init(jax.random.key(0), inputs)
    rnns = {"nn.RNN": nn.RNN(cell), "structlin.RNN": sl.RNN(cell)}
    forward = {key: jax.jit(rnn.apply) for key, rnn in rnns.items()}

    def training(rnn: nn.RNN) -> Any:
        def loss(variables: Any, inputs: jax.Array) -> jax.Array:
            return (jnp.asarray(rnn.apply(variables, inputs)) ** 2).mean()

        return jax.jit(jax.value_and_grad(loss))

    gradient = {key: training(rnn) for key, rnn in rnns.items()}
    rows = []
    for task, runs in (("forward", forward), ("forward and gradient", gradient)):
        results = [run(variables, inputs) for run in runs.values()]
        gaps = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), *results)
        times = timed({k: lambda r=r: r(variables, inputs) for k, r in runs.items()}, rounds)
        row = {
            "cell": name,
            "task": task,
            "microseconds_per_step": {k: round(t / STEPS * 1e6, 2) for k, t in times.items()},
            "speedup": round(times["nn.RNN"] / times["structlin.RNN"], 2),
            "largest_difference": max(jax.tree.leaves(gaps)),
        }
        print(f"{name}, {task}: {row['speedup']}x", file=sys.stderr)
        rows.append(row)
    return rows


def main() -> None:
    """Measures and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each form")
    given = parser.parse_args()
    rows = [row for name in CELLS for row in measure(name, given.rounds)]
    result = {
        "command": f"python benchmarks/rnn.py --rounds {given.rounds}",
        "date": time.strftime("%Y-%m-%d"),
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
        "threads": len(os.sched_getaffinity(0)),
        "versions": {
            "jax": jax.__version__,
            "flax": flax.__version__,
            "python": platform.python_version(),
        },
        "seed": 0,
        "hidden": HIDDEN,
        "batch": BATCH,
        "steps": STEPS,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rnn.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
