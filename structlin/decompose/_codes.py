"""Codes that name levels, and the levels that they name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin.decompose._dtypes import wide_dtype

__all__ = ["CODEBOOKS", "codes_of", "half", "in_runs", "levels"]

CODEBOOKS = ("uniform", "symmetric", "kmeans", "quantile")
"""The kinds of tables."""


def codes_of(
    values: jax.Array, table: jax.Array, bits: int, codebook: str, run: int | None = None
) -> jax.Array:
    """The code of the level that is nearest to each number, bytes of the shape of ``values``.

    Args:
        values: Real numbers.
        table: Their levels, as `structlin.decompose.table_of` makes them with the same arguments.
        bits: The bits of a code.
        codebook: The kind of the table.
        run: How many neighbouring numbers share one row of ``table``; all share one if not given.
    """
    if run is not None:
        return _each_run(lambda v, t: codes_of(v, t, bits, codebook), values, run, table)
    wide = values.astype(wide_dtype(values.dtype))
    table = table.astype(wide.dtype)
    if codebook in ("kmeans", "quantile"):
        return jnp.searchsorted((table[1:] + table[:-1]) / 2, wide).astype(jnp.uint8)
    step = table[-1]
    low = table[0] if codebook == "uniform" else -half(bits) * step
    most = 2**bits - 1 if codebook == "uniform" else 2 * half(bits)
    found = jnp.round((wide - low) / jnp.where(step > 0, step, 1))
    return jnp.clip(found, 0, most).astype(jnp.uint8)


def levels(
    codes: jax.Array, table: jax.Array, bits: int, codebook: str, run: int | None = None
) -> jax.Array:
    """The numbers that ``codes`` name, in the dtype of ``table``; arguments as in `codes_of`."""
    if run is not None:
        return _each_run(lambda c, t: levels(c, t, bits, codebook), codes, run, table)
    if codebook in ("kmeans", "quantile"):
        return table.at[codes.astype(jnp.int32)].get(mode="promise_in_bounds")
    wide = table.astype(wide_dtype(table.dtype))
    count = codes.astype(wide.dtype)
    if codebook == "uniform":
        return (wide[0] + wide[1] * count).astype(table.dtype)
    return (wide[0] * (count - jnp.asarray(half(bits), wide.dtype))).astype(table.dtype)


def in_runs(values: jax.Array, run: int) -> jax.Array:
    """Neighbouring numbers together, ``(runs, run)``; the last run repeats the last number."""
    flat = values.reshape(-1)
    return jnp.pad(flat, (0, -flat.size % run), mode="edge").reshape(-1, run)


def half(bits: int) -> int:
    """The number of symmetric levels on each side of zero."""
    return max(2 ** (bits - 1) - 1, 1)


def _each_run(
    function: Callable[..., Any], values: jax.Array, run: int, table: jax.Array
) -> jax.Array:
    found = jax.vmap(function)(in_runs(values, run), table)
    return found.reshape(-1)[: values.size].reshape(values.shape)
