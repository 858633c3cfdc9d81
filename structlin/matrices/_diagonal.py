"""Diagonal matrices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._permuted import Permuted
from structlin.matrices._reductions import wide_dtype

__all__ = ["Diagonal"]


class Diagonal(Matrix):
    """A square matrix that is zero off its diagonal.

    Formula: ``W[i, i] = d_i``
    Storage: ``n`` numbers
    FLOPs: ``n``
    Rank: the number of entries that are not zero
    Suits: scales, and the part of a matrix that low rank misses

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

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return x * self.values

    def transpose(self) -> "Diagonal":
        return self

    def to_dense(self) -> jax.Array:
        return jnp.diag(self.values)

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        places = jnp.arange(self.shape[0])
        return places, places, self.values

    def flops(self) -> int:
        return self.shape[0]

    def diagonal(self) -> jax.Array:
        return self.values

    def frobenius_norm(self) -> jax.Array:
        wide = self.values.astype(wide_dtype(self.dtype))
        return jnp.linalg.norm(wide).astype(jnp.finfo(self.dtype).dtype)

    def gram(self) -> "Diagonal":
        return Diagonal(self.values.conj() * self.values)

    def _times(self, other: Matrix) -> Matrix | None:
        return Diagonal(self.values * other.values) if isinstance(other, Diagonal) else None

    def _plus(self, other: Matrix) -> Matrix | None:
        return Diagonal(self.values + other.values) if isinstance(other, Diagonal) else None

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return Diagonal(self.values * scalar)

    def _solve(self, b: jax.Array) -> jax.Array:
        return b / (self.values if b.ndim == 1 else self.values[:, None])

    def _inverse(self) -> "Diagonal":
        return Diagonal(1 / self.values)

    def _pinv(self, rtol: float) -> "Diagonal":
        size = jnp.abs(self.values)
        large = size > rtol * jnp.max(size)
        return Diagonal(jnp.where(large, 1 / jnp.where(large, self.values, 1), 0))

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return jnp.prod(jnp.sign(self.values)), jnp.sum(jnp.log(jnp.abs(self.values)))

    def _cholesky(self) -> "Diagonal":
        return Diagonal(jnp.sqrt(self.values))

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        order = jnp.argsort(self.values.real)
        one = Diagonal(jnp.ones_like(self.values))
        return self.values.real[order], Permuted(one, None, order)

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        size = jnp.abs(self.values)
        order = jnp.argsort(-size)
        phase = jnp.where(size > 0, self.values / jnp.where(size > 0, size, 1), 1)
        one = Diagonal(jnp.ones_like(self.values))
        return Permuted(Diagonal(phase), None, order), size[order], Permuted(one, order, None)

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> "Diagonal":
        del name  # every diagonal matrix has functions, Hermitian or not
        return Diagonal(f(self.values))

    def _power(self, exponent: int | float) -> "Diagonal":
        return Diagonal(self.values**exponent)
