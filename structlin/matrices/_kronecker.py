"""Kronecker products ``W = F_1 (x) F_2 (x) ... (x) F_k``.

A row of ``prod(m_i)`` numbers is folded into a ``k``-way array and each factor is applied along its
own axis, in the order that takes the fewest operations. Inverses, spectra and roots are those of
the factors.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._dense import Dense
from structlin.matrices._kronecker_shapes import Shapes
from structlin.matrices._permuted import Permuted
from structlin.matrices._product import Product
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._registry import SQUARE_ALONE, unsupported

__all__ = [
    "Factor",
    "Kronecker",
    "apply_factor",
    "apply_part",
    "as_factor",
    "as_matrix",
    "costs",
    "outer_rows",
]

Factor = jax.Array | Matrix
"""A dense factor, or one of any structure."""


class Kronecker(Matrix):
    """The Kronecker product of one or more factors, dense ones or of any structure.

    Formula: ``W = F_1 (x) F_2 (x) ... (x) F_k``;
        ``W[i_1 i_2, j_1 j_2] = F_1[i_1, j_1] F_2[i_2, j_2]`` of two
    Storage: ``m_i n_i`` numbers a factor, or those of its structure
    FLOPs: of two ``2 n_1 m_2 (m_1 + n_2)`` or ``2 m_1 n_2 (m_2 + n_1)``, the smaller
    Rank: the product of the factors' ranks
    Suits: layers at high compression; grids, where each axis has an operator of its own
    Reference: Van Loan (2000), "The ubiquitous Kronecker product".

    Attributes:
        factors: The ``i``-th is ``(m_i, n_i)``; the product is ``(prod m_i, prod n_i)``.
    """

    needs = dict.fromkeys(SQUARE_ALONE, "square factors")

    factors: tuple[Factor, ...]

    @classmethod
    def of(cls, *parts: Factor) -> "Kronecker":
        """The product of ``parts``; Kronecker products among them are taken apart."""
        apart = (p.factors if isinstance(p, Kronecker) else (p,) for p in parts)
        return Kronecker(tuple(as_factor(f) for factors in apart for f in factors))

    @property
    def _shapes(self) -> Shapes:
        return tuple((f.shape[-2], f.shape[-1]) for f in self.factors)

    @property
    def _square(self) -> bool:
        return all(m == n for m, n in self._shapes)

    @property
    def shape(self) -> tuple[int, int]:
        return math.prod(m for m, _ in self._shapes), math.prod(n for _, n in self._shapes)

    @property
    def dtype(self) -> np.dtype:
        return jnp.result_type(*(f.dtype for f in self.factors))

    def rmatmul(self, x: jax.Array) -> jax.Array:
        arrays = [f for f in self.factors if not isinstance(f, Matrix)]
        if len(arrays) == len(self.factors):
            return kernels.kronecker_rmatmul(x, arrays)
        batch, folded = x.shape[:-1], x.reshape(*x.shape[:-1], *(m for m, _ in self._shapes))
        for i in kernels.kronecker_order(self._shapes, costs(self.factors)):
            folded = apply_factor(folded, self.factors[i], len(batch) + i)
        return folded.reshape(*batch, self.shape[1])

    def _program(self) -> kernels.native.Program | None:
        arrays = [f for f in self.factors if not isinstance(f, Matrix)]
        whole = len(arrays) == len(self.factors)
        return kernels.native.kronecker_program(arrays) if whole else None

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.transpose().rmatmul(x)

    def _matmul(self, v: jax.Array) -> jax.Array:
        arrays = [f for f in self.factors if not isinstance(f, Matrix)]
        if len(arrays) < len(self.factors):
            return super()._matmul(v)
        return kernels.kronecker_columns(v, arrays)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return self.transpose()._matmul(v)

    def _take(self, rows: jax.Array) -> jax.Array:
        index = jnp.unravel_index(rows, [m for m, _ in self._shapes])
        picked = (as_matrix(f)._take(i) for f, i in zip(self.factors, index, strict=True))
        return functools.reduce(outer_rows, picked)

    def transpose(self) -> "Kronecker":
        return Kronecker(tuple(f.T for f in self.factors))

    def conj(self) -> "Kronecker":
        return self._each(lambda f: f.conj())

    def astype(self, dtype: Any) -> "Kronecker":
        return Kronecker(tuple(f.astype(dtype) for f in self.factors))

    def to_dense(self) -> jax.Array:
        return functools.reduce(jnp.kron, (as_matrix(f).to_dense() for f in self.factors))

    def flops(self) -> int:
        return kernels.kronecker_flops(self._shapes, costs(self.factors))

    def diagonal(self) -> jax.Array:
        if not self._square:
            return super().diagonal()
        return functools.reduce(jnp.kron, (as_matrix(f).diagonal() for f in self.factors))

    def trace(self) -> jax.Array:
        if not self._square:
            return super().trace()
        wide = wide_dtype(self.dtype)
        traces = [as_matrix(f).astype(wide).trace() for f in self.factors]
        return jnp.prod(jnp.stack(traces)).astype(self.dtype)

    def frobenius_norm(self) -> jax.Array:
        wide = wide_dtype(self.dtype)
        norms = [as_matrix(f).astype(wide).frobenius_norm() for f in self.factors]
        return jnp.prod(jnp.stack(norms)).astype(jnp.finfo(self.dtype).dtype)

    def gram(self) -> "Kronecker":
        return self._each(lambda f: f.gram())

    def _each(self, function: Callable[[Matrix], Matrix]) -> "Kronecker":
        """The Kronecker product of what ``function`` makes of each factor."""
        return Kronecker.of(*(function(as_matrix(f)) for f in self.factors))

    def _times(self, other: Matrix) -> Matrix | None:
        """Factor by factor where the inner sizes match and the products are no larger."""
        if not isinstance(other, Kronecker) or len(self.factors) != len(other.factors):
            return None
        pairs = list(zip(self.factors, other.factors, strict=True))
        if any(f.shape[-1] != g.shape[-2] for f, g in pairs):
            return None
        dense = [(f, g) for f, g in pairs if not isinstance(f, Matrix) or not isinstance(g, Matrix)]
        before = sum(math.prod(f.shape[-2:]) + math.prod(g.shape[-2:]) for f, g in dense)
        made = [(f.shape[-2], g.shape[-1]) for f, g in pairs]
        if sum(f.shape[-2] * g.shape[-1] for f, g in dense) > before:
            return None
        if (
            len(dense) == len(pairs)
            and kernels.kronecker_flops(made) > self.flops() + other.flops()
        ):
            return None
        return Kronecker.of(*(Product.of(as_matrix(f), as_matrix(g)) for f, g in pairs))

    def _times_scalar(self, scalar: jax.Array) -> "Kronecker | None":
        """Into the smallest dense factor."""
        arrays = [i for i, f in enumerate(self.factors) if not isinstance(f, Matrix)]
        if not arrays:
            return None
        place = min(arrays, key=lambda i: math.prod(self._shapes[i]))
        scaled = self.factors[place].astype(scalar.dtype) * scalar
        return Kronecker((*self.factors[:place], scaled, *self.factors[place + 1 :]))

    def _need_square(self, operation: str) -> None:
        if not self._square:
            raise unsupported(self, operation, "square factors")

    def _solve(self, b: jax.Array) -> jax.Array:
        self._need_square("solve")
        folded = b.reshape(*(m for m, _ in self._shapes), *b.shape[1:])
        for i, f in enumerate(self.factors):
            folded = apply_part(folded, as_matrix(f)._solve, i)
        return folded.reshape(b.shape)

    def _inverse(self) -> "Kronecker":
        self._need_square("inverse")
        return self._each(lambda f: f._inverse())

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        self._need_square("slogdet")
        size, sign, logdet = self.shape[0], jnp.ones((), self.dtype), 0.0
        for f in self.factors:
            power = size // f.shape[-1]
            s, d = as_matrix(f)._slogdet()
            sign, logdet = sign * s**power, logdet + power * d
        return sign, jnp.asarray(logdet)

    def _cholesky(self) -> "Kronecker":
        self._need_square("cholesky")
        return self._turned()._each(lambda f: f._cholesky())

    def _sqrt(self) -> "Kronecker":
        self._need_square("sqrt")
        return self._turned()._each(lambda f: f.sqrt())

    def _power(self, exponent: int | float) -> Matrix:
        if not self._square:
            return super()._power(exponent)
        whole = self if isinstance(exponent, int) else self._turned()
        return whole._each(lambda f: f.power(exponent))

    def _turned(self) -> "Kronecker":
        """Of a positive semi-definite matrix the same one with factors that are so themselves.

        The factors of such a matrix are so but for numbers of size one, which multiply to one.
        """

        def turn(f: Factor) -> Factor:
            if isinstance(f, Matrix):
                return f  # taken to be positive semi-definite
            trace = jnp.trace(f)
            size = jnp.abs(trace)
            return f * jnp.where(size > 0, trace.conj() / jnp.where(size > 0, size, 1), 1)

        return Kronecker(tuple(turn(f) for f in self.factors))

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        self._need_square("eigh")
        sign, pairs = jnp.ones((), self.dtype), []
        for f in self.factors:
            turned, turn = (f, None) if isinstance(f, Matrix) else self._hermitian(f)
            sign = sign if turn is None else sign * turn
            pairs.append(as_matrix(turned).eigh())
        values = functools.reduce(jnp.kron, (v for v, _ in pairs)) * sign.real
        order = jnp.argsort(values)
        return values[order], Permuted(Kronecker.of(*(v for _, v in pairs)), None, order)

    def _hermitian(self, f: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A Hermitian array and the number of size one that it was multiplied by to give ``f``."""
        squares = jnp.sum(f * f.T)  # of c H: c^2 ||H||^2
        size = jnp.abs(squares)
        turn = jnp.where(size > 0, squares / jnp.where(size > 0, size, 1), 1)
        if not jnp.iscomplexobj(f) and not isinstance(turn, Tracer) and turn < 0:
            raise unsupported(self, "eigh", "factors that are Hermitian themselves")
        turn = jnp.sqrt(turn)
        return f * turn.conj(), turn

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        lefts, values, rights = zip(*(as_matrix(f)._svd() for f in self.factors), strict=True)
        s = functools.reduce(jnp.kron, values)
        order = jnp.argsort(-s)
        u, vh = Kronecker.of(*lefts), Kronecker.of(*rights)
        return Permuted(u, None, order), s[order], Permuted(vh, order, None)


def as_matrix(factor: Factor) -> Matrix:
    """``factor`` with the operations of a matrix."""
    return factor if isinstance(factor, Matrix) else Dense(jnp.asarray(factor))


def as_factor(part: Factor) -> Factor:
    """``part`` as a field holds it: a dense matrix as its array."""
    return part.values if isinstance(part, Dense) else part


def costs(factors: Sequence[Factor]) -> list[int]:
    """Operations of one row's product with each factor."""
    return [f.flops() if isinstance(f, Matrix) else 2 * f.shape[-2] * f.shape[-1] for f in factors]


def apply_factor(x: jax.Array, factor: Factor, axis: int) -> jax.Array:
    """``x`` with the rows along ``axis`` multiplied by ``factor``."""
    moved = jnp.moveaxis(x, axis, -1)
    y = factor.rmatmul(moved) if isinstance(factor, Matrix) else moved @ factor
    return jnp.moveaxis(y, -1, axis)


def apply_part(x: jax.Array, function: Callable[[jax.Array], jax.Array], axis: int) -> jax.Array:
    """``function`` of the columns ``(m_i, k)`` along ``axis`` of ``x``."""
    moved = jnp.moveaxis(x, axis, 0)
    y = function(moved.reshape(moved.shape[0], -1))
    return jnp.moveaxis(y.reshape(y.shape[0], *moved.shape[1:]), 0, axis)


def outer_rows(a: jax.Array, b: jax.Array) -> jax.Array:
    """The Kronecker product of each row of ``a`` with that of ``b``."""
    product = a[..., :, None] * b[..., None, :]
    return product.reshape(*a.shape[:-1], a.shape[-1] * b.shape[-1])
