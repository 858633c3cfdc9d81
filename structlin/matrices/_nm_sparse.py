"""Packed sparse matrices that keep N of every M neighbouring rows of each column."""

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._sparse import norm_of
from structlin.matrices._transposed import Transposed

__all__ = ["NMSparse"]


class NMSparse(Matrix):
    """A sparse matrix with ``N`` entries in every ``M`` neighbouring rows of each column.

    Where an entry stands within its group takes few bits: 2 for 2:4, packed four to a byte.

    Formula: ``W[M g + i, j] = sum over the slots s with code[g, s, j] = i of v[g, s, j]``
    Storage: ``m n N / M`` numbers and as many codes of ``ceil(log2 M)`` bits
    FLOPs: ``(2 + N) m n``: columns are formed a part at a time
    Rank: up to ``min(m, n)``
    Suits: matrices of which half or a quarter stays, and hardware that knows the pattern
    Reference: Mishra et al. (2021), "Accelerating sparse deep neural networks"

    Attributes:
        values: ``(m / M, N, n)``; a padded slot holds zero.
        codes: The row of each entry within its group, ``(m / M, N, bytes)``: streams of bits along
            the columns, as `structlin.kernels.pack_bits` makes them. No group of a column names a
            row twice.
        group: ``M``.
    """

    label = "sparse"

    values: jax.Array
    codes: jax.Array
    group: int = static()

    @property
    def _bits(self) -> int:
        return (self.group - 1).bit_length()

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[-3] * self.group, self.values.shape[-1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return kernels.group_rmatmul(x, self.values, self.codes, self.group)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return kernels.group_matmul(x, self.values, self.codes, self.group)

    def _take(self, rows: jax.Array) -> jax.Array:
        group, inside = rows // self.group, (rows % self.group)[..., None]
        y = jnp.zeros((*rows.shape, self.shape[1]), self.dtype)
        for s in range(self.values.shape[-2]):
            value = kernels.gather_rows(self.values[:, s], group)
            stream = kernels.gather_rows(self.codes[:, s], group)
            code = kernels.unpack_bits(stream, self._bits, self.shape[1])
            y = y + jnp.where(code.astype(inside.dtype) == inside, value, 0)
        return y

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        groups, _, n = self.values.shape
        code = kernels.unpack_bits(self.codes, self._bits, n).astype(jnp.int32)
        empty = jnp.zeros((groups, self.group, n), self.values.dtype)
        g, j = jnp.arange(groups)[:, None, None], jnp.arange(n)
        return empty.at[g, code, j].add(self.values).reshape(self.shape)

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        groups, _, n = self.values.shape
        code = kernels.unpack_bits(self.codes, self._bits, n).astype(jnp.int32)
        rows = code + jnp.arange(groups)[:, None, None] * self.group
        return rows, jnp.broadcast_to(jnp.arange(n), rows.shape), self.values

    def flops(self) -> int:
        """Those of the dense product, and one for each slot to form an entry of a group."""
        m, n = self.shape
        return (2 + self.values.shape[-2]) * m * n

    def diagonal(self) -> jax.Array:
        i = jnp.arange(min(self.shape), dtype=jnp.int32)
        total = jnp.zeros(i.shape, self.dtype)
        for s in range(self.values.shape[-2]):
            streams, start = self.codes[:, s].reshape(-1), i // self.group * self.codes.shape[-1]
            code = kernels.unpack_bits_at(streams, self._bits, i, start)
            own = code.astype(jnp.int32) == i % self.group
            total = total + jnp.where(own, self.values[i // self.group, s, i], 0)
        return total

    def frobenius_norm(self) -> jax.Array:
        return norm_of(self.values)

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return NMSparse(self.values * scalar, self.codes, self.group)
