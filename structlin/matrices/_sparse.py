"""Packed sparse matrices: for each column a few values and the rows they stand in."""

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._transposed import Transposed

__all__ = ["Sparse", "index_dtype"]


def index_dtype(rows: int) -> np.dtype:
    """The smallest unsigned integer type that numbers ``rows`` rows."""
    return np.dtype(np.min_scalar_type(max(rows - 1, 0)))


class Sparse(Matrix):
    """A sparse matrix with equally many slots in each column, stored slot by slot.

    Attributes:
        values: ``(k, n)``: the entries; a padded slot holds zero.
        indices: The row of each entry, ``(k, n)``, unsigned and below ``rows``; a padded slot names
            a row that its column does not use.
        rows: ``m``.
    """

    values: jax.Array
    indices: jax.Array
    rows: int = static()

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.values.shape[-1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return kernels.slot_rmatmul(x, self.values, self.indices)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return kernels.slot_matmul(x, self.values, self.indices, self.rows)

    def _take(self, rows: jax.Array) -> jax.Array:
        wanted = jnp.asarray(rows)[..., None].astype(jnp.uint32)

        def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]):
            value, index = slot
            return y + jnp.where(index.astype(jnp.uint32) == wanted, value, 0), None

        start = jnp.zeros((*wanted.shape[:-1], self.shape[1]), self.dtype)
        return jax.lax.scan(add_slot, start, (self.values, self.indices))[0]

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        columns = jnp.arange(self.shape[1])
        empty = jnp.zeros(self.shape, self.values.dtype)
        return empty.at[self.indices.astype(jnp.int32), columns].add(self.values)

    def flops(self) -> int:
        return 2 * self.values.shape[-2] * self.values.shape[-1]
