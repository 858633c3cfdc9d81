"""Packed sparse matrices: for each column a few values and the rows they stand in."""

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._transposed import Transposed

__all__ = ["Sparse", "index_dtype", "norm_of"]


def index_dtype(rows: int) -> np.dtype:
    """The smallest unsigned integer type that numbers ``rows`` rows."""
    return np.dtype(np.min_scalar_type(max(rows - 1, 0)))


def norm_of(values: jax.Array) -> jax.Array:
    """The Frobenius norm of what holds ``values`` and zeros, ``()``, in their real dtype."""
    wide = values.astype(wide_dtype(values.dtype))
    return jnp.linalg.norm(wide.reshape(-1)).astype(jnp.finfo(values.dtype).dtype)


class Sparse(Matrix):
    """A sparse matrix with equally many slots in each column, stored slot by slot.

    Formula: ``W[i, j] = sum over the slots s of column j that name row i of v[s, j]``
    Storage: ``k n`` numbers and as many indices of 1, 2 or 4 bytes, for ``k`` slots a column
    FLOPs: ``2 k n``
    Rank: up to ``min(m, n)``
    Suits: the few weights that matter; from about nine tenths of zeros it is also faster than dense

    Attributes:
        values: ``(k, n)``: the entries; a padded slot holds zero.
        indices: The row of each entry, ``(k, n)``, unsigned and below ``rows``; no column names a
            row twice, so a padded slot names a row that its column does not use.
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

    def _matmul(self, v: jax.Array) -> jax.Array:
        return kernels.slot_columns(v, self.values, self.indices, self.rows)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return kernels.slot_columns_transposed(v, self.values, self.indices)

    def _program(self) -> kernels.native.Program:
        return kernels.native.slot_program(self.values, self.indices, self.rows)

    def _take(self, rows: jax.Array) -> jax.Array:
        wanted = jnp.asarray(rows)[..., None].astype(jnp.uint32)

        def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]):
            value, index = slot
            return y + jnp.where(index.astype(jnp.uint32) == wanted, value, 0), None

        start = kernels.zeros_beside(wanted, self.values[0])
        return jax.lax.scan(add_slot, start, (self.values, self.indices))[0]

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        columns = jnp.arange(self.shape[1])
        empty = jnp.zeros(self.shape, self.values.dtype)
        return empty.at[self.indices.astype(jnp.int32), columns].add(self.values)

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        columns = jnp.broadcast_to(jnp.arange(self.shape[1]), self.indices.shape)
        return self.indices, columns, self.values

    def flops(self) -> int:
        return 2 * self.values.shape[-2] * self.values.shape[-1]

    def diagonal(self) -> jax.Array:
        count = min(self.shape)
        own = self.indices[:, :count].astype(jnp.int32) == jnp.arange(count, dtype=jnp.int32)
        return jnp.sum(jnp.where(own, self.values[:, :count], 0), axis=0)

    def frobenius_norm(self) -> jax.Array:
        return norm_of(self.values)

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return Sparse(self.values * scalar, self.indices, self.rows)
