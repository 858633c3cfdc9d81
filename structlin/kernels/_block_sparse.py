"""Products with packed sparse matrices that have a pattern: whole blocks, or N in every M rows."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin.kernels._bits import unpack_bits
from structlin.kernels._gather import in_one_launch, zeros_beside

__all__ = ["block_matmul", "block_rmatmul", "group_matmul", "group_rmatmul"]

AT_ONCE, AT_ONCE_OF_ONE = 8, 2
"""All slots are gathered at once while that takes at most so many times the numbers of x and y, of
several rows or of one: measured, in whole layers too. Beyond that a scan takes less time."""

CHUNK_ROWS = 64
"""The rows of a grouped matrix that are formed at a time: they stay in the fast cache."""


def block_rmatmul(x: jax.Array, values: jax.Array, indices: jax.Array) -> jax.Array:
    """``y[..., b, j] = sum_s x[..., indices[s, b], :] @ values[s, b, :, j]``, flat.

    Args:
        x: Rows, ``(..., m)``.
        values: ``(k, n / c, r, c)``: the ``k`` blocks of each block column.
        indices: The block row of each, ``(k, n / c)``, integers below ``m / r``.

    Returns:
        ``(..., n)``.
    """
    _, b, r, c = values.shape
    x = jnp.asarray(x)
    parts = x.reshape(*x.shape[:-1], x.shape[-1] // r, r)

    def product(value: jax.Array, index: jax.Array) -> jax.Array:
        picked = parts.at[..., index.astype(jnp.int32), :].get(mode="promise_in_bounds")
        return jnp.einsum("...br,...brc->...bc", picked, value)

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return y + product(*slot), None

    if _small(values, x.shape) or in_one_launch(x, values.size):
        picked = parts.at[..., indices.astype(jnp.int32), :].get(mode="promise_in_bounds")
        y = jnp.einsum("...sbr,sbrc->...bc", picked, values)
    else:
        start = zeros_beside(x, jnp.zeros((b, c), jnp.result_type(x, values)))
        y = _scan(add_slot, start, (values, indices))
    return y.reshape(*x.shape[:-1], b * c)


def block_matmul(x: jax.Array, values: jax.Array, indices: jax.Array, rows: int) -> jax.Array:
    """The product of rows ``x`` ``(..., n)`` with the transpose, ``(..., rows)``.

    The arguments are those of `block_rmatmul`; ``rows`` is ``m``.
    """
    _, b, r, c = values.shape
    parts = jnp.asarray(x).reshape(*x.shape[:-1], b, c)

    def add(y: jax.Array, value: jax.Array, index: jax.Array) -> jax.Array:
        found = jnp.einsum("...bc,...brc->...br", parts, value)
        return y.at[..., index.astype(jnp.int32), :].add(found)

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return add(y, *slot), None

    y = zeros_beside(x, jnp.zeros((rows // r, r), jnp.result_type(x, values)))
    if _small(values, (*x.shape[:-1], rows)) or in_one_launch(x, values.size):
        found = jnp.einsum("...bc,sbrc->...sbr", parts, values)
        y = y.at[..., indices.astype(jnp.int32), :].add(found)
    else:
        y = _scan(add_slot, y, (values, indices))
    return y.reshape(*x.shape[:-1], rows)


def group_rmatmul(x: jax.Array, values: jax.Array, codes: jax.Array, size: int) -> jax.Array:
    """``y[..., j] = sum_g,s x[..., size * g + code[g, s, j]] * values[g, s, j]``.

    A few groups at a time are formed and multiplied, which takes less time than gathering.

    Args:
        x: Rows, ``(..., m)``.
        values: ``(m / size, N, n)``: the entries of each group of rows.
        codes: Their rows within the group, ``(m / size, N, bytes)``, packed along the columns.
        size: The rows of a group, ``M``.

    Returns:
        ``(..., n)``.
    """
    parts = _chunks(values, codes, size)
    count, held = parts[0].shape[:2]
    pieces = jnp.asarray(x).reshape(*x.shape[:-1], count, held * size)
    pieces = jnp.moveaxis(pieces, -2, 0)

    def add_chunk(y: jax.Array, chunk: Any) -> tuple[jax.Array, None]:
        piece, value, code = chunk
        return y + piece @ _formed(value, code, size), None

    start = zeros_beside(x, values[0, 0], jnp.result_type(x, values))
    return _scan(add_chunk, start, (pieces, *parts))


def group_matmul(x: jax.Array, values: jax.Array, codes: jax.Array, size: int) -> jax.Array:
    """The product of rows ``x`` ``(..., n)`` with the transpose, ``(..., m)``.

    The arguments are those of `group_rmatmul`.
    """

    def one_chunk(none: None, chunk: Any) -> tuple[None, jax.Array]:
        return none, x @ _formed(chunk[0], chunk[1], size).T

    step = jax.checkpoint(one_chunk, prevent_cse=False)
    pieces = jax.lax.scan(step, None, _chunks(values, codes, size))[1]
    return jnp.moveaxis(pieces, 0, -2).reshape(*x.shape[:-1], values.shape[0] * size)


def _small(values: jax.Array, shape: tuple[int, ...]) -> bool:
    """Whether all slots may be gathered at once for rows of ``shape``, ``(..., m)``."""
    k, b, r, c = values.shape
    most = AT_ONCE_OF_ONE if math.prod(shape[:-1]) == 1 else AT_ONCE
    return k * b * r <= most * (shape[-1] + b * c)


def _chunks(values: jax.Array, codes: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """The groups of rows, ``(chunks, groups, ...)``, at most half of all in one chunk."""
    groups = values.shape[0]
    most = max(1, min(CHUNK_ROWS // size, groups // 2))
    held = next(g for g in range(most, 0, -1) if groups % g == 0)
    chunk = (-1, held, *values.shape[1:2])
    return (
        values.reshape(*chunk, values.shape[-1]),
        jnp.asarray(codes).reshape(*chunk, codes.shape[-1]),
    )


def _formed(values: jax.Array, codes: jax.Array, size: int) -> jax.Array:
    """Some groups of rows as an array, ``(groups * size, n)``."""
    groups, slots, n = values.shape
    places = unpack_bits(codes, (size - 1).bit_length(), n)
    row = jnp.arange(size, dtype=jnp.uint8)[:, None]
    formed = jnp.zeros((groups, size, n), values.dtype)
    for s in range(slots):
        here = places[:, s, None, :] == row
        formed = formed + jnp.where(here, values[:, s, None, :], jnp.zeros((), values.dtype))
    return formed.reshape(groups * size, n)


def _scan(step: Callable[..., Any], start: jax.Array, slots: tuple[jax.Array, ...]) -> jax.Array:
    # Rematerialised: what all slots gather would be as large as x times the dense matrix.
    return jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, slots)[0]
