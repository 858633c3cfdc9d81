"""Toeplitz matrices of any shape, multiplied by fast Fourier transforms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import decompose, kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._circulant import entry_weights
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec
from structlin.matrices._weights import Fisher, Rows

__all__ = ["Toeplitz", "ToeplitzSpec"]


class Toeplitz(Matrix):
    """A matrix with one number along each diagonal.

    A product embeds the matrix in a circulant one whose size has small prime factors.

    Formula: ``W[i, j] = d_(j - i + m - 1)``
    Storage: ``m + n - 1`` numbers
    FLOPs: about ``15 l log2 l`` for a transform length ``l`` of at least ``m + n - 1``
    Rank: up to ``min(m, n)``
    Suits: filters and autocorrelations, and square or rectangular maps between sequences
    Reference: Sindhwani et al. (2015), "Structured transforms for small-footprint deep learning",
        with displacement rank of this one structure alone.

    Attributes:
        diagonals: From the lower left to the upper right corner, ``(m + n - 1,)``.
        rows: ``m``.
    """

    diagonals: jax.Array
    rows: int = static()

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.diagonals.shape[-1] + 1 - self.rows

    @property
    def _length(self) -> int:
        """Of the transforms: what wraps around must miss the part that is kept."""
        return kernels.fast_length(self.diagonals.shape[-1])

    def rmatmul(self, x: jax.Array) -> jax.Array:
        m, n = self.shape
        diagonals = jnp.asarray(self.diagonals)
        whole = kernels.circular_convolve(jnp.asarray(x), diagonals, self._length)
        return whole[..., m - 1 : m - 1 + n]

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.transpose().rmatmul(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        m, n = self.shape
        first = m - 1 - rows[..., None]
        return kernels.gather_rows(self.diagonals, first + jnp.arange(n, dtype=first.dtype))

    def transpose(self) -> "Toeplitz":
        return Toeplitz(jnp.flip(self.diagonals, -1), self.shape[1])

    def to_dense(self) -> jax.Array:
        return self._take(jnp.arange(self.rows))

    def flops(self) -> int:
        return kernels.convolve_flops(self._length)

    def diagonal(self) -> jax.Array:
        return jnp.broadcast_to(self.diagonals[self.rows - 1], (min(self.shape),))

    def trace(self) -> jax.Array:
        return self.diagonals[self.rows - 1] * jnp.asarray(min(self.shape), self.dtype)

    def frobenius_norm(self) -> jax.Array:
        wide = self.diagonals.astype(wide_dtype(self.dtype))
        root = np.sqrt(_lengths(*self.shape))
        norm = jnp.linalg.norm(wide * jnp.asarray(root, wide.dtype))
        return norm.astype(jnp.finfo(self.dtype).dtype)

    def _plus(self, other: Matrix) -> "Toeplitz | None":
        if not isinstance(other, Toeplitz):
            return None
        return Toeplitz(self.diagonals + other.diagonals, self.rows)

    def _times_scalar(self, scalar: jax.Array) -> "Toeplitz":
        return Toeplitz(self.diagonals * scalar, self.rows)


class ToeplitzSpec(Spec):
    """Asks for a Toeplitz matrix; the fit is the mean of each diagonal."""

    weighs = (Rows, Fisher)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Toeplitz:
        m, n = shape
        diagonals = jax.random.normal(key, (m + n - 1,), dtype)
        return Toeplitz(diagonals * jnp.asarray(m**-0.5, dtype), m)

    def _fit(self, dense: jax.Array, weights: Any) -> Toeplitz:
        found = decompose.nearest_toeplitz(dense, entry_weights(weights))
        return Toeplitz(found, dense.shape[0])


def _lengths(m: int, n: int) -> np.ndarray:
    """How many entries each diagonal has."""
    k = np.arange(1, m + n)
    return np.minimum(np.minimum(k, k[::-1]), min(m, n))
