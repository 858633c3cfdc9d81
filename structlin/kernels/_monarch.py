"""Two block-diagonal products with a regrouping between them, as batched matrix products."""

import jax
import jax.numpy as jnp

__all__ = ["monarch_flops", "monarch_rmatmul"]


def monarch_rmatmul(blocks: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    """``z[j, l] = sum_kp (sum_i x[k, i] left[k, i, j p]) right[j, k p, l]``.

    Args:
        blocks: ``x``, ``(..., K, I)``.
        left: ``(K, I, J r)``.
        right: ``(J, K r, L)``.

    Returns:
        ``(..., J, L)``.
    """
    k, j = left.shape[-3], right.shape[-3]
    rank = left.shape[-1] // j
    middle = jnp.einsum("...ki,kio->...ko", blocks, left)
    batch = middle.shape[:-2]
    middle = jnp.swapaxes(middle.reshape(*batch, k, j, rank), -3, -2)
    return jnp.einsum("...jm,jml->...jl", middle.reshape(*batch, j, k * rank), right)


def monarch_flops(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """Operations of one row, from the shapes of the two factors."""
    (a, b, c), (d, e, f) = left[-3:], right[-3:]
    return 2 * (a * b * c + d * e * f)
