"""Few levels for many numbers: the tables of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.decompose._clip import clipped
from structlin.decompose._codes import half, in_runs
from structlin.decompose._dtypes import wide_dtype

__all__ = ["lloyd", "table_of"]


def table_of(
    values: jax.Array,
    bits: int,
    codebook: str = "uniform",
    clip: str | None = None,
    run: int | None = None,
) -> jax.Array:
    """A table of ``2**bits`` levels for real numbers.

    Args:
        values: The numbers, of any shape, at least one.
        bits: The bits of a code, 1 to 8.
        codebook: ``"uniform"``: evenly spaced from the least to the largest; the table is
            ``(lowest, step)``. ``"symmetric"``: evenly spaced around an exact zero; ``(step,)``.
            ``"kmeans"``: the levels of least squared error that Lloyd's iteration finds, never
            worse than ``"uniform"``; all levels, ascending. ``"quantile"``: the means of equally
            many numbers each; all levels, ascending.
        clip: Where evenly spaced levels end if not at the least and the largest number:
            ``"error"`` or ``"size"``, as `structlin.decompose._clip.clipped` says.
        run: How many neighbouring numbers, row by row, have a table of their own; the last of them
            may be fewer.

    Returns:
        The table in the dtype of ``values``; with ``run``, one in each row.
    """
    if run is not None:
        return jax.vmap(lambda v: table_of(v, bits, codebook, clip))(in_runs(values, run))
    wide = values.reshape(-1).astype(wide_dtype(values.dtype))
    if codebook == "uniform":
        low, high = wide.min(), wide.max()
        table = jnp.stack([low, (high - low) / (2**bits - 1)])
    elif codebook == "symmetric":
        table = jnp.max(jnp.abs(wide))[None] / half(bits)
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
    if clip is not None:
        table = clipped(wide, table, bits, codebook, clip)
    return table.astype(values.dtype)


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
