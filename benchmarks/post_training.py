"""Compresses trained models without training them again, and measures what they still do.

    python benchmarks/post_training.py                  # every model, or what is still missing
    python benchmarks/post_training.py --only g2p_en    # models whose name has this part
    python benchmarks/post_training.py --fresh          # forgets the figures that are there

Only the recurrent kernels of a model are compressed, gates side by side; embeddings, output layers
and biases stay as they are. First each structure at one compression, the same for all kernels;
beside them the dense model, its kernels rounded to 8 bits, each row or column by its own scale, and
codes of 4 bits. Then `structlin.plan`, which chooses for each kernel within the same bytes, from
all its candidates or from low ranks alone, by errors of the weights, of the layers' outputs or of
the loss, the last two from data that the test does not count. A figure is written to
benchmarks/results/post_training.json as soon as it is measured; a run that was stopped goes on
where it was. `python benchmarks/plots.py` draws the figures.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _models import Trained, charrnn, evaluate, g2p

import structlin as sl
from structlin import bench, specs
from structlin.demo._results import write_json
from structlin.matrices import Cost, Dense

RESULT = Path(__file__).resolve().parent / "results" / "post_training.json"
COMPRESSIONS = (2.0, 4.0, 8.0)
SEED, COMMAND = 0, "python benchmarks/post_training.py"

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

PLANS: dict[str, tuple[tuple[specs.Spec, ...] | None, str]] = {
    "Plan, uniform": (None, "uniform"),
    "Plan, Fisher": (None, "fisher"),
    "Plan, activations": (None, "activations"),
    "Plan of LowRank, uniform": ((specs.LowRank(compression=2),), "uniform"),
    "Plan of LowRank, activations": ((specs.LowRank(compression=2),), "activations"),
}
"""Name -> what a plan may choose from, all by default, and what errors count for."""

GATES = {"lstm": "ifgo", "gru": "rzn"}
Fit = Callable[[jax.Array], tuple[jax.Array, Cost]]
Compress = Callable[[Trained], tuple[Any, Cost, Any]]
"""A model to its parameters, dense; what its recurrent kernels take; and specs for the record."""


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


def refit(model: Trained, fit: Fit, record: Any = None) -> tuple[Any, Cost, Any]:
    """The model's parameters with every recurrent kernel fitted, and the size of those."""
    params, total = dict(model.params), Cost(0, 0, 0, 0, 0)
    for (name,), kind in model.cells.items():
        fitted = {}
        for side, kernel in kernels(params[name], kind).items():
            fitted[side], cost = fit(kernel)
            total += cost
        params[name] = with_kernels(params[name], kind, fitted)
    return params, total, record


def planned(model: Trained, name: str, compression: float) -> tuple[Any, Cost, Any]:
    """The same, by the plan of this name within the bytes of this compression."""
    candidates, matters = PLANS[name]
    importance: Any = matters
    if matters == "fisher":
        importance = sl.fisher(model.loss, model.params, model.batches)
    elif matters == "activations":
        importance = sl.activations(lambda b: model.loss(model.params, b), model.batches)
    dense = sum(
        kernel.nbytes
        for (cell,), kind in model.cells.items()
        for kernel in kernels(model.params[cell], kind).values()
    )
    rest = sum(x.nbytes for x in jax.tree.leaves(model.params)) - dense
    plan = sl.plan(
        model.params,
        bytes=rest + dense / compression,
        candidates=candidates,
        importance=importance,
        include=f"({'|'.join(name for (name,) in model.cells)})/[ih]/kernel",
        fuse=True,
    )
    small = sl.compress(model.params, plan)
    total = sum((row.cost for row in small.report.rows), Cost(0, 0, 0, 0, 0))
    total += sum(
        (r.cost for r in plan.report.rows if isinstance(r.spec, specs.Dense)), Cost(0, 0, 0, 0, 0)
    )
    record = {path: json.loads(spec.to_json()) for path, spec in plan.items() if spec}
    return small.densify(), total, record


def error_of(model: Trained, params: Any) -> float:
    """The error of all recurrent kernels over their norm."""
    missed = norm = 0.0
    for (name,), kind in model.cells.items():
        pairs = (kernels(p[name], kind) for p in (model.params, params))
        for (_, was), (_, now) in zip(*(pair.items() for pair in pairs), strict=True):
            missed += float(jnp.sum((was - now) ** 2))
            norm += float(jnp.sum(was**2))
    return float(np.sqrt(missed / norm))


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


def contenders() -> Iterator[tuple[str, Compress]]:
    """A name, and the compression of a model."""
    yield "Dense", lambda model: refit(model, lambda kernel: (kernel, Dense(kernel).cost()))
    for axis, word in enumerate(("column", "row")):
        yield f"int8, a scale a {word}", functools.partial(refit, fit=rounded(axis))
    uniform = {
        f"{name}, {c:g}x": make(c) for c in COMPRESSIONS for name, make in STRUCTURES.items()
    }
    for codebook in ("uniform", "kmeans"):
        uniform[f"Codes of 4 bits, {codebook}"] = specs.Quantized(specs.Dense(), 4, codebook)
    for name, spec in uniform.items():
        record = json.loads(spec.to_json())
        yield name, functools.partial(refit, fit=by_spec(spec), record=record)
    for compression in COMPRESSIONS:
        for name in PLANS:
            plan = functools.partial(planned, name=name, compression=compression)
            yield f"{name}, {compression:g}x", plan


def measure(model: Trained, name: str, compress: Compress) -> dict[str, Any]:
    """One row: compresses, then evaluates. A spec that cannot be so small says why instead."""
    row: dict[str, Any] = {"model": model.name, "name": name}
    start = time.perf_counter()
    try:
        params, cost, record = compress(model)
    except ValueError as error:
        return row | {"refused": str(error)}
    fitted = time.perf_counter()
    figures = {k: round(v, 5) for k, v in evaluate(model, params).items()}
    return row | {
        "spec": record,
        "bytes": cost.bytes,
        "compression": round(cost.compression, 3),
        "relative_error": round(error_of(model, params), 5),
        "figures": figures,
        "seconds": {
            "fit": round(fitted - start, 2),
            "evaluate": round(time.perf_counter() - fitted, 2),
        },
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
        if all((title, name) in done for name, _ in contenders()):
            continue
        model = MODELS[title]()
        for name, compress in contenders():
            if (title, name) not in done:
                row = done[title, name] = measure(model, name, compress)
                print(f"{title}: {name}: {row.get('figures', row.get('refused'))}", file=sys.stderr)
                RESULT.parent.mkdir(exist_ok=True)
                write_json(RESULT, bench.header(COMMAND, seed=SEED) | {"rows": list(done.values())})


if __name__ == "__main__":
    main()
