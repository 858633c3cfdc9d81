"""A dense matrix, as a member of the algebra.

Parameter trees hold a bare array instead, so that dense checkpoints stay what they are.
"""

from typing import Any

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec

__all__ = ["Dense", "DenseSpec"]


class Dense(Matrix):
    """An array that is a matrix.

    Formula: ``W[i, j]``
    Storage: ``m n`` numbers
    FLOPs: ``2 m n``
    Rank: any
    Suits: small matrices, and parts of others

    Attributes:
        values: ``(m, n)``.
    """

    values: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.values.shape[-2:]
        return m, n

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return x @ self.values

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.values @ x if x.ndim == 1 else x @ self.values.T

    def _matmul(self, v: jax.Array) -> jax.Array:
        return self.values @ v

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return self.values.T @ v

    def _program(self) -> kernels.native.Program:
        return kernels.native.dense_program(self.values)

    def _take(self, rows: jax.Array) -> jax.Array:
        return kernels.gather_rows(self.values, rows)

    def transpose(self) -> "Dense":
        return Dense(self.values.T)

    def to_dense(self) -> jax.Array:
        return self.values

    def flops(self) -> int:
        m, n = self.shape
        return 2 * m * n

    def diagonal(self) -> jax.Array:
        return jnp.diagonal(self.values)

    def frobenius_norm(self) -> jax.Array:
        wide = self.values.astype(wide_dtype(self.dtype))
        return jnp.linalg.norm(wide).astype(jnp.finfo(self.dtype).dtype)

    def gram(self) -> "Dense":
        return Dense(self.values.conj().T @ self.values)

    def _times(self, other: Matrix) -> Matrix | None:
        return Dense(self.values @ other.values) if isinstance(other, Dense) else None

    def _plus(self, other: Matrix) -> Matrix | None:
        return Dense(self.values + other.values) if isinstance(other, Dense) else None

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return Dense(self.values * scalar)

    def _solve(self, b: jax.Array) -> jax.Array:
        return jnp.linalg.solve(self.values, b)

    def _inverse(self) -> "Dense":
        return Dense(jnp.linalg.inv(self.values))

    def _pinv(self, rtol: float) -> "Dense":
        return Dense(jnp.linalg.pinv(self.values, rtol=rtol))

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return tuple(jnp.linalg.slogdet(self.values))

    def _cholesky(self) -> "Dense":
        return Dense(jnp.linalg.cholesky(self.values))

    def _eigh(self) -> tuple[jax.Array, "Dense"]:
        values, vectors = jnp.linalg.eigh(self.values)
        return values, Dense(vectors)

    def _svd(self) -> tuple["Dense", jax.Array, "Dense"]:
        u, s, vh = jnp.linalg.svd(self.values, full_matrices=False)
        return Dense(u), s, Dense(vh)

    def _exp(self) -> "Dense":
        return Dense(jax.scipy.linalg.expm(self.values))

    def _power(self, exponent: int | float) -> Matrix:
        if isinstance(exponent, int):
            return Dense(jnp.linalg.matrix_power(self.values, exponent))
        return super()._power(exponent)


class DenseSpec(Spec):
    """Asks for a dense matrix: what a recipe says to leave a weight as it is."""

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Dense:
        return Dense(jax.nn.initializers.lecun_normal()(key, shape, dtype))

    def _fit(self, dense: jax.Array, weights: Any) -> Dense:
        del weights  # nothing is lost, so nothing needs weighing
        return Dense(dense)
