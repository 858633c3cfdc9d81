"""Times the recurrence of an LSTM on a GPU: dense, structured in XLA, doped Kronecker in Pallas.

    python benchmarks/speed/gpu.py     # writes benchmarks/results/speed_gpu.json

A call is one scan of `STEPS` steps over inputs that are projected beforehand; that of cuDNN, by
PyTorch where it is installed, projects its inputs itself. All take turns in every round; figures
are medians. The precision of products is what JAX and PyTorch have by default, so a dense product
may round its inputs to fewer bits than the others. ``difference`` is how far Pallas is from XLA.
"""

import concurrent.futures
import importlib
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
HIDDEN, BATCHES, STEPS, COMPRESSION = (650, 1500), (1, 16, 64), 35, 20
EFFORT = bench.Effort(rounds=25, seconds=3.0)
XLA, PALLAS = "DopedKron", "DopedKron in Pallas"
SPECS = {
    XLA: specs.DopedKron(compression=COMPRESSION),
    "DopedKron, 10 x 1 blocks": specs.DopedKron(compression=COMPRESSION, block=(1, 10)),
    "Kron": specs.Kron(compression=COMPRESSION),
    "LowRank": specs.LowRank(compression=COMPRESSION),
}


def in_xla(kernel: Any, z: jax.Array, carry: Any) -> Any:
    """A step with an array or a matrix."""
    return LSTM().apply((), z, carry[1] @ kernel, carry)[0]


def in_pallas(kernel: Any, z: jax.Array, carry: Any) -> Any:
    """The same step with a doped Kronecker matrix."""
    kronecker, sparse = kernel.terms
    c, h = carry
    return kernels.doped_lstm_step(h, c, z, kronecker.factors, sparse.values, sparse.indices)


def scan(step: Callable[..., Any], kernel: Any, zs: jax.Array) -> Callable[[], Any]:
    """A call that computes the last carry and waits for it; it is compiled here."""
    start = (jnp.zeros((zs.shape[1], zs.shape[2] // 4)),) * 2

    def run(kernel: Any, zs: jax.Array) -> Any:
        return jax.lax.scan(lambda carry, z: (step(kernel, z, carry), None), start, zs)[0]

    compiled = jax.jit(run).lower(kernel, zs).compile()
    return lambda: jax.block_until_ready(compiled(kernel, zs))


def in_cudnn(hidden: int, batch: int) -> dict[str, Callable[[], Any]]:
    """The dense LSTM of cuDNN, if PyTorch is installed and sees the GPU."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    layer = torch.nn.LSTM(hidden, hidden).cuda().eval()
    x = torch.randn(STEPS, batch, hidden, device="cuda")

    def call() -> Any:
        with torch.inference_mode():
            found = layer(x)
            torch.cuda.synchronize()
        return found

    return {"Dense in cuDNN": call}


def calls_of(hidden: int, batch: int) -> dict[str, Callable[[], Any]]:
    """Every contender, compiled."""
    one, two, three = jax.random.split(jax.random.key(0), 3)
    shape = (hidden, 4 * hidden)
    zs = jax.random.normal(three, (STEPS, batch, 4 * hidden))
    made = {name: spec.init(two, shape).pack() for name, spec in SPECS.items()}
    calls = {"Dense": scan(in_xla, jax.random.normal(one, shape) / hidden**0.5, zs)}
    calls |= {name: scan(in_xla, kernel, zs) for name, kernel in made.items()}
    try:
        calls[PALLAS] = scan(in_pallas, made[XLA], zs)
    except Exception as error:  # what a compiler says of a kernel it cannot take is of any kind
        print(f"{PALLAS}, {hidden} units, batch {batch}: {error}", file=sys.stderr)
    return calls | in_cudnn(hidden, batch)


def measure(hidden: int, batch: int, calls: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """The microseconds of every contender."""
    difference = None
    if PALLAS in calls:
        difference = float(jnp.abs(calls[XLA]()[1] - calls[PALLAS]()[1]).max())
    samples = bench.interleaved(calls, EFFORT)
    micro = {name: round(1e6 * bench.quartiles(own)[1], 2) for name, own in samples.items()}
    print(f"{hidden} units, batch {batch}: {micro}", file=sys.stderr)
    return {"hidden": hidden, "batch": batch, "microseconds": micro, "difference": difference}


def main() -> None:
    """Measures everything, on a GPU."""
    if jax.default_backend() != "gpu":
        raise SystemExit(f"This needs a GPU, and JAX computes on {jax.devices()[0].platform} here.")
    head = bench.header("python benchmarks/speed/gpu.py", steps=STEPS, compression=COMPRESSION)
    cases = [(hidden, batch) for hidden in HIDDEN for batch in BATCHES]
    with concurrent.futures.ThreadPoolExecutor() as pool:  # compilers wait for nobody
        compiled = list(pool.map(lambda case: calls_of(*case), cases))
    rows = [measure(*case, calls) for case, calls in zip(cases, compiled, strict=True)]
    write_json(RESULT, head | {"rows": rows})


if __name__ == "__main__":
    main()
