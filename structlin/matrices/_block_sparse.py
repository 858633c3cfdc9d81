"""Packed sparse matrices of whole blocks: for each block column a few blocks."""

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._sparse import norm_of
from structlin.matrices._transposed import Transposed

__all__ = ["BlockSparse"]


class BlockSparse(Matrix):
    """A sparse matrix of blocks, equally many in each block column, stored slot by slot.

    One index serves a whole block: with blocks of one row and 16 columns the product at batch 1
    takes a third to a fifth of the time that single entries take.

    Formula: ``W[r p + i, c q + j] = sum over the slots s of block column q that name block row p of
        v[s, q, i, j]``
    Storage: ``k n r`` numbers and ``k n / c`` indices, for ``k`` blocks a block column
    FLOPs: ``2 k n r``
    Rank: up to ``min(m, n)``
    Suits: co-matrices that must be fast; it keeps smaller weights than single entries would

    Attributes:
        values: ``(k, n / c, r, c)``: the blocks; a padded slot holds zeros.
        indices: The block row of each, ``(k, n / c)``, unsigned and below ``rows / r``; no block
            column names one twice.
        rows: ``m``.
    """

    label = "sparse"

    values: jax.Array
    indices: jax.Array
    rows: int = static()

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.values.shape[-3] * self.values.shape[-1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return kernels.block_rmatmul(x, self.values, self.indices)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return kernels.block_matmul(x, self.values, self.indices, self.rows)

    def _program(self) -> kernels.native.Program:
        return kernels.native.block_program(self.values, self.indices, self.rows)

    def _take(self, rows: jax.Array) -> jax.Array:
        r = self.values.shape[-2]
        block, inside = rows // r, rows % r
        wanted = block[..., None].astype(jnp.uint32)

        def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]):
            value, index = slot  # (n / c, r, c), (n / c,)
            found = kernels.gather_rows(jnp.moveaxis(value, 1, 0), inside)
            return y + jnp.where((index.astype(jnp.uint32) == wanted)[..., None], found, 0), None

        _, b, _, c = self.values.shape
        start = kernels.zeros_beside(wanted, jnp.zeros((b, c), self.dtype))
        y = jax.lax.scan(add_slot, start, (self.values, self.indices))[0]
        return y.reshape(*rows.shape, b * c)

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        _, b, r, c = self.values.shape
        empty = jnp.zeros((self.rows // r, b, r, c), self.values.dtype)
        blocks = empty.at[self.indices.astype(jnp.int32), jnp.arange(b)].add(self.values)
        return blocks.swapaxes(1, 2).reshape(self.shape)

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        k, b, r, c = self.values.shape
        rows = self.indices.astype(jnp.int32)[..., None, None] * r + jnp.arange(r)[:, None]
        columns = (jnp.arange(b) * c)[:, None, None] + jnp.arange(c)
        whole = (k, b, r, c)
        return jnp.broadcast_to(rows, whole), jnp.broadcast_to(columns, whole), self.values

    def flops(self) -> int:
        k, b, r, c = self.values.shape[-4:]
        return 2 * k * b * r * c

    def diagonal(self) -> jax.Array:
        r, c = self.values.shape[-2:]
        i = jnp.arange(min(self.shape), dtype=jnp.int32)
        own = self.indices[:, i // c].astype(jnp.int32) == i // r
        return jnp.sum(jnp.where(own, self.values[:, i // c, i % r, i % c], 0), axis=0)

    def frobenius_norm(self) -> jax.Array:
        return norm_of(self.values)

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return BlockSparse(self.values * scalar, self.indices, self.rows)
