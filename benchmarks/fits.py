"""Fits every structure to one large matrix: seconds, error and size.

    python benchmarks/fits.py         # writes benchmarks/results/fits.json

The matrix is drawn, 6000 x 3000 in single precision, with singular values that fall as ``1 / sqrt``
of their number: slower than those of trained weights, so that no fit is made easy. Times are of the
first call, compilation included, since a matrix is fitted once.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import bench, specs

RESULTS = Path(__file__).resolve().parent / "results"
SHAPE = (6000, 3000)
COMPRESSION = 10.0


def drawn(m: int, n: int, seed: int = 0) -> np.ndarray:
    """A matrix with slowly falling singular values and no structure to find."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(m, n)).astype(np.float32)
    scale = np.arange(1, n + 1, dtype=np.float32) ** -0.5
    turn = np.linalg.qr(rng.normal(size=(n, n)).astype(np.float32))[0]
    return (mixed * scale) @ turn


def square(n: int) -> tuple[int, int]:
    """The shape for structures that are square."""
    return n, n


def contenders() -> list[tuple[str, specs.Spec, tuple[int, int]]]:
    """What to fit: a name, the spec and the shape of the matrix."""
    c = COMPRESSION
    wide: list[tuple[str, specs.Spec]] = [
        ("LowRank", specs.LowRank(compression=c)),
        ("Kron", specs.Kron(compression=c)),
        ("Kron, 3 factors", specs.Kron(factors=3)),
        ("Kron, 4 terms", specs.Kron(terms=4)),
        ("HMD", specs.HMD(compression=c)),
        ("HMD, best columns", specs.HMD(compression=c, columns="best")),
        ("Monarch", specs.Monarch(compression=c)),
        ("BlockLowRank, 5 groups", specs.BlockLowRank(groups=5, ranks=100)),
        ("BlockDiagonal", specs.BlockDiagonal(compression=c)),
        ("Sparse", specs.Sparse(compression=c)),
        ("Sparse, 16 x 1 blocks", specs.Sparse(compression=c, block=(16, 1))),
        ("Sparse, 2:4", specs.Sparse(pattern="2:4")),
        ("DopedKron", specs.DopedKron(compression=c)),
        ("Doped(LowRank)", specs.Doped(specs.LowRank(compression=2 * c), compression=c)),
        ("Doped(HMD)", specs.Doped(specs.HMD(compression=2 * c), compression=c)),
        ("Quantized, 3 bits", specs.Quantized(specs.Dense(), bits=3)),
        ("Toeplitz", specs.Toeplitz()),
    ]
    fitted: list[tuple[str, specs.Spec, tuple[int, int]]]
    fitted = [(name, spec, SHAPE) for name, spec in wide]
    return [*fitted, ("Circulant", specs.Circulant(), square(SHAPE[1]))]


def weightings(dense: np.ndarray) -> dict[str, Any]:
    """One of each kind of weights, as trained models give them."""
    rng = np.random.default_rng(1)
    m, n = dense.shape
    inputs = rng.normal(size=(2 * m, m)).astype(np.float32) * np.exp(
        rng.normal(size=m).astype(np.float32)
    )
    return {
        "rows": specs.Rows(jnp.asarray(1 / np.arange(1, m + 1, dtype=np.float32))),
        "fisher": specs.Fisher(jnp.asarray(np.exp(rng.normal(size=(m, n))).astype(np.float32))),
        "covariance": specs.Covariance(jnp.asarray(inputs.T @ inputs / len(inputs))),
    }


def fit(name: str, spec: specs.Spec, dense: np.ndarray, weights: Any = None) -> dict[str, Any]:
    """One row: fits, then measures the relative error."""
    array = jnp.asarray(dense)
    start = time.perf_counter()
    fitted = jax.block_until_ready(spec.fit(array, weights))
    seconds = time.perf_counter() - start
    cost = fitted.pack().cost()
    error = float(jnp.linalg.norm(array - fitted.to_dense()) / jnp.linalg.norm(array))
    row = {
        "structure": name,
        "spec": spec.to_json(),
        "shape": list(dense.shape),
        "seconds": round(seconds, 2),
        "relative_error": round(error, 5),
        "bytes": cost.bytes,
        "compression": round(cost.compression, 2),
    }
    print(f"{name}: {seconds:.1f} s, error {error:.4f}", file=sys.stderr)
    return row


def main() -> None:
    """Fits and writes the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the name: measures these rows anew")
    given = parser.parse_args()
    matrices = {shape: drawn(*shape) for shape in (SHAPE, square(SHAPE[1]))}
    rows = [fit(n, spec, matrices[s]) for n, spec, s in contenders() if given.only in n]
    for kind, weights in weightings(matrices[SHAPE]).items():
        for name, spec, _ in contenders():
            label = f"{name}, {kind}"
            if name in ("LowRank", "HMD", "Kron", "Sparse") and given.only in label:
                rows.append(fit(label, spec, matrices[SHAPE], weights))
    path = RESULTS / "fits.json"
    if given.only:  # the other rows stay as they were measured
        old = json.loads(path.read_text("utf-8"))["rows"]
        new = {row["structure"]: row for row in rows}
        rows = [new.pop(row["structure"], row) for row in old] + list(new.values())
    result = bench.header("python benchmarks/fits.py", ("jax",), seed=0) | {"rows": rows}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
