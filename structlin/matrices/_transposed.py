"""The transpose of a structure that has no transposed form of its own."""

import jax

from structlin.matrices._base import Matrix

__all__ = ["Transposed"]


class Transposed(Matrix):
    """``inner.T``: the same numbers, applied from the other side.

    Attributes:
        inner: ``(n, m)``.
    """

    inner: Matrix

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.inner.shape
        return n, m

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul_transposed(x)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul(x)

    def transpose(self) -> Matrix:
        return self.inner

    def to_dense(self) -> jax.Array:
        return self.inner.to_dense().T

    def flops(self) -> int:
        return self.inner.flops()

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return self.inner._slogdet()
