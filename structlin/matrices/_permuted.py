"""A matrix with its rows and columns in another order."""

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices._base import Matrix

__all__ = ["Permuted"]


class Permuted(Matrix):
    """``inner[rows][:, columns]``, each of the two a permutation.

    Formula: ``W[i, j] = V[p_i, q_j]``
    Storage: that of ``V``, and an integer a row and a column
    Rank: that of ``V``
    Suits: structures that want related rows or columns side by side

    Attributes:
        inner: ``(m, n)``.
        rows: Which row of ``inner`` stands where, ``(m,)`` integers; ``None`` leaves them in place.
        columns: Which column of ``inner`` stands where, ``(n,)`` integers; ``None`` likewise.
    """

    inner: Matrix
    rows: jax.Array | None = None
    columns: jax.Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return _order(self.inner.rmatmul(_order_back(x, self.rows)), self.columns)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return _order(self.inner.rmatmul_transposed(_order_back(x, self.columns)), self.rows)

    def _take(self, rows: jax.Array) -> jax.Array:
        picked = rows if self.rows is None else kernels.gather_rows(self.rows, rows)
        return _order(self.inner._take(picked), self.columns)

    def transpose(self) -> "Permuted":
        return Permuted(self.inner.T, self.columns, self.rows)

    def to_dense(self) -> jax.Array:
        dense = self.inner.to_dense()
        dense = dense if self.rows is None else dense[self.rows]
        return _order(dense, self.columns)

    def flops(self) -> int:
        return self.inner.flops()


def _order(x: jax.Array, index: jax.Array | None) -> jax.Array:
    return x if index is None else jnp.take(x, index, axis=-1, unique_indices=True)


def _order_back(x: jax.Array, index: jax.Array | None) -> jax.Array:
    return x if index is None else jnp.take(x, jnp.argsort(index), axis=-1, unique_indices=True)
