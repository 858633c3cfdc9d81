"""Times whole language models at batch 1, a token at a time: dense and compressed.

    python benchmarks/speed/models.py        # what is missing in results/speed_models.json

Two sizes: characters (65 of them, as Shakespeare's text has; one LSTM of 256) and words (the 33,278
of WikiText-2; embedding and two LSTMs of 650, as Zaremba et al. (2014) have it). The weights are
random, which changes no time. A call reads a token and says the next, which the next call reads.

Steady state: the models take turns, round by round (see `structlin.bench`). First token: in a
process of its own, from the file of the model to the first token, compilation counted, and what the
process holds afterwards over what it held before.
"""

import argparse
import dataclasses
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import structlin as sl
from structlin import bench
from structlin.functional import LSTM, CellWeights, embed
from structlin.specs import Spec

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))
experiments: Any = importlib.import_module("_experiments")

EFFORT = bench.Effort(rounds=40, seconds=60.0)
SMALL_VOCABULARY = sl.specs.LowRank(compression=10)


@dataclasses.dataclass(frozen=True)
class Size:
    """A language model.

    Attributes:
        vocabulary: How many tokens there are.
        embedding: The width of the embedding.
        hidden: The units of each LSTM.
        layers: How many LSTMs.
    """

    vocabulary: int
    embedding: int
    hidden: int
    layers: int


SIZES = {"characters": Size(65, 64, 256, 1), "words": Size(33_278, 650, 650, 2)}
KERNELS = ("Dense", "Kron", "DopedKron 98 %", "DopedKron 98 %, blocks", "LowRank 10x")
"""Structures of the LSTMs' kernels; embedding and output are dense with the first, else low-rank,
ten times smaller, if there are many tokens."""


def model(size: Size, structure: str) -> dict[str, Any]:
    """Random packed parameters."""
    keys = iter(jax.random.split(jax.random.key(0), 2 * size.layers + 2))
    dense = structure == "Dense"
    words: Spec = sl.specs.Dense() if dense or size.vocabulary < 1000 else SMALL_VOCABULARY

    def drawn(spec: Spec, m: int, n: int) -> Any:
        matrix = spec.init(next(keys), (m, n)).pack()
        return matrix.to_dense() if isinstance(spec, sl.specs.Dense) else matrix

    def kernel(m: int) -> Any:
        n = 4 * size.hidden
        return drawn(bench.STRUCTURES[structure](n), m, n)

    h = size.hidden
    return {
        "embedding": drawn(words, size.vocabulary, size.embedding),
        "layers": [
            {"i": kernel(h if i else size.embedding), "h": kernel(h), "bias": jnp.zeros(4 * h)}
            for i in range(size.layers)
        ],
        "out": drawn(words, h, size.vocabulary),
    }


@jax.jit
def step(params: Any, carries: Any, token: jax.Array) -> tuple[Any, jax.Array]:
    """The new carries and the next token, of one token ``(1,)``."""
    x, after = embed(token, params["embedding"]), []
    for weights, carry in zip(params["layers"], carries, strict=True):
        cell = CellWeights(weights["i"], weights["h"], weights["bias"])
        carry, x = LSTM().step(cell, carry, x)
        after.append(carry)
    return after, jnp.argmax(x @ params["out"], axis=-1)


def streaming(params: Any) -> Callable[[], jax.Array]:
    """A call that goes on by a token."""
    h = params["layers"][0]["bias"].shape[0] // 4
    state: list[Any] = [[(jnp.zeros((1, h)),) * 2 for _ in params["layers"]], jnp.zeros(1, int)]

    def call() -> jax.Array:
        state[:] = step(params, *state)
        return jax.block_until_ready(state[1])

    return call


def first_token(path: Path, native: bool) -> dict[str, float]:
    """From a file to the first token: seconds, and megabytes held afterwards over before."""
    jax.block_until_ready(jnp.zeros(1) + 1)  # JAX itself is not what is timed
    before, start = resident(), time.perf_counter()
    params = sl.load(path)
    call = streaming(sl.prepare(params) if native else params)
    call()
    seconds = time.perf_counter() - start
    return {"first_token_seconds": round(seconds, 3), "resident_mb": resident() - before}


def resident() -> float:
    """Megabytes of memory that this process holds."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def measured(size: Size, folder: Path) -> dict[str, Any]:
    """The figures of all models of a size."""
    params = {structure: model(size, structure) for structure in KERNELS}
    calls = {}
    for structure, tree in params.items():
        calls[f"{structure}, XLA"] = streaming(tree)
        if structure != "Dense":
            calls[f"{structure}, native"] = streaming(sl.prepare(tree))
    samples = bench.interleaved(calls, EFFORT)
    rows = []
    for name, own in samples.items():
        structure, mode = name.rpartition(", ")[::2]
        path = folder / "model.slin"
        sl.save(path, params[structure])
        found = {"name": name, "file_bytes": path.stat().st_size}
        found["microseconds"] = [round(1e6 * t, 2) for t in bench.quartiles(own)]
        speedup = bench.ratios(samples["Dense, XLA"], own)
        found["speedup"] = [round(r, 3) for r in speedup]
        found |= {"samples": len(own), "dropped": len(own) - sum(bench.quiet(own))}
        command = [sys.executable, __file__, "--first-token", str(path)]
        command += ["--native"] * (mode == "native")
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(found | json.loads(done.stdout.splitlines()[-1]))
        path.unlink()
    return {"contenders": rows}


def main() -> None:
    """Measures what is missing; or, in a process of its own, a first token."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--first-token", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--native", action="store_true", help=argparse.SUPPRESS)
    own, rest = options.parse_known_args()
    sl.tune_cpu()
    if own.first_token is not None:
        print(json.dumps(first_token(own.first_token, own.native)))
        return
    given = experiments.parser("Times language models.", "speed_models.json").parse_args(rest)
    rows = [
        experiments.Row(
            name,
            {"size": dataclasses.asdict(size), "effort": dataclasses.asdict(EFFORT)},
            lambda folder, size=size: measured(size, folder),
        )
        for name, size in SIZES.items()
    ]
    experiments.carry_out(rows, given)


if __name__ == "__main__":
    main()
