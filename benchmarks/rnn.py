"""Times `structlin.RNN` against ``nn.RNN`` on the dense cells of Flax, at batch 1.

    python benchmarks/rnn.py         # writes benchmarks/results/rnn.json

Both run the same cell on the same parameters in one compiled call, forward and with the gradient of
all parameters; the calls take turns, and a figure is a median of medians: where the weights lie in
memory changes the time of a product by up to a third, so every measurement is repeated with weights
drawn anew.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import structlin as sl
from structlin import bench

RESULTS = Path(__file__).resolve().parent / "results"
HIDDEN, BATCH, STEPS = 650, 1, 64
CELLS: dict[str, Callable[[int], Any]] = {
    "OptimizedLSTMCell": nn.OptimizedLSTMCell,
    "LSTMCell": nn.LSTMCell,
    "GRUCell": nn.GRUCell,
    "MGUCell": nn.MGUCell,
    "SimpleCell": nn.SimpleCell,
}


def measure(name: str, draws: int, rounds: int) -> list[dict[str, Any]]:
    """The rows of one cell: forward, and with the gradient."""
    cell = CELLS[name](HIDDEN)
    rnns = {"nn.RNN": nn.RNN(cell), "structlin.RNN": sl.RNN(cell)}

    def training(rnn: nn.RNN) -> Any:
        def loss(variables: Any, inputs: jax.Array) -> jax.Array:
            return (jnp.asarray(rnn.apply(variables, inputs)) ** 2).mean()

        return jax.jit(jax.value_and_grad(loss))

    tasks = {
        "forward": {key: jax.jit(rnn.apply) for key, rnn in rnns.items()},
        "forward and gradient": {key: training(rnn) for key, rnn in rnns.items()},
    }
    found: dict[str, list[tuple[dict[str, float], float]]] = {task: [] for task in tasks}
    for draw in range(draws):
        key, other = jax.random.split(jax.random.key(draw))
        inputs = jax.random.normal(key, (BATCH, STEPS, HIDDEN))
        variables = nn.RNN(cell).init(other, inputs)
        for task, runs in tasks.items():
            calls = {
                k: functools.partial(_waited, run, variables, inputs) for k, run in runs.items()
            }
            results = [call() for call in calls.values()]
            gaps = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), *results)
            samples = bench.interleaved(calls, bench.Effort(rounds))
            times = {key: bench.quartiles(own)[1] for key, own in samples.items()}
            found[task].append((times, max(jax.tree.leaves(gaps))))
    return [_row(name, task, draws) for task, draws in found.items()]


def _waited(run: Callable[..., Any], *given: Any) -> Any:
    return jax.block_until_ready(run(*given))


def _row(name: str, task: str, draws: list[tuple[dict[str, float], float]]) -> dict[str, Any]:
    ratios = sorted(times["nn.RNN"] / times["structlin.RNN"] for times, _ in draws)
    row = {
        "cell": name,
        "task": task,
        "microseconds_per_step": {
            key: round(float(np.median([times[key] for times, _ in draws])) / STEPS * 1e6, 2)
            for key in draws[0][0]
        },
        "speedup": round(float(np.median(ratios)), 2),
        "speedup_least": round(ratios[0], 2),
        "speedup_most": round(ratios[-1], 2),
        "largest_difference": max(gap for _, gap in draws),
    }
    print(f"{name}, {task}: {row['speedup']}x", file=sys.stderr)
    return row


def main() -> None:
    """Measures and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=7, help="how often weights are drawn")
    parser.add_argument("--rounds", type=int, default=25, help="calls of each form for each draw")
    given = parser.parse_args()
    rows = [row for name in CELLS for row in measure(name, given.draws, given.rounds)]
    command = f"python benchmarks/rnn.py --draws {given.draws} --rounds {given.rounds}"
    made = {"seed": 0, "hidden": HIDDEN, "batch": BATCH, "steps": STEPS}
    result = bench.header(command, ("jax", "flax"), **made) | {"rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rnn.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
