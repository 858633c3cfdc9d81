"""The transpose of a structure that has no transposed form of its own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._registry import HOOKS

__all__ = ["Transposed"]


class Transposed(Matrix):
    """``inner.T``: the same numbers, applied from the other side.

    Formula: ``W[i, j] = V[j, i]``
    Storage: that of ``V``
    FLOPs: those of ``V``
    Rank: that of ``V``
    Suits: structures whose transpose is of another kind

    Attributes:
        inner: ``(n, m)``.
    """

    needs = dict.fromkeys(HOOKS, "an inner matrix that can")

    inner: Matrix

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.inner.shape
        return n, m

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul_transposed(x)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul(x)

    def _matmul(self, v: jax.Array) -> jax.Array:
        return self.inner._matmul_transposed(v)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return self.inner._matmul(v)

    def transpose(self) -> Matrix:
        return self.inner

    def to_dense(self) -> jax.Array:
        return self.inner.to_dense().T

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array] | None:
        found = self.inner._entries()
        return None if found is None else (found[1], found[0], found[2])

    def flops(self) -> int:
        return self.inner.flops()

    def diagonal(self) -> jax.Array:
        return self.inner.diagonal()

    def trace(self) -> jax.Array:
        return self.inner.trace()

    def frobenius_norm(self) -> jax.Array:
        return self.inner.frobenius_norm()

    def _times(self, other: Matrix) -> Matrix | None:
        return _flipped(isinstance(other, Transposed) and other.inner._times(self.inner))

    def _plus(self, other: Matrix) -> Matrix | None:
        return _flipped(isinstance(other, Transposed) and self.inner._plus(other.inner))

    def _times_scalar(self, scalar: jax.Array) -> Matrix | None:
        return _flipped(self.inner._times_scalar(scalar))

    def _solve(self, b: jax.Array) -> jax.Array:
        # The solution is linear in b: its adjoint solves with the transpose.
        like = jnp.zeros(b.shape, jnp.result_type(b, self.dtype))
        _, pull = jax.vjp(self.inner._solve, like)
        return pull(b.astype(like.dtype))[0]

    def _inverse(self) -> Matrix:
        return self.inner._inverse().T

    def _pinv(self, rtol: float) -> Matrix:
        return self.inner._pinv(rtol).T

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return self.inner._slogdet()

    def _cholesky(self) -> Matrix:
        return self.inner._cholesky().conj()  # the transpose of a Hermitian matrix

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        values, vectors = self.inner._eigh()
        return values, vectors.conj()

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        u, s, vh = self.inner._svd()
        return vh.T, s, u.T

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> Matrix:
        return self.inner._function(f, name).T

    def _exp(self) -> Matrix:
        return self.inner._exp().T

    def _sqrt(self) -> Matrix:
        return self.inner._sqrt().T

    def _power(self, exponent: int | float) -> Matrix:
        return self.inner._power(exponent).T


def _flipped(merged: "Matrix | bool | None") -> Matrix | None:
    return merged.T if isinstance(merged, Matrix) else None
