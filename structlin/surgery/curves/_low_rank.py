"""Low-rank points of a curve, plain and quantised, from one decomposition."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels, specs
from structlin.matrices import Cost
from structlin.specs import Covariance, Fisher, Spec
from structlin.surgery._errors import by_row, double_dtype, squared_error, wide_dtype
from structlin.surgery.curves._quick import approximation

__all__ = ["LowRankCurve", "known_cost"]


class LowRankCurve:
    """Errors of low-rank fits of one weight.

    Args:
        dense: The weight, ``(m, n)``.
        weights: What matters more, or ``None``.
        sizes: Compressions; ranks halfway between are tried as well, since they cost next to
            nothing.
    """

    def __init__(self, dense: jax.Array, weights: Any, sizes: Sequence[float]) -> None:
        self._dtype = dense.dtype
        self._array = np.asarray(dense, wide_dtype(dense))
        self._weights = weights
        m, n = dense.shape
        ordered = sorted(sizes)
        between = [(a * b) ** 0.5 for a, b in itertools.pairwise(ordered)]
        ranks = {int(m * n / (c * (m + n))) for c in [*ordered, *between]}
        self._ranks = sorted(r for r in ranks if 1 <= r <= min(m, n))

    @functools.cached_property
    def _side(self) -> tuple[np.ndarray, np.ndarray]:
        return _right_side(self._array, self._weights)

    @functools.cached_property
    def _factors(self) -> tuple[np.ndarray, np.ndarray]:
        kept = self._side[1][:, : self._ranks[-1]].astype(self._array.dtype)
        return _even(self._array @ kept, kept.conj().T)

    @functools.cached_property
    def _least(self) -> dict[int, float]:
        """The least squared error of each rank; 0 where no decomposition tells it."""
        if isinstance(self._weights, Fisher) or not self._ranks:
            return dict.fromkeys(self._ranks, 0.0)
        tails = np.append(np.cumsum(self._side[0][::-1])[::-1], 0.0)  # from the largest on
        return {rank: float(tails[rank]) for rank in self._ranks}

    def errors(
        self, coded: specs.Quantized | None, beaten: Callable[[Spec, float], bool]
    ) -> Iterator[tuple[Spec, float]]:
        """Specs of every rank with their squared errors.

        Args:
            coded: How they are quantised, if they are.
            beaten: Of a spec and an error below which it cannot come: whether it is of no use.
        """
        for rank in reversed(self._ranks):  # a large one of few bits beats many of more bits
            spec: Spec = specs.LowRank(rank=rank)
            if coded is not None:
                spec = dataclasses.replace(coded, inner=spec)
            elif not isinstance(self._weights, Fisher):
                yield spec, self._least[rank]
                continue
            if not beaten(spec, self._least[rank]):
                left, right = self._factors[0][:, :rank], self._factors[1][:rank]
                if coded is not None:
                    left, right = (_rounded(coded, f, self._dtype) for f in (left, right))
                yield spec, squared_error(self._array, left @ right, self._weights)


def known_cost(spec: Any, shape: tuple[int, int], dtype: Any) -> Cost | None:
    """The cost of dense and low-rank matrices, coded or not, without tracing how they are made."""
    coded = spec if isinstance(spec, specs.Quantized) else None
    inner = spec if coded is None else coded.inner
    (m, n), rank = shape, getattr(inner, "rank", None)
    if isinstance(inner, specs.Dense):
        parts = [m * n]
    elif isinstance(inner, specs.LowRank) and rank:
        parts = [m * rank, rank * n]
    else:
        return None
    if coded is not None and coded.per != "tensor":
        return None
    numbers, size, flops = sum(parts), 0, 2 * sum(parts)
    for count in parts:
        stream = count * dtype.itemsize
        if coded is not None and not jnp.issubdtype(dtype, jnp.complexfloating):
            levels = {"uniform": 2, "symmetric": 1}.get(coded.codebook) or 2**coded.bits
            packed = kernels.stream_bytes(count, coded.bits) + levels * dtype.itemsize
            if packed < stream:
                stream, numbers, flops = packed, numbers + levels, flops + 2 * count
        elif coded is not None:
            return None
        size += stream
    return Cost(numbers, size, flops, m * n, m * n * dtype.itemsize)


def _rounded(coded: specs.Quantized, factor: np.ndarray, dtype: Any) -> np.ndarray:
    """A factor as its codes give it back."""
    alone = dataclasses.replace(coded, inner=specs.Dense())
    found = approximation(alone, factor, None)
    return np.asarray(alone.fit(jnp.asarray(factor, dtype)).to_dense()) if found is None else found


def _right_side(array: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Squared singular values of the weighted matrix, descending, and its right vectors.

    By the eigenvalues of its smaller Gram matrix in double precision: the sums of the small ones,
    which are the errors, are exact to the square root of that, relative to the largest.
    """
    wide = array.astype(double_dtype(array))
    if isinstance(weights, Covariance):
        roots, vectors = np.linalg.eigh(np.asarray(weights.values, wide.dtype))
        wide = np.sqrt(np.maximum(roots, 0))[:, None] * (vectors.conj().T @ wide)
    elif weights is not None:
        wide = np.sqrt(np.asarray(by_row(weights).values, np.float64))[:, None] * wide
    m, n = wide.shape
    tall = m >= n
    squares, vectors = np.linalg.eigh(wide.conj().T @ wide if tall else wide @ wide.conj().T)
    squares, vectors = np.maximum(squares[::-1], 0), vectors[:, ::-1]
    if not tall:
        sizes = np.sqrt(np.where(squares > 0, squares, 1))
        vectors = (wide.conj().T @ vectors) / sizes
    return squares, vectors


def _even(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors with the sizes of their columns and rows shared evenly, as fits have them."""
    sizes = np.linalg.norm(left, axis=0)
    root = np.sqrt(np.where(sizes > 0, sizes, 1)).astype(left.dtype)
    return left / root, root[:, None] * right
