"""Few levels for many numbers: tables of levels and the codes that name them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.decompose._dtypes import wide_dtype

__all__ = ["CODEBOOKS", "codes_of", "levels", "lloyd", "table_of"]

CODEBOOKS = ("uniform", "symmetric", "kmeans", "quantile")
"""The kinds of tables."""


def table_of(values: jax.Array, bits: int, codebook: str = "uniform") -> jax.Array:
    """A table of ``2**bits`` levels for real numbers.

    Args:
        values: The numbers, of any shape, at least one.
        bits: The bits of a code, 1 to 8.
        codebook: ``"uniform"``: evenly spaced from the least to the largest; the table is
            ``(lowest, step)``. ``"symmetric"``: evenly spaced around an exact zero; ``(step,)``.
            ``"kmeans"``: the levels of least squared error that Lloyd's iteration finds, never
            worse than ``"uniform"``; all levels, ascending. ``"quantile"``: the means of equally
            many numbers each; all levels, ascending.

    Returns:
        The table in the dtype of ``values``.
    """
    wide = values.reshape(-1).astype(wide_dtype(values.dtype))
    if codebook == "uniform":
        low, high = wide.min(), wide.max()
        table = jnp.stack([low, (high - low) / (2**bits - 1)])
    elif codebook == "symmetric":
        table = jnp.max(jnp.abs(wide))[None] / _half(bits)
    else:
        xp = jnp if isinstance(wide, Tracer) else np
        ordered = xp.sort(wide if xp is jnp else np.asarray(wide, np.float64))
        starts = [_quantile_means(ordered, bits, xp)]
        if codebook == "kmeans":
            even = xp.linspace(ordered[0], ordered[-1], 2**bits)
            found = [lloyd(ordered, start, xp=xp) for start in (even, *starts)]
            better = found[1][1] < found[0][1]
            starts = [xp.where(better, found[1][0], found[0][0])]
        table = jnp.asarray(starts[0], wide.dtype)
    return table.astype(values.dtype)


def codes_of(values: jax.Array, table: jax.Array, bits: int, codebook: str) -> jax.Array:
    """The code of the level of ``table`` that is nearest to each number, bytes of its shape."""
    wide = values.astype(wide_dtype(values.dtype))
    table = table.astype(wide.dtype)
    if codebook in ("kmeans", "quantile"):
        return jnp.searchsorted((table[1:] + table[:-1]) / 2, wide).astype(jnp.uint8)
    step = table[-1]
    low = table[0] if codebook == "uniform" else -_half(bits) * step
    most = 2**bits - 1 if codebook == "uniform" else 2 * _half(bits)
    found = jnp.round((wide - low) / jnp.where(step > 0, step, 1))
    return jnp.clip(found, 0, most).astype(jnp.uint8)


def levels(codes: jax.Array, table: jax.Array, bits: int, codebook: str) -> jax.Array:
    """The numbers that ``codes`` name, in the dtype of ``table``."""
    if codebook in ("kmeans", "quantile"):
        return table.at[codes.astype(jnp.int32)].get(mode="promise_in_bounds")
    wide = table.astype(wide_dtype(table.dtype))
    count = codes.astype(wide.dtype)
    if codebook == "uniform":
        return (wide[0] + wide[1] * count).astype(table.dtype)
    return (wide[0] * (count - jnp.asarray(_half(bits), wide.dtype))).astype(table.dtype)


def lloyd(ordered: Any, start: Any, rounds: int = 50, xp: Any = np) -> tuple[Any, Any]:
    """Levels of least squared error near ``start``, by Lloyd's iteration on sorted numbers.

    Args:
        ordered: The numbers, ascending, ``(count,)``.
        start: The first levels, ascending, ``(k,)``.
        rounds: How many rounds at most.
        xp: ``numpy`` for known numbers, where the rounds end when nothing moves, or ``jax.numpy``.

    Returns:
        The levels, ascending, ``(k,)``, and their squared error, ``()``, which no round makes
        larger. A level that is nearest to no number stays where it is.

    Reference:
        Lloyd (1982), "Least squares quantization in PCM"; in one dimension the sums of each cell
        are differences of running sums.
    """
    sums = xp.concatenate([xp.zeros(1, ordered.dtype), xp.cumsum(ordered)])

    def cells(now: Any) -> tuple[Any, Any]:
        inner = xp.searchsorted(ordered, (now[1:] + now[:-1]) / 2, side="right")
        ends = xp.concatenate(
            [xp.zeros(1, inner.dtype), inner, xp.full(1, ordered.size, inner.dtype)]
        )
        count = (ends[1:] - ends[:-1]).astype(ordered.dtype)
        return count, sums[ends[1:]] - sums[ends[:-1]]

    def step(now: Any) -> Any:
        count, total = cells(now)
        return xp.sort(xp.where(count > 0, total / xp.maximum(count, 1), now))

    if xp is jnp:
        now = jax.lax.fori_loop(0, rounds, lambda _, now: step(now), start)
    else:
        now, before = start, None
        for _ in range(rounds):
            before, now = now, step(now)
            if np.array_equal(before, now):
                break
    count, total = cells(now)
    return now, xp.sum(ordered * ordered) - 2 * xp.sum(now * total) + xp.sum(now * now * count)


def _quantile_means(ordered: Any, bits: int, xp: Any) -> Any:
    """The mean of each of ``2**bits`` equal parts; of a part without numbers, the next number."""
    ends = np.round(np.linspace(0, ordered.size, 2**bits + 1)).astype(int)
    sums = xp.concatenate([xp.zeros(1, ordered.dtype), xp.cumsum(ordered)])
    count = ends[1:] - ends[:-1]
    near = ordered[np.minimum(ends[:-1], ordered.size - 1)]
    mean = (sums[ends[1:]] - sums[ends[:-1]]) / xp.asarray(np.maximum(count, 1), ordered.dtype)
    return xp.where(count > 0, mean, near)


def _half(bits: int) -> int:
    return max(2 ** (bits - 1) - 1, 1)
