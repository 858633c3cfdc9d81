"""Masks that keep the entries of largest magnitude."""

import jax
import jax.numpy as jnp

__all__ = ["magnitude_mask"]


def magnitude_mask(dense: jax.Array, density: float | jax.Array, axis: int | None = 0) -> jax.Array:
    """Marks the ``density`` largest entries of ``dense`` by magnitude, exactly that many.

    Args:
        dense: The matrix to prune, ``(m, n)``.
        density: The share of entries kept, in 0 to 1; may be traced.
        axis: The axis within which entries compete. ``0`` keeps equally many in each column, which
            a packed sparse matrix stores without padding; ``None`` lets all entries compete (Zhu
            and Gupta, 2017).

    Returns:
        A boolean array of the shape of ``dense``; ``round(density * count)`` entries of each
        competition are true. Ties fall to the lower index.
    """
    size = jnp.abs(dense)
    if axis is None:
        return magnitude_mask(size.reshape(-1, 1), density).reshape(dense.shape)
    order = jnp.argsort(-size, axis=axis, stable=True)
    rank = jnp.argsort(order, axis=axis)
    return rank < jnp.round(density * dense.shape[axis]).astype(rank.dtype)
