"""Error over bytes of one weight, for every candidate structure in several sizes."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import specs
from structlin.matrices import Cost, LowRank, Matrix, Quantized
from structlin.specs import Covariance, Fisher, Rows, Spec
from structlin.surgery._targets import anneals

__all__ = ["Point", "curve", "relative_error", "squared_error", "stored"]


@dataclasses.dataclass(frozen=True)
class Point:
    """One structure in one size.

    Attributes:
        spec: The spec, sized.
        cost: What it takes, packed.
        error: Its squared error, weighted.
    """

    spec: Spec
    cost: Cost
    error: float


def curve(
    dense: jax.Array, weights: Any, candidates: Sequence[Spec], sizes: Sequence[float]
) -> list[Point]:
    """What every candidate reaches.

    Args:
        dense: The weight, ``(m, n)``.
        weights: What matters more, or ``None``.
        candidates: Specs. One with a ``compression``, its own or of a spec in it, stands for its
            whole family and is tried in all sizes; any other is tried as it is.
        sizes: Compressions to try.

    Returns:
        A point for each that can be made, in no order. Weights for which a structure has no fit of
        its own are told to it as weights of rows, or not at all: the error counts them, and the fit
        of the plan can only be better.
    """
    points = []
    for candidate in candidates:
        inner = candidate.inner if isinstance(candidate, specs.Quantized) else candidate
        if isinstance(inner, specs.LowRank) and inner.compression is not None:
            coded = None if inner is candidate else candidate
            points += _low_rank(dense, weights, _ranks(dense, sizes), coded)
        else:
            found = (_point(s, dense, weights) for s in _sized(candidate, dense, sizes))
            points += [p for p in found if p]
    return points


def squared_error(dense: Any, fitted: Any, weights: Any) -> float:
    """The squared error that ``weights`` define, in double precision of the sums."""
    error = np.asarray(dense, _wide(dense)) - np.asarray(fitted, _wide(dense))
    if weights is None:
        return _sum_of_squares(error)
    values = np.asarray(weights.values, np.float32)
    if isinstance(weights, Covariance):
        return float(np.einsum("ij,ij->", error.conj(), values @ error, dtype=_double(error)).real)
    shares = values[:, None] if isinstance(weights, Rows) else values
    return float(np.sum(shares * np.abs(error) ** 2, dtype=np.float64))


def relative_error(dense: Any, fitted: Any, weights: Any) -> float:
    """Root of the squared error over that of zero; 0 for a weight that is zero and stays so."""
    whole = squared_error(dense, np.zeros(dense.shape, dense.dtype), weights)
    return float(np.sqrt(squared_error(dense, fitted, weights) / (whole or 1.0)))


def _sum_of_squares(x: np.ndarray) -> float:
    return float(np.sum(np.abs(x) ** 2, dtype=np.float64))


def _wide(x: Any) -> Any:
    return np.dtype(jnp.promote_types(x.dtype, jnp.float32))


def _double(x: np.ndarray) -> Any:
    return np.result_type(x.dtype, np.float64)


def _scaled(spec: Any, compression: float) -> Any:
    """``spec`` with another compression, its own or that of the spec in it; ``None`` if none is."""
    fields = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    if fields.get("compression") is not None:
        return dataclasses.replace(spec, compression=compression)
    for name, value in fields.items():
        if isinstance(value, Spec):
            inner = _scaled(value, compression)
            return None if inner is None else dataclasses.replace(spec, **{name: inner})
    return None


def _sized(candidate: Spec, dense: jax.Array, sizes: Sequence[float]) -> Iterator[Spec]:
    """The different specs that a candidate stands for and that can make the shape."""
    scaled = [_scaled(candidate, c) for c in sizes]
    seen = set()
    for spec in scaled if scaled and scaled[0] is not None else [candidate]:
        with contextlib.suppress(ValueError):
            sized = spec.sized_for(dense)
            if sized not in seen:
                seen.add(sized)
                yield sized


def _point(spec: Spec, dense: jax.Array, weights: Any) -> Point | None:
    with contextlib.suppress(ValueError):
        matrix = spec.fit(dense, _told(spec, weights))
        error = squared_error(dense, matrix.to_dense(), weights)
        if np.isfinite(error):
            return Point(spec, stored(spec, matrix, dense), error)
    return None


def stored(spec: Spec, matrix: Matrix, dense: jax.Array) -> Cost:
    """What a fitted matrix takes when it is packed, beside the bytes of the dense weight."""
    m, n = dense.shape
    size = spec.cost((m, n), dense.dtype) if anneals(spec) else matrix.pack().cost()
    return Cost(size.params, size.bytes, size.flops, m * n, m * n * dense.dtype.itemsize)


def _told(spec: Spec, weights: Any) -> Any:
    """The weights, or what is near to them and quick to fit by."""
    if weights is None or isinstance(weights, spec.weighs):
        return weights
    return _by_row(weights) if Rows in spec.weighs else None


def _by_row(weights: Any) -> Rows:
    values = jnp.asarray(weights.values)
    if isinstance(weights, Covariance):
        return Rows(jnp.maximum(jnp.diagonal(values).real, 0))
    return Rows(jnp.mean(values, axis=1)) if isinstance(weights, Fisher) else weights


def _ranks(dense: jax.Array, sizes: Sequence[float]) -> list[int]:
    """Ranks of these compressions, and those halfway between: they cost next to nothing."""
    m, n = dense.shape
    ordered = sorted(sizes)
    between = [(a * b) ** 0.5 for a, b in zip(ordered, ordered[1:], strict=False)]
    ranks = {int(m * n / (c * (m + n))) for c in [*ordered, *between]}
    return sorted(r for r in ranks if 1 <= r <= min(m, n))


def _low_rank(dense: jax.Array, weights: Any, ranks: list[int], coded: Any) -> list[Point]:
    """Low-rank points from one decomposition; quantised as ``coded`` says if it is given."""
    if not ranks:
        return []
    array = np.asarray(dense, _wide(dense))
    exact = not isinstance(weights, Fisher) and coded is None
    squares, vectors = _right_side(array, weights)
    tails = np.append(np.cumsum(squares[::-1])[::-1], 0.0)  # from the largest on
    points = []
    for rank in ranks:
        spec: Any = specs.LowRank(rank=rank)
        if exact:
            m, n = array.shape
            size = spec.cost((m, n), dense.dtype)
            points.append(Point(spec, size, max(float(tails[rank]), 0.0)))
            continue
        kept = vectors[:, :rank].astype(array.dtype)
        matrix: Matrix = LowRank(*_even(array @ kept, kept.conj().T, dense.dtype))
        if coded is not None:
            spec = dataclasses.replace(coded, inner=spec)
            matrix = Quantized.of(matrix, coded.bits, coded.codebook)
        error = squared_error(dense, matrix.to_dense(), weights)
        points.append(Point(spec, stored(spec, matrix, dense), error))
    return points


def _right_side(array: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values of the weighted matrix, descending, and its right vectors.

    By the eigenvalues of its smaller Gram matrix in double precision: the sums of the small ones,
    which are the errors, are exact to the square root of that, relative to the largest.
    """
    wide = array.astype(_double(array))
    if isinstance(weights, Covariance):
        roots, vectors = np.linalg.eigh(np.asarray(weights.values, wide.dtype))
        wide = np.sqrt(np.maximum(roots, 0))[:, None] * (vectors.conj().T @ wide)
    elif weights is not None:
        wide = np.sqrt(np.asarray(_by_row(weights).values, np.float64))[:, None] * wide
    m, n = wide.shape
    tall = m >= n
    squares, vectors = np.linalg.eigh(wide.conj().T @ wide if tall else wide @ wide.conj().T)
    squares, vectors = np.maximum(squares[::-1], 0), vectors[:, ::-1]
    if not tall:
        sizes = np.sqrt(np.where(squares > 0, squares, 1))
        vectors = (wide.conj().T @ vectors) / sizes
    return squares, vectors


def _even(left: np.ndarray, right: np.ndarray, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Factors with the sizes of their columns and rows shared evenly, as fits have them."""
    sizes = np.linalg.norm(left, axis=0)
    root = np.sqrt(np.where(sizes > 0, sizes, 1))
    return jnp.asarray(left / root, dtype), jnp.asarray(root[:, None] * right, dtype)
