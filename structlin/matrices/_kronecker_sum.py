"""Kronecker sums ``W = A (x) I + I (x) B``: an operator on each axis of a grid, added."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin.matrices._base import Matrix
from structlin.matrices._factorizations import hermitian_or_nan
from structlin.matrices._kronecker import (
    Factor,
    Kronecker,
    apply_factor,
    as_factor,
    as_matrix,
    costs,
    outer_rows,
)
from structlin.matrices._permuted import Permuted
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._sum import Sum

__all__ = ["KroneckerSum", "kronecker_sum"]


class KroneckerSum(Matrix):
    """The Kronecker sum of square terms, dense ones or of any structure.

    Formula: ``W = A_1 (x) I (x) ... + I (x) A_2 (x) ... + ...``; ``exp(W)`` is the Kronecker
        product of the terms' exponentials
    Storage: ``n_i^2`` numbers a term, or those of its structure
    FLOPs: ``2 n sum n_i``, and ``n`` to add each term
    Rank: any; its eigenvalues are all sums of one eigenvalue of each term
    Suits: Laplacians of grids, and whatever acts on each axis alone
    Reference: Horn and Johnson (1991), "Topics in matrix analysis", sec. 4.4.

    Attributes:
        terms: The ``i``-th is ``(n_i, n_i)``; the sum is ``(prod n_i, prod n_i)``.
    """

    needs = dict.fromkeys(("solve", "inverse", "slogdet"), "Hermitian terms")

    terms: tuple[Factor, ...]

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(t.shape[-1] for t in self.terms)

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self._sizes)
        return n, n

    @property
    def dtype(self) -> np.dtype:
        return jnp.result_type(*(t.dtype for t in self.terms))

    def rmatmul(self, x: jax.Array) -> jax.Array:
        batch, folded = x.shape[:-1], x.reshape(*x.shape[:-1], *self._sizes)
        parts = (apply_factor(folded, t, len(batch) + i) for i, t in enumerate(self.terms))
        return functools.reduce(jnp.add, parts).reshape(*batch, self.shape[1])

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.transpose().rmatmul(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        index = jnp.unravel_index(rows, self._sizes)
        units = [
            jax.nn.one_hot(i, n, dtype=self.dtype) for i, n in zip(index, self._sizes, strict=True)
        ]

        def part(place: int) -> jax.Array:
            own = as_matrix(self.terms[place])._take(index[place])
            parts = [own if i == place else unit for i, unit in enumerate(units)]
            return functools.reduce(outer_rows, parts)

        total = functools.reduce(jnp.add, map(part, range(len(self.terms))))
        return total.reshape(*rows.shape, self.shape[1])

    def transpose(self) -> "KroneckerSum":
        return KroneckerSum(tuple(t.T for t in self.terms))

    def conj(self) -> "KroneckerSum":
        return self._each(lambda t: t.conj())

    def astype(self, dtype: Any) -> "KroneckerSum":
        return KroneckerSum(tuple(t.astype(dtype) for t in self.terms))

    def to_dense(self) -> jax.Array:
        ones = [jnp.eye(n, dtype=self.dtype) for n in self._sizes]
        parts = (
            functools.reduce(jnp.kron, (*ones[:i], as_matrix(t).to_dense(), *ones[i + 1 :]))
            for i, t in enumerate(self.terms)
        )
        return functools.reduce(jnp.add, parts)

    def flops(self) -> int:
        n = self.shape[0]
        products = sum(n // s * c for s, c in zip(self._sizes, costs(self.terms), strict=True))
        return products + (len(self.terms) - 1) * n

    def diagonal(self) -> jax.Array:
        return _sums([as_matrix(t).diagonal() for t in self.terms])

    def trace(self) -> jax.Array:
        n, wide = self.shape[0], wide_dtype(self.dtype)
        traces = [as_matrix(t).astype(wide).trace() * (n // t.shape[-1]) for t in self.terms]
        return jnp.sum(jnp.stack(traces)).astype(self.dtype)

    def frobenius_norm(self) -> jax.Array:
        """The terms without their mean diagonals are orthogonal to each other and to ``I``."""
        n, wide = self.shape[0], wide_dtype(self.dtype)
        squares, means = [], []
        for term in (as_matrix(t).astype(wide) for t in self.terms):
            size = term.shape[0]
            mean = term.trace() / size
            rest = term.frobenius_norm() ** 2 - size * jnp.abs(mean) ** 2
            squares.append(n // size * jnp.maximum(rest, 0))
            means.append(mean)
        total = jnp.abs(jnp.sum(jnp.stack(means))) ** 2
        norm = jnp.sqrt(jnp.sum(jnp.stack(squares)) + n * total)
        return norm.astype(jnp.finfo(self.dtype).dtype)

    def _each(self, function: Callable[[Matrix], Matrix]) -> "KroneckerSum":
        return KroneckerSum(tuple(as_factor(function(as_matrix(t))) for t in self.terms))

    def _plus(self, other: Matrix) -> "KroneckerSum | None":
        if not isinstance(other, KroneckerSum) or self._sizes != other._sizes:
            return None
        pairs = zip(self.terms, other.terms, strict=True)
        return KroneckerSum(tuple(as_factor(Sum.of(as_matrix(a), as_matrix(b))) for a, b in pairs))

    def _times_scalar(self, scalar: jax.Array) -> "KroneckerSum | None":
        if any(isinstance(t, Matrix) for t in self.terms):
            return None
        return KroneckerSum(tuple(t.astype(scalar.dtype) * scalar for t in self.terms))

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        pairs = [as_matrix(t)._eigh() for t in self.terms]
        values = _sums([v for v, _ in pairs])
        order = jnp.argsort(values)
        return values[order], Permuted(Kronecker.of(*(v for _, v in pairs)), None, order)

    def _exp(self) -> Kronecker:
        return Kronecker.of(*(as_matrix(t)._exp() for t in self.terms))

    def _solve(self, b: jax.Array) -> jax.Array:
        return self._function(jnp.reciprocal, "solve").matmul(b)

    def _inverse(self) -> Matrix:
        return self._function(jnp.reciprocal, "inverse")

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        values = hermitian_or_nan(self, self.eigh()[0])
        sign = jnp.prod(jnp.sign(values)).astype(self.dtype)
        return sign, jnp.sum(jnp.log(jnp.abs(values)))


def kronecker_sum(*terms: Any) -> KroneckerSum:
    """The Kronecker sum ``A (x) I + I (x) B`` of two or more square arrays or matrices.

    Args:
        terms: Each ``(n_i, n_i)``; Kronecker sums among them are taken apart.

    Raises:
        ValueError: A term is not square, or there is none.
    """
    apart = [t.terms if isinstance(t, KroneckerSum) else (t,) for t in terms]
    flat = [t if isinstance(t, Matrix) else jnp.asarray(t) for part in apart for t in part]
    for t in flat:
        if t.ndim != 2 or t.shape[0] != t.shape[1]:
            raise ValueError(f"A Kronecker sum is of square matrices; given shape {t.shape}.")
    if not flat:
        raise ValueError("A Kronecker sum needs at least one square matrix.")
    return KroneckerSum(tuple(as_factor(t) for t in flat))


def _sums(parts: list[jax.Array]) -> jax.Array:
    """All sums of one entry of each part, in the order of the grid."""
    return functools.reduce(lambda a, b: (a[:, None] + b).reshape(-1), parts)
