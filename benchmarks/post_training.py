"""Compresses trained models without training them again, and measures what they still do.

    python benchmarks/post_training.py                  # every model, or what is still missing
    python benchmarks/post_training.py --only g2p_en    # models whose name has this part
    python benchmarks/post_training.py --fresh          # forgets the figures that are there

Every recurrent kernel of a model, gates side by side, is fitted by one spec at one compression, the
same for all kernels; embeddings, output layers and biases stay as they are. Beside the structures
stand the dense model and its kernels rounded to 8 bits, each row or column by its own scale. A
figure is written to benchmarks/results/post_training.json as soon as it is measured; a run that was
stopped goes on where it was.
"""

import argparse
import datetime
import functools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from _models import Trained, charrnn, evaluate, g2p

import structlin
from structlin import specs
from structlin.demo._results import device_name, write_json
from structlin.matrices import Cost

RESULT = Path(__file__).resolve().parent / "results" / "post_training.json"
COMPRESSIONS = (2.0, 4.0, 8.0)
SEED = 0

MODELS: dict[str, Callable[[], Trained]] = {
    "g2p_en": g2p,
    "ml5_charrnn/shakespeare": lambda: charrnn("shakespeare"),
    "ml5_charrnn/charlotte_bronte": lambda: charrnn("charlotte_bronte"),
}
"""Name -> how the model is read, with its test."""

STRUCTURES: dict[str, Callable[[float], specs.Spec]] = {
    "LowRank": lambda c: specs.LowRank(compression=c),
    "Kron": lambda c: specs.Kron(compression=c),
    "HMD": lambda c: specs.HMD(compression=c),
    "Sparse": lambda c: specs.Sparse(compression=c),
    "DopedKron": lambda c: specs.DopedKron(compression=c),
    "Monarch": lambda c: specs.Monarch(compression=c),
}
"""Name -> its spec for a compression of stored bytes."""

GATES = {"lstm": "ifgo", "gru": "rzn"}
Fit = Callable[[jax.Array], tuple[jax.Array, Cost]]
Compress = Callable[[Trained], tuple[Any, dict[str, Any]]]


def kernels(params: Any, kind: str) -> dict[str, jax.Array]:
    """Both kernels of a cell, ``(in, k h)`` and ``(h, k h)``, by the letter of their side."""
    return {
        side: jnp.concatenate([params[side + g]["kernel"] for g in GATES[kind]], axis=1)
        for side in "ih"
    }


def with_kernels(params: Any, kind: str, fused: dict[str, jax.Array]) -> Any:
    """A cell's parameters with other kernels."""
    new = dict(params)
    for side, whole in fused.items():
        parts = jnp.split(whole, len(GATES[kind]), axis=1)
        for gate, part in zip(GATES[kind], parts, strict=True):
            new[side + gate] = {**params[side + gate], "kernel": part}
    return new


def refit(model: Trained, fit: Fit) -> tuple[Any, dict[str, Any]]:
    """The model's parameters with every recurrent kernel fitted, and their size and error."""
    params, error, norm = dict(model.params), 0.0, 0.0
    total = Cost(0, 0, 0, 0, 0)
    for (name,), kind in model.cells.items():
        dense = kernels(params[name], kind)
        fitted = {}
        for side, kernel in dense.items():
            fitted[side], cost = fit(kernel)
            total += cost
            error += float(jnp.sum((kernel - fitted[side]) ** 2))
            norm += float(jnp.sum(kernel**2))
        params[name] = with_kernels(params[name], kind, fitted)
    return params, {
        "bytes": total.bytes,
        "compression": round(total.compression, 3),
        "relative_error": round(float(np.sqrt(error / norm)), 5),
    }


def by_spec(spec: specs.Spec) -> Fit:
    """Fits one spec; the size is that of the packed matrix, indices counted."""

    def fit(kernel: jax.Array) -> tuple[jax.Array, Cost]:
        matrix = spec.fit(kernel)
        return matrix.to_dense(), matrix.pack().cost()

    return fit


def rounded(axis: int) -> Fit:
    """Rounds to 8 bits, with one scale for each column (axis 0) or each row (axis 1)."""

    def fit(kernel: jax.Array) -> tuple[jax.Array, Cost]:
        scale = jnp.max(jnp.abs(kernel), axis, keepdims=True) / 127
        codes = jnp.round(kernel / jnp.where(scale > 0, scale, 1)).astype(jnp.int8)
        cost = Cost(
            params=scale.size,
            bytes=codes.nbytes + scale.nbytes,
            flops=2 * kernel.size,
            dense_params=kernel.size,
            dense_bytes=kernel.nbytes,
        )
        return codes * scale, cost

    return fit


def contenders() -> Iterator[tuple[str, str | None, Compress]]:
    """A name, the spec as JSON if one made it, and the compression of a model."""
    yield "Dense", None, lambda model: (model.params, {})
    for axis, word in enumerate(("column", "row")):
        yield f"int8, a scale a {word}", None, functools.partial(refit, fit=rounded(axis))
    for compression in COMPRESSIONS:
        for name, make in STRUCTURES.items():
            spec = make(compression)
            compress = functools.partial(refit, fit=by_spec(spec))
            yield f"{name}, {compression:g}x", spec.to_json(), compress


def measure(model: Trained, name: str, spec: str | None, compress: Compress) -> dict[str, Any]:
    """One row: compresses, then evaluates. A spec that cannot be so small says why instead."""
    row: dict[str, Any] = {"model": model.name, "name": name, "spec": spec and json.loads(spec)}
    start = time.perf_counter()
    try:
        params, size = compress(model)
    except ValueError as error:
        return row | {"refused": str(error)}
    fitted = time.perf_counter()
    figures = {k: round(v, 5) for k, v in evaluate(model, params).items()}
    seconds = {"fit": fitted - start, "evaluate": time.perf_counter() - fitted}
    return (
        row | size | {"figures": figures, "seconds": {k: round(v, 2) for k, v in seconds.items()}}
    )


def header() -> dict[str, Any]:
    """How the figures were made."""
    return {
        "command": "python benchmarks/post_training.py",
        "seed": SEED,
        "versions": {
            "structlin": structlin.__version__,
            "jax": jax.__version__,
            "flax": flax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": device_name(),
        "threads": len(os.sched_getaffinity(0)),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def main() -> None:
    """Measures what is missing, and writes after every row."""
    parser = argparse.ArgumentParser(description="Compress trained models and measure them.")
    parser.add_argument("--only", default="", help="a part of the models' names")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    given = parser.parse_args()
    titles = [title for title in MODELS if given.only in title]
    there = json.loads(RESULT.read_text("utf-8"))["rows"] if RESULT.exists() else []
    kept = (r for r in there if not (given.fresh and r["model"] in titles))
    done = {(r["model"], r["name"]): r for r in kept}
    for title in titles:
        rows = list(contenders())
        if all((title, name) in done for name, *_ in rows):
            continue
        model = MODELS[title]()
        for name, spec, compress in rows:
            if (title, name) not in done:
                row = done[title, name] = measure(model, name, spec, compress)
                print(f"{title}: {name}: {row.get('figures', row.get('refused'))}", file=sys.stderr)
                RESULT.parent.mkdir(exist_ok=True)
                write_json(RESULT, header() | {"rows": list(done.values())})


if __name__ == "__main__":
    main()
