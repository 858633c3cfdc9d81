"""Products with vectors that stand side by side as columns, ``W @ v`` for ``v`` ``(n, k)``.

The row forms reach the same numbers through two transposes; here the ``k`` numbers that share a row
stay contiguous. On one core, 1024 x 1024 and 64 columns in single precision, that is 1.7 times as
fast for a Kronecker product and 50 times for a sparse one; so the row forms of sparse products turn
some rows at a time into columns (`by_columns`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from structlin.kernels._gather import on_one_device
from structlin.kernels._kronecker import kronecker_order

__all__ = ["by_columns", "kronecker_columns", "slot_columns", "slot_columns_transposed"]

SIDE_BY_SIDE = 4
"""Slots in one step of a loop that only reads scattered rows, which takes less time than one."""

LEAST_ROWS, LEAST_SLOTS, WIDTH, VECTOR = 9, 8, 64, 24
"""Rows and slots from which on columns are faster, in whole recurrent layers too. `WIDTH` columns
stay in the fast cache; up to `VECTOR` the loop over `VECTOR` takes less time, since shorter ones
are not vectorised by XLA."""


def by_columns(
    x: jax.Array, slots: int, product: Callable[[jax.Array], jax.Array]
) -> jax.Array | None:
    """A product with the rows of ``x``, some at a time as columns; ``None`` where rows are better.

    Args:
        x: Rows, ``(..., m)``.
        slots: How often the product reads them.
        product: Maps columns ``(m, k)`` to ``(n, k)``, for any ``k``.

    Returns:
        ``(..., n)``. Rows that are few, or are read seldom, are left as they are, and so are those
        that may lie on several devices, and any number of them, as ``jax.export`` has.
    """
    rows = math.prod(x.shape[:-1])
    known = isinstance(rows, int) and on_one_device()
    if not known or rows < LEAST_ROWS or slots < LEAST_SLOTS:
        return None
    tiles = -(-rows // WIDTH)
    each = -(-rows // tiles)
    width = max(VECTOR, each + -each % 8)
    padded = jnp.pad(x.reshape(rows, x.shape[-1]), ((0, tiles * width - rows), (0, 0)))
    columns = padded.reshape(tiles, width, x.shape[-1]).swapaxes(1, 2)
    y = product(columns[0])[None] if tiles == 1 else jax.lax.map(product, columns)
    n = y.shape[1]
    return y.swapaxes(1, 2).reshape(tiles * width, n)[:rows].reshape(*x.shape[:-1], n)


def kronecker_columns(v: jax.Array, factors: Sequence[jax.Array]) -> jax.Array:
    """``kron(*factors) @ v`` without forming it.

    Args:
        v: Columns, ``(n, k)`` with ``n`` the product of the factors' columns.
        factors: Each ``(m_i, n_i)``.

    Returns:
        ``(m, k)`` with ``m`` the product of the factors' rows.
    """
    sizes = [f.shape[1] for f in factors]
    folded = v.reshape(*sizes, v.shape[1])
    # At a tie the first factor goes first: its contraction is one plain product of matrices.
    order = kronecker_order([(f.shape[1], f.shape[0]) for f in reversed(factors)])
    for i in (len(factors) - 1 - j for j in order):
        if i == 0:
            first, *rest = folded.shape
            flat = factors[0] @ folded.reshape(first, math.prod(rest))
            folded = flat.reshape(factors[0].shape[0], *rest)
        else:
            before, after = folded.shape[:i], folded.shape[i + 1 :]
            flat = folded.reshape(math.prod(before), folded.shape[i], math.prod(after))
            flat = jnp.einsum("bj,ajk->abk", factors[i], flat)
            folded = flat.reshape(*before, factors[i].shape[0], *after)
    return folded.reshape(math.prod(f.shape[0] for f in factors), v.shape[1])


def slot_columns(v: jax.Array, values: jax.Array, indices: jax.Array, rows: int) -> jax.Array:
    """``y[indices[s, j]] += values[s, j] * v[j]`` over all slots.

    Args:
        v: Columns, ``(n, k)``.
        values: ``(slots, n)``.
        indices: The row of each slot, ``(slots, n)``, integers below ``rows``.
        rows: ``m``.

    Returns:
        ``(m, k)``: the product of the packed matrix with ``v``.
    """

    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        value, index = slot
        value, each = value.astype(kind), v.astype(kind)
        at = y.at[index.astype(jnp.int32)]
        return at.add(_scaled(value, each), mode="promise_in_bounds"), None

    kind = jnp.result_type(v, values)
    start = jnp.zeros((rows, v.shape[1]), kind)
    return _scan(add_slot, start, (values, indices), _side_by_side(v))


def slot_columns_transposed(v: jax.Array, values: jax.Array, indices: jax.Array) -> jax.Array:
    """``y[j] = sum_s values[s, j] * v[indices[s, j]]``.

    Args:
        v: Columns, ``(m, k)``.
        values: ``(slots, n)``.
        indices: The row of each slot, ``(slots, n)``, integers below ``m``.

    Returns:
        ``(n, k)``: the product of the packed matrix's transpose with ``v``.
    """
    return _picked(v, values, indices)


@jax.custom_jvp
def _picked(v: jax.Array, values: jax.Array, indices: jax.Array) -> jax.Array:
    return _add_picked(v, values, indices, SIDE_BY_SIDE)


@_picked.defjvp
def _picked_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    v, values, indices = primals

    def one_by_one(v: jax.Array, values: jax.Array) -> jax.Array:
        return _add_picked(v, values, indices, _side_by_side(v))

    return jax.jvp(one_by_one, (v, values), tangents[:2])


def _add_picked(v: jax.Array, values: jax.Array, indices: jax.Array, together: int) -> jax.Array:
    def add_slot(y: jax.Array, slot: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        value, index = slot
        picked = jnp.asarray(v).at[index.astype(jnp.int32)].get(mode="promise_in_bounds")
        return y + _scaled(value.astype(kind), picked.astype(kind)), None

    kind = jnp.result_type(v, values)
    start = jnp.zeros((values.shape[1], v.shape[1]), kind)
    return _scan(add_slot, start, (values, indices), together)


@jax.custom_jvp
def _scaled(value: jax.Array, v: jax.Array) -> jax.Array:
    """``v``, ``(n, k)``, each of its rows times a number of ``value``, ``(n,)``, of one dtype."""
    return value[:, None] * v


@_scaled.defjvp
def _scaled_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (value, v), (dvalue, dv) = primals, tangents
    spread = dvalue[:, None]
    if v.shape[1] >= WIDTH:
        # Backward this is a sum over the columns. XLA adds them one by one, in order; a product
        # with ones adds many at a time, which pays from a whole tile on.
        ones = jnp.ones((1, v.shape[1]), dvalue.dtype)
        spread = jnp.matmul(spread, ones, precision="highest")
    return value[:, None] * v, spread * v + value[:, None] * dv


def _side_by_side(v: jax.Array) -> int:
    """Slots in one step of a loop that adds to scattered rows, forward or backward.

    Loops over some tens of columns are vectorised only where several slots stand side by side.
    """
    return SIDE_BY_SIDE if v.shape[1] < WIDTH else 1


def _scan(
    step: Callable[..., Any], start: jax.Array, slots: tuple[jax.Array, ...], together: int
) -> jax.Array:
    # Rematerialised: the picked rows of all slots would be larger than the dense matrix.
    step = jax.checkpoint(step, prevent_cse=False)
    return jax.lax.scan(step, start, slots, unroll=together)[0]
