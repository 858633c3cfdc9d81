"""Diagonal matrices."""

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix

__all__ = ["Diagonal"]


class Diagonal(Matrix):
    """A square matrix that is zero off its diagonal.

    Attributes:
        values: The diagonal, ``(n,)``.
    """

    values: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        n = self.values.shape[-1]
        return n, n

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return x * self.values

    def transpose(self) -> "Diagonal":
        return self

    def to_dense(self) -> jax.Array:
        return jnp.diag(self.values)

    def flops(self) -> int:
        return self.shape[0]

    def solve(self, b: jax.Array) -> jax.Array:
        return b / (self.values if b.ndim == 1 else self.values[:, None])

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        return jnp.prod(jnp.sign(self.values)), jnp.sum(jnp.log(jnp.abs(self.values)))
