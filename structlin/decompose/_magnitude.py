"""Masks that keep what is largest: entries, blocks, rows, or N of every M neighbours."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from structlin.decompose._dtypes import wide_dtype

__all__ = [
    "block_magnitude_mask",
    "largest_mask",
    "magnitude_mask",
    "nm_mask",
    "row_magnitude_mask",
]


def largest_mask(score: jax.Array, count: int | jax.Array, axis: int = 0) -> jax.Array:
    """Marks the ``count`` largest of ``score`` along ``axis``, exactly that many.

    Args:
        score: Real numbers of any sign. NaN is the smallest of all.
        count: How many; may be traced.
        axis: The axis within which entries compete.

    Returns:
        A boolean array of the shape of ``score``. Ties fall to the lower index.
    """
    if isinstance(score, Tracer) or isinstance(count, Tracer):
        return _keep_largest(score, jnp.asarray(count, jnp.int32), axis, jnp)
    # On values that are known a partial sort is enough.
    return jnp.asarray(_keep_largest(np.asarray(_wide(score)), int(count), axis, np))


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
    share = density * size.shape[axis]
    if isinstance(share, Tracer):
        return largest_mask(size, jnp.round(share).astype(jnp.int32), axis)
    return largest_mask(size, int(np.round(share)), axis)


def block_magnitude_mask(
    dense: jax.Array,
    density: float | jax.Array,
    block: tuple[int, int],
    axis: int | None = 0,
) -> jax.Array:
    """Marks whole blocks: the ``density`` of them whose squares sum to most.

    Args:
        dense: The matrix to prune, ``(m, n)``.
        density: The share of blocks kept, in 0 to 1; may be traced.
        block: ``(r, c)``: rows and columns of a block; they divide ``m`` and ``n``.
        axis: ``0`` lets the blocks of each block column compete; ``None`` all of them.

    Returns:
        A boolean array of the shape of ``dense``.

    Raises:
        ValueError: ``block`` does not divide the shape.
    """
    (m, n), (r, c) = dense.shape, block
    if m % r or n % c:
        raise ValueError(f"Blocks of {r} x {c} do not tile a {m} x {n} matrix.")
    if (r, c) == (1, 1):
        return magnitude_mask(dense, density, axis)
    parts = _wide(jnp.abs(dense)).reshape(m // r, r, n // c, c)
    kept = magnitude_mask(jnp.sum(parts * parts, axis=(1, 3)), density, axis)
    return jnp.repeat(jnp.repeat(kept, r, axis=0), c, axis=1)


def row_magnitude_mask(dense: jax.Array, density: float | jax.Array) -> jax.Array:
    """Marks whole rows: the ``density`` of them of largest norm, as a boolean ``(m, n)``."""
    return block_magnitude_mask(dense, density, (1, dense.shape[1]))


def nm_mask(dense: jax.Array, kept: int, group: int) -> jax.Array:
    """Marks the ``kept`` largest of every ``group`` neighbouring rows of each column.

    Args:
        dense: The matrix to prune, ``(m, n)``.
        kept: ``N``, at most ``M``.
        group: ``M``, which divides ``m``.

    Returns:
        A boolean array of the shape of ``dense``. Ties fall to the lower row.

    Raises:
        ValueError: ``group`` does not divide the rows.

    Reference:
        Mishra et al. (2021), "Accelerating sparse deep neural networks", sec. 3: 2 of 4 along the
        axis over which the product sums, which is the input axis of ``x @ W``.
    """
    m, n = dense.shape
    if m % group:
        raise ValueError(f"Groups of {group} rows do not divide the {m} rows of a matrix.")
    size = jnp.abs(dense).reshape(m // group, group, n)
    rank = jnp.zeros(size.shape, jnp.int32)
    number = jnp.arange(group)[:, None]
    for i in range(group):  # how many neighbours come before each
        other = size[:, i : i + 1]
        before = (other > size) | ((other == size) & (i < number))
        rank = rank + before.astype(jnp.int32)
    return (rank < kept).reshape(m, n)


def _keep_largest(size: Any, count: Any, axis: int, xp: Any) -> Any:
    """The ``count`` largest along ``axis``; of equal ones those of lower index."""
    size = xp.where(xp.isnan(size), -xp.inf, size)
    if xp is np:
        place = np.clip(size.shape[axis] - count, 0, size.shape[axis] - 1)
        ordered = np.partition(size, place, axis=axis)
        least = np.take(ordered, np.reshape(place, (1,)), axis=axis)
    else:
        size = _ordered(size)
        least = _nth_largest(size, count, axis)
    above = size > least
    level = size == least
    if xp is np and level.sum() == least.size:  # no ties
        return (above | level) & (count > 0)
    missing = count - above.sum(axis=axis, keepdims=True, dtype=np.int32)
    return above | (level & (xp.cumsum(level, axis=axis, dtype=np.int32) <= missing))


def _ordered(size: jax.Array) -> jax.Array:
    """Integers in the order of floating point numbers that are not NaN."""
    wide = _wide(size)
    bits = lax.bitcast_convert_type(wide, f"int{jnp.finfo(wide.dtype).bits}")
    limits = jnp.iinfo(bits.dtype)
    bits = jnp.where(bits == limits.min, 0, bits)  # -0
    return jnp.where(bits < 0, bits ^ limits.max, bits)


def _nth_largest(keys: jax.Array, n: jax.Array, axis: int) -> jax.Array:
    """The ``n``-th largest integer along ``axis``, which stays as 1.

    Found bit by bit, the highest first: a bit is set if ``n`` integers are as large with it. These
    passes of counting take less time than a sort.
    """
    bits, whole = jnp.iinfo(keys.dtype).bits, keys.dtype.type

    def step(i: jax.Array, found: jax.Array) -> jax.Array:
        higher = found + jnp.left_shift(whole(1), (bits - 1 - i).astype(whole))
        enough = (keys >= higher).sum(axis=axis, keepdims=True, dtype=jnp.int32) >= n
        return jnp.where(enough, higher, found)

    # Made of the integers, for a loop's carry lies where they do.
    lowest = jnp.full_like(keys.max(axis=axis, keepdims=True), jnp.iinfo(whole).min)
    return lax.fori_loop(0, bits, step, lowest)


def _wide(size: jax.Array) -> jax.Array:
    """``size`` in single precision or wider."""
    return size.astype(wide_dtype(size.dtype))
