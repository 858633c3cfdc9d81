"""The nearest circulant and Toeplitz matrices: means over diagonals."""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["nearest_circulant", "nearest_toeplitz"]


def nearest_toeplitz(dense: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The diagonals of the Toeplitz matrix nearest to ``dense`` in the Frobenius norm.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        weights: Non-negative importance of each entry, ``(m, n)`` or ``(m, 1)``; ``None`` weighs
            all alike. A diagonal whose weights are all zero becomes zero.

    Returns:
        The mean of each diagonal from the lower left to the upper right corner, ``(m + n - 1,)``.
    """
    total, share = _sums(dense, weights)
    return _ratio(total, share, dense.dtype)


def nearest_circulant(dense: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The first row of the circulant matrix nearest to ``dense`` in the Frobenius norm.

    Args:
        dense: The matrix to fit, ``(n, n)``.
        weights: As of `nearest_toeplitz`.

    Returns:
        The mean of each wrapped diagonal ``j - i = k mod n``, ``(n,)``.

    Reference:
        Chan (1988), "An optimal circulant preconditioner for Toeplitz systems", for any matrix.
    """
    n = dense.shape[0]
    total, share = (_wrapped(sums, n) for sums in _sums(dense, weights))
    return _ratio(total, share, dense.dtype)


def _sums(dense: jax.Array, weights: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """The weighted sums over the diagonals and those of the weights."""
    wide = dense.astype(jnp.float32) if jnp.finfo(dense.dtype).bits < 32 else dense
    real = jnp.finfo(wide.dtype).dtype
    shares = jnp.ones((), real) if weights is None else weights.astype(real)
    shares = jnp.broadcast_to(shares, dense.shape)
    return _diagonal_sums(wide * shares.astype(wide.dtype)), _diagonal_sums(shares)


def _diagonal_sums(table: jax.Array) -> jax.Array:
    """The sums along ``j - i``: rows one longer than the result slide by one place each."""
    m, n = table.shape
    padded = jnp.pad(table[::-1], ((0, 0), (0, m)))
    return jnp.sum(padded.reshape(-1)[: m * (m + n - 1)].reshape(m, m + n - 1), axis=0)


def _wrapped(sums: jax.Array, n: int) -> jax.Array:
    return sums[n - 1 :].at[1:].add(sums[: n - 1])


def _ratio(total: jax.Array, share: jax.Array, dtype: Any) -> jax.Array:
    some = share > 0
    inverse = jnp.where(some, 1 / jnp.where(some, share, 1), 0)
    return (total * inverse.astype(total.dtype)).astype(dtype)
