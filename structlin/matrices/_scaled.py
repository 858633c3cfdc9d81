"""A matrix times a number."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.matrices._base import Matrix
from structlin.matrices._permuted import Permuted
from structlin.matrices._registry import HOOKS, unsupported

__all__ = ["Scaled"]


class Scaled(Matrix):
    """``scalar * inner``.

    Eigenvalues need a real scalar and ``cholesky`` a positive one, unless ``inner`` takes the
    scalar into its own fields; under ``jit``, where values cannot be looked at, they are taken to
    be so.

    Formula: ``W[i, j] = c V[i, j]``
    Storage: that of ``V``, and one number
    FLOPs: those of ``V``, and ``n``
    Rank: that of ``V``
    Suits: multiples of structures that have no place for a scalar

    Attributes:
        inner: ``(m, n)``.
        scalar: A number, ``()``.
    """

    needs = dict.fromkeys(HOOKS, "an inner matrix that can")

    inner: Matrix
    scalar: jax.Array

    @classmethod
    def of(cls, matrix: Matrix, scalar: Any) -> "Scaled":
        """``scalar * matrix`` in the dtype that the two promote to; scalings of scalings merge."""
        factor = jnp.asarray(scalar, jnp.result_type(matrix.dtype, scalar))
        if isinstance(matrix, Scaled):
            return Scaled(matrix.inner, matrix.scalar * factor)
        return Scaled(matrix, factor)

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul(x) * self.scalar

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul_transposed(x) * self.scalar

    def _matmul(self, v: jax.Array) -> jax.Array:
        return self.inner._matmul(v) * self.scalar

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return self.inner._matmul_transposed(v) * self.scalar

    def _take(self, rows: jax.Array) -> jax.Array:
        return self.inner._take(rows) * self.scalar

    def transpose(self) -> "Scaled":
        return Scaled(self.inner.T, self.scalar)

    def to_dense(self) -> jax.Array:
        return self.inner.to_dense() * self.scalar

    def flops(self) -> int:
        return self.inner.flops() + self.shape[1]

    def diagonal(self) -> jax.Array:
        return self.inner.diagonal() * self.scalar

    def trace(self) -> jax.Array:
        return self.inner.trace() * self.scalar

    def frobenius_norm(self) -> jax.Array:
        return self.inner.frobenius_norm() * jnp.abs(self.scalar)

    def gram(self) -> Matrix:
        return self.inner.gram() * (self.scalar.conj() * self.scalar)

    def _times_scalar(self, scalar: jax.Array) -> "Scaled":
        return Scaled(self.inner, self.scalar * scalar)

    def _solve(self, b: jax.Array) -> jax.Array:
        return self.inner._solve(b) / self.scalar

    def _inverse(self) -> Matrix:
        return self.inner._inverse() * (1 / self.scalar)

    def _pinv(self, rtol: float) -> Matrix:
        none = self.scalar == 0
        return self.inner._pinv(rtol) * jnp.where(none, 0, 1 / jnp.where(none, 1, self.scalar))

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        sign, logdet = self.inner._slogdet()
        n = self.shape[0]
        return sign * jnp.sign(self.scalar) ** n, logdet + n * jnp.log(jnp.abs(self.scalar))

    def _cholesky(self) -> Matrix:
        merged = self.inner._times_scalar(self.scalar)
        if merged is not None:
            return merged._cholesky()
        scalar = self._real("cholesky")
        if not isinstance(scalar, Tracer) and not scalar > 0:
            raise unsupported(self, "cholesky", f"a positive scalar, and this one is {scalar}")
        return self.inner._cholesky() * jnp.sqrt(scalar)

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        scalar = self._real("eigh")
        values, vectors = self.inner._eigh()
        upward = jnp.arange(values.shape[0], dtype=jnp.int32)
        order = jnp.where(scalar < 0, upward[::-1], upward)
        return (values * scalar)[order], Permuted(vectors, None, order)._merged()

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        u, s, vh = self.inner._svd()
        size = jnp.abs(self.scalar)
        phase = jnp.where(size > 0, self.scalar / jnp.where(size > 0, size, 1), 1)
        return u * phase, s * size, vh

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> Matrix:
        inner = self.inner.astype(self.dtype)
        return inner._function(lambda values: f(values * self.scalar), name)

    def _exp(self) -> Matrix:
        merged = self.inner._times_scalar(self.scalar)
        return super()._exp() if merged is None else merged._exp()

    def _power(self, exponent: int | float) -> Matrix:
        if isinstance(exponent, int):
            return self.inner._power(exponent) * self.scalar**exponent
        return super()._power(exponent)

    def _real(self, operation: str) -> jax.Array:
        """The scalar as a real number, which a multiple of a Hermitian matrix needs to be one."""
        if not jnp.iscomplexobj(self.scalar):
            return self.scalar
        if not isinstance(self.scalar, Tracer) and self.scalar.imag != 0:
            raise unsupported(self, operation, f"a real scalar, and this one is {self.scalar}")
        return self.scalar.real
