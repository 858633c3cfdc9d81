"""A dense matrix, as a member of the algebra.

Parameter trees hold a bare array instead, so that dense checkpoints stay what they are.
"""

from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._spec import Spec, check_fit

__all__ = ["Dense", "DenseSpec"]


class Dense(Matrix):
    """An array that is a matrix.

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

    def take(self, rows: jax.Array) -> jax.Array:
        return jnp.asarray(self.values)[rows]

    def transpose(self) -> "Dense":
        return Dense(self.values.T)

    def to_dense(self) -> jax.Array:
        return self.values

    def flops(self) -> int:
        m, n = self.shape
        return 2 * m * n

    def solve(self, b: jax.Array) -> jax.Array:
        return jnp.linalg.solve(self.values, b)

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        return tuple(jnp.linalg.slogdet(self.values))


class DenseSpec(Spec):
    """Asks for a dense matrix: what a recipe says to leave a weight as it is."""

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Dense:
        return Dense(jax.nn.initializers.lecun_normal()(key, shape, dtype))

    def fit(self, dense: jax.Array, weights: jax.Array | None = None) -> Dense:
        del weights  # nothing is lost, so nothing needs weighing
        return Dense(check_fit(self, dense))
