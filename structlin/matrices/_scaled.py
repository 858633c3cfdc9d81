"""A matrix times a number."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix

__all__ = ["Scaled"]


class Scaled(Matrix):
    """``scalar * inner``.

    Attributes:
        inner: ``(m, n)``.
        scalar: A number, ``()``.
    """

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

    def _take(self, rows: jax.Array) -> jax.Array:
        return self.inner._take(rows) * self.scalar

    def transpose(self) -> "Scaled":
        return Scaled(self.inner.T, self.scalar)

    def to_dense(self) -> jax.Array:
        return self.inner.to_dense() * self.scalar

    def flops(self) -> int:
        return self.inner.flops() + self.shape[1]

    def _solve(self, b: jax.Array) -> jax.Array:
        return self.inner._solve(b) / self.scalar

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        sign, logdet = self.inner._slogdet()
        n = self.shape[0]
        return sign * jnp.sign(self.scalar) ** n, logdet + n * jnp.log(jnp.abs(self.scalar))
