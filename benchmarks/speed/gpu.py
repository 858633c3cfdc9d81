"""Times the recurrence of an LSTM on a GPU: dense, doped Kronecker in XLA, and the same in Pallas.

    python benchmarks/speed/gpu.py     # writes benchmarks/results/speed_gpu.json

A call is one scan of `STEPS` steps over inputs that are projected beforehand. The three take turns
in every round; figures are medians. JAX's own precision of products is kept, so a dense product may
round its inputs to fewer bits than the others; ``difference`` is how far Pallas is from XLA.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from structlin import bench, kernels, specs
from structlin.demo._results import write_json
from structlin.functional import LSTM

RESULT = Path(__file__).resolve().parents[1] / "results" / "speed_gpu.json"
HIDDEN, BATCHES, STEPS, COMPRESSION = (650, 1024, 1500), (1, 16, 64), 35, 20
EFFORT = bench.Effort(rounds=25, seconds=10.0)


def in_xla(kernel: Any, z: jax.Array, carry: Any) -> Any:
    """A step with an array or a matrix."""
    return LSTM().apply((), z, carry[1] @ kernel, carry)[0]


def in_pallas(kernel: Any, z: jax.Array, carry: Any) -> Any:
    """The same step with a doped Kronecker matrix."""
    kronecker, sparse = kernel.terms
    c, h = carry
    return kernels.doped_lstm_step(h, c, z, kronecker.factors, sparse.values, sparse.indices)


def scan(step: Callable[..., Any], kernel: Any, zs: jax.Array) -> Callable[[], Any]:
    """A call that computes the last carry and waits for it."""
    start = (jnp.zeros((zs.shape[1], zs.shape[2] // 4)),) * 2

    @jax.jit
    def run(kernel: Any, zs: jax.Array) -> Any:
        return jax.lax.scan(lambda carry, z: (step(kernel, z, carry), None), start, zs)[0]

    return lambda: jax.block_until_ready(run(kernel, zs))


def measure(hidden: int, batch: int) -> dict[str, Any]:
    """The microseconds of every contender."""
    one, two, three = jax.random.split(jax.random.key(0), 3)
    shape = (hidden, 4 * hidden)
    dense = jax.random.normal(one, shape) / hidden**0.5
    doped = specs.DopedKron(compression=COMPRESSION).init(two, shape).pack()
    zs = jax.random.normal(three, (STEPS, batch, 4 * hidden))
    calls = {
        "dense": scan(in_xla, dense, zs),
        "doped in XLA": scan(in_xla, doped, zs),
        "doped in Pallas": scan(in_pallas, doped, zs),
    }
    difference = jnp.abs(calls["doped in XLA"]()[1] - calls["doped in Pallas"]()[1]).max()
    samples = bench.interleaved(calls, EFFORT)
    micro = {name: round(1e6 * bench.quartiles(own)[1], 2) for name, own in samples.items()}
    print(f"{hidden} units, batch {batch}: {micro}", file=sys.stderr)
    return {
        "hidden": hidden,
        "batch": batch,
        "microseconds": micro,
        "difference": float(difference),
    }


def main() -> None:
    """Measures everything, on a GPU."""
    if jax.default_backend() != "gpu":
        raise SystemExit(f"This needs a GPU, and JAX computes on {jax.devices()[0].platform} here.")
    head = bench.header("python benchmarks/speed/gpu.py", steps=STEPS, compression=COMPRESSION)
    rows = [measure(hidden, batch) for hidden in HIDDEN for batch in BATCHES]
    write_json(RESULT, head | {"rows": rows})


if __name__ == "__main__":
    main()
