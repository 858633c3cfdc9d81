"""Error over bytes of one weight, for every candidate structure in several sizes."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import specs
from structlin.matrices import Cost, Matrix
from structlin.specs import Rows, Spec
from structlin.surgery._errors import by_row, entry_shares, squared_error, wide_dtype
from structlin.surgery._targets import anneals
from structlin.surgery.curves._low_rank import LowRankCurve, known_cost
from structlin.surgery.curves._quick import Starts, approximation
from structlin.surgery.curves._skeleton import skeleton

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
        A point for each that can be made, in no order; quantised low-rank ones that a smaller point
        beats are left out. Weights for which a structure has no fit of its own are told to it as
        weights of rows, or not at all: the error counts them, and the fit of the plan can only be
        better.

    Raises:
        ValueError: The weight is not finite.
    """
    if not bool(jnp.isfinite(dense).all()):
        m, n = dense.shape
        raise ValueError(f"A weight of {m} x {n} holds NaN or infinity: it cannot be planned.")
    points: list[Point] = []
    low_rank, starts = LowRankCurve(dense, weights, sizes), {}

    def size_of(spec: Spec) -> Cost:
        return _cost(spec, tuple(dense.shape), dense.dtype)

    def beaten(spec: Spec, least: float) -> bool:
        size = size_of(spec).bytes
        return any(p.cost.bytes <= size and p.error <= least for p in points)

    for candidate in sorted(candidates, key=_turn):
        coded = candidate if isinstance(candidate, specs.Quantized) else None
        if _low_rank(candidate):
            for spec, error in low_rank.errors(coded, beaten):
                points.append(Point(spec, size_of(spec), error))  # and beats those that follow
        else:
            found = (_point(s, dense, weights, starts) for s in _sized(candidate, dense, sizes))
            points += [p for p in found if p]
    return points


def _low_rank(candidate: Spec) -> bool:
    inner = candidate.inner if isinstance(candidate, specs.Quantized) else candidate
    return isinstance(inner, specs.LowRank) and inner.compression is not None


def _turn(candidate: Spec) -> int:
    """When a candidate is tried: coded low-rank ones last, when others may beat them unseen."""
    return candidate.bits if isinstance(candidate, specs.Quantized) and _low_rank(candidate) else 0


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


def _point(spec: Spec, dense: jax.Array, weights: Any, starts: Starts) -> Point | None:
    array = np.asarray(dense, wide_dtype(dense))
    with contextlib.suppress(ValueError):
        quick = approximation(spec, array, entry_shares(weights), starts)
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
    (m, n), found = shape, known_cost(spec, shape, dtype)
    if found is None:
        made = skeleton(spec, shape, dtype)
        found = made.pack().cost() if made is not None else spec.cost(shape, dtype)
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
