"""Products with a packed sparse matrix, one slot of every column at a time.

The slots are scanned, so no array of ``slots * columns * batch`` elements ever exists, forward or
backward; on an accelerator they are gathered at once, up to a size.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin.kernels._columns import by_columns, slot_columns, slot_columns_transposed
from structlin.kernels._gather import in_one_launch, zeros_beside

__all__ = ["slot_matmul", "slot_rmatmul"]


def slot_rmatmul(x: jax.Array, values: jax.Array, indices: jax.Array) -> jax.Array:
    """``y[..., j] = sum_s x[..., indices[s, j]] * values[s, j]``.

    Args:
        x: Rows, ``(..., m)``.
        values: ``(k, n)``: the ``k`` slots of each of ``n`` columns.
        indices: The row of each slot, ``(k, n)``, integers below ``m``.

    Returns:
        ``(..., n)``.
    """
    if in_one_launch(x, values.size):
        products = _gather(x, indices) * values
        return products.sum(-2, dtype=products.dtype)
    y = by_columns(x, len(values), lambda v: slot_columns_transposed(v, values, indices))
    if y is not None:
        return y

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        value, index = slot
        return y + _gather(x, index) * value, None

    start = zeros_beside(x, values[0], jnp.result_type(x, values))
    return _scan(add_slot, start, (values, indices))


def slot_matmul(x: jax.Array, values: jax.Array, indices: jax.Array, rows: int) -> jax.Array:
    """``y[..., i] = sum over the slots that name row i of x[..., j] * values[s, j]``.

    Args:
        x: Rows, ``(..., n)``.
        values: ``(k, n)``.
        indices: The row of each slot, ``(k, n)``, integers below ``rows``.
        rows: ``m``.

    Returns:
        ``(..., m)``: the product with the transpose.
    """
    if in_one_launch(x, values.size):
        start = zeros_beside(x, jnp.zeros(rows, jnp.result_type(x, values)))
        return start.at[..., indices.astype(jnp.int32)].add(x[..., None, :] * values)
    y = by_columns(x, len(values), lambda v: slot_columns(v, values, indices, rows))
    if y is not None:
        return y

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        value, index = slot
        return y.at[..., index.astype(jnp.int32)].add(x * value), None

    start = zeros_beside(x, jnp.zeros(rows, jnp.result_type(x, values)))
    return _scan(add_slot, start, (values, indices))


def _scan(step: Callable[..., Any], start: jax.Array, slots: tuple[jax.Array, ...]) -> jax.Array:
    # Rematerialised: the gathered rows of all slots would be as large as x times the dense matrix.
    return jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, slots)[0]


def _gather(x: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.asarray(x).at[..., index.astype(jnp.int32)].get(mode="promise_in_bounds")
