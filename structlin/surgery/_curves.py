"""Error over bytes of one weight, for every candidate structure in several sizes."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from structlin import specs
from structlin.matrices import Cost, Matrix
from structlin.specs import Rows, Spec
from structlin.surgery._errors import by_row, entry_shares, squared_error, wide_dtype
from structlin.surgery._low_rank import LowRankCurve, known_cost
from structlin.surgery._quick import approximation
from structlin.surgery._targets import anneals

__all__ = ["Point", "curve", "stored"]


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
    low_rank = LowRankCurve(dense, weights, sizes)
    for candidate in candidates:
        coded = candidate if isinstance(candidate, specs.Quantized) else None
        inner = candidate if coded is None else coded.inner
        if isinstance(inner, specs.LowRank) and inner.compression is not None:
            for spec, error in low_rank.errors(coded):
                size = _cost(spec, tuple(dense.shape), dense.dtype)
                points.append(Point(spec, size, error))
        else:
            found = (_point(s, dense, weights) for s in _sized(candidate, dense, sizes))
            points += [p for p in found if p]
    return points


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
    array = np.asarray(dense, wide_dtype(dense))
    with contextlib.suppress(ValueError):
        quick = approximation(spec, array, entry_shares(weights))
        if quick is not None:
            size, found = _cost(spec, tuple(dense.shape), dense.dtype), quick
        else:
            matrix = spec.fit(dense, _told(spec, weights))
            size, found = stored(spec, matrix, dense), matrix.to_dense()
        error = squared_error(array, found, weights)
        if np.isfinite(error):
            return Point(spec, size, error)
    return None


@functools.lru_cache(maxsize=4096)
def _cost(spec: Spec, shape: tuple[int, int], dtype: Any) -> Cost:
    found, (m, n) = known_cost(spec, shape, dtype) or spec.cost(shape, dtype), shape
    return Cost(found.params, found.bytes, found.flops, m * n, m * n * dtype.itemsize)


def stored(spec: Spec, matrix: Matrix, dense: jax.Array) -> Cost:
    """What a fitted matrix takes when it is packed, beside the bytes of the dense weight."""
    m, n = dense.shape
    if anneals(spec):
        return _cost(spec, (m, n), dense.dtype)
    size = matrix.pack().cost()
    return Cost(size.params, size.bytes, size.flops, m * n, m * n * dense.dtype.itemsize)


def _told(spec: Spec, weights: Any) -> Any:
    """The weights, or what is near to them and quick to fit by."""
    if weights is None or isinstance(weights, spec.weighs):
        return weights
    return by_row(weights) if Rows in spec.weighs else None
