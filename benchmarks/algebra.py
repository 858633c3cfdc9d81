"""Times products of structured matrices against what a user might take instead.

    python benchmarks/algebra.py                  # writes benchmarks/results/algebra.json
    python benchmarks/algebra.py --name algebra_cola    # in an environment with cola instead

One process, the contenders in turn in every round, medians over the rounds. Dispatch is
synchronous, so that a call's time is that of its work. For steady figures give the process one core
and XLA one thread: ``NPROC=1 taskset -c 0 python benchmarks/algebra.py``.
"""

import argparse
import contextlib
import importlib.metadata
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _contenders import SIDE, STRUCTURES, Contender

from structlin import bench

RESULTS = Path(__file__).resolve().parent / "results"
STEPS = 64
LIBRARIES = ("jax", "jaxlib", "linox", "lineax", "quax", "pykronecker", "cola-ml")


def tasks(name: str, contender: Contender) -> dict[str, Callable[[], Any]]:
    """Task -> a call that waits for its result."""
    parameters, product = contender
    rng, rows = np.random.default_rng(1), name.endswith("rows")
    one = jnp.asarray(rng.normal(size=SIDE), jnp.float32)
    many = jnp.asarray(rng.normal(size=(STEPS, SIDE)), jnp.float32)
    block = many if rows else jnp.asarray(np.asarray(many).T)

    def scan(p: Any, xs: jax.Array) -> jax.Array:
        def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
            return jnp.tanh(product(p, h) + x), None

        return jax.lax.scan(step, jnp.zeros(SIDE), xs)[0]

    def loss(p: Any, v: jax.Array) -> jax.Array:
        return jnp.sum(product(p, v) ** 2)

    jitted = {
        "vector": (jax.jit(product), one),
        "64 vectors": (jax.jit(product), block),
        "64 steps": (jax.jit(scan), many),
        "gradient": (jax.jit(jax.grad(loss, allow_int=True)), block),
    }
    return {
        task: lambda f=f, v=v: jax.block_until_ready(f(parameters, v))
        for task, (f, v) in jitted.items()
    }


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each call, all of them in turn in every round."""
    samples = bench.interleaved(calls, bench.Effort(rounds))
    return {name: bench.quartiles(own)[1] for name, own in samples.items()}


def check(contenders: dict[str, Contender]) -> None:
    """That all give the same product, so that what is timed is the same."""
    v = jnp.asarray(np.random.default_rng(2).normal(size=SIDE), jnp.float32)
    matrix, product = contenders["structlin"]
    want = {False: product(matrix, v), True: contenders["structlin, rows"][1](matrix, v)}
    for name, (parameters, other) in contenders.items():
        got = jax.jit(other)(parameters, v)
        np.testing.assert_allclose(
            got, want[name.endswith("rows")], rtol=1e-3, atol=1e-4, err_msg=name
        )


def measure(rounds: int) -> list[dict[str, Any]]:
    """A row for each structure and task: microseconds of every contender."""
    rows = []
    for structure, make in STRUCTURES.items():
        contenders = make(np.random.default_rng(0))
        check(contenders)
        calls = {name: tasks(name, contender) for name, contender in contenders.items()}
        for task in next(iter(calls.values())):
            possible = {name: call[task] for name, call in calls.items() if works(call[task])}
            times = interleaved(possible, rounds)
            rows.append(summary(structure, task, times))
            print(f"{structure}, {task}: {rows[-1]['ratio']:.2f}", file=sys.stderr)
    return rows


def works(call: Callable[[], Any]) -> bool:
    """Whether a contender can do the task at all."""
    try:
        call()
    except Exception as error:
        print(f"left out: {type(error).__name__}: {error}"[:200], file=sys.stderr)
        return False
    return True


def summary(structure: str, task: str, times: dict[str, float]) -> dict[str, Any]:
    """Microseconds, and ours over the fastest of the others; either layout may be taken by all."""
    mine = {name for name in times if name.startswith("structlin")}
    best = min(set(times) - mine, key=times.__getitem__)
    ratios = {"ratio": min(times[name] for name in mine) / times[best]}
    for layout, ours in (("columns", "structlin"), ("rows", "structlin, rows")):
        rival = [
            t
            for n, t in times.items()
            if n not in mine and n.endswith("rows") == (layout == "rows")
        ]
        if rival:
            ratios[f"ratio_{layout}"] = times[ours] / min(rival)
    micro = {name: round(1e6 * seconds, 2) for name, seconds in sorted(times.items())}
    return {"structure": structure, "task": task, "microseconds": micro, "fastest_other": best} | {
        name: round(value, 3) for name, value in ratios.items()
    }


def installed() -> list[str]:
    """The libraries that are here."""
    found = []
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            found.append(name)
    return found


def main() -> None:
    """Measures and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="algebra", help="of the result file")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    rows = measure(given.rounds)
    command = "python benchmarks/" + " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    result = bench.header(command, installed(), rounds=given.rounds) | {"rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{given.name}.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
