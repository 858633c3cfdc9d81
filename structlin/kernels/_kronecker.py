"""Products with a Kronecker matrix: the order of contraction decides the cost."""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp

from structlin.kernels._gather import merge_rows, on_one_device

__all__ = ["kronecker_flops", "kronecker_order", "kronecker_rmatmul"]

Shapes = Sequence[tuple[int, int]]

REPEATED = 2
"""A factor is repeated for every row while that takes at most so many times the numbers of the
result."""

LOOPED = 1 << 16
"""Up to so many operations of one row a loop takes less time than calling for two products."""


def kronecker_order(shapes: Shapes, costs: Sequence[int] | None = None) -> tuple[int, ...]:
    """The order in which to contract the factors that takes the fewest operations.

    Factor ``i`` costs ``c_i / m_i`` for each number that it is applied to and leaves ``n_i / m_i``
    numbers of each one. Exchanging neighbours shows that the order is the cheapest when
    ``(m_i - n_i) / c_i`` falls: no order needs to be tried. At a tie the last factor goes first,
    since its contraction is one plain product of matrices.

    Args:
        shapes: ``(m_i, n_i)`` of each factor.
        costs: Operations ``c_i`` of one row's product with factor ``i``; ``2 m_i n_i``, those of a
            dense one, if not given.
    """
    costs = _dense_costs(shapes) if costs is None else costs
    gain = [Fraction(m - n, max(c, 1)) for (m, n), c in zip(shapes, costs, strict=True)]
    return tuple(sorted(reversed(range(len(shapes))), key=lambda i: -gain[i]))


def kronecker_flops(shapes: Shapes, costs: Sequence[int] | None = None) -> int:
    """Floating point operations of one row's product in the best order.

    Args:
        shapes: As for `kronecker_order`.
        costs: As for `kronecker_order`.
    """
    costs = _dense_costs(shapes) if costs is None else costs
    width, total = math.prod(m for m, _ in shapes), 0
    for i in kronecker_order(shapes, costs):
        m, n = shapes[i]
        total += width // m * costs[i]
        width = width // m * n
    return total


def kronecker_rmatmul(x: jax.Array, factors: Sequence[jax.Array]) -> jax.Array:
    """``x @ kron(*factors)`` without forming it.

    Args:
        x: Rows, ``(..., m)`` with ``m`` the product of the factors' rows.
        factors: Each ``(m_i, n_i)``.

    Returns:
        ``(..., n)`` with ``n`` the product of the factors' columns.
    """
    batch, k = x.shape[:-1], len(factors)
    shapes = [(f.shape[0], f.shape[1]) for f in factors]
    width = math.prod(n for _, n in shapes)
    if k == 2 and math.prod(batch) == 1:
        folded = x.reshape(shapes[0][0], shapes[1][0])
        small = kronecker_flops(shapes) <= LOOPED
        for i in kronecker_order(shapes):
            both = _promoted(folded, factors[i])
            folded = _in_a_loop(*both, i) if small else _in_a_product(*both, i)
        return folded.reshape(*batch, width)
    folded = x.reshape(*batch, *(m for m, _ in shapes))
    for i in kronecker_order(shapes):
        if i == k - 1:
            folded = _last(*_promoted(folded, factors[i]))
        else:
            folded = _along(folded, factors[i], i - k)
    return folded.reshape(*batch, width)


def _promoted(folded: jax.Array, factor: jax.Array) -> tuple[jax.Array, jax.Array]:
    kind = jnp.result_type(folded, factor)
    return folded.astype(kind), factor.astype(kind)


def _in_a_product(folded: jax.Array, factor: jax.Array, i: int) -> jax.Array:
    """One row, ``(m_1, m_2)``, contracted with factor ``i`` of two."""
    return factor.T @ folded if i == 0 else folded @ factor


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _in_a_loop(folded: jax.Array, factor: jax.Array, i: int) -> jax.Array:
    """The same as one fused loop, of which only derivatives are products."""
    if i == 0:
        return (factor[:, :, None] * folded[:, None, :]).sum(0, dtype=folded.dtype)
    return (folded[:, :, None] * factor).sum(1, dtype=folded.dtype)


@_in_a_loop.defjvp
def _in_a_loop_jvp(i: int, primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (folded, factor), (dfolded, dfactor) = primals, tangents
    change = _in_a_product(dfolded, factor, i) + _in_a_product(folded, dfactor, i)
    return _in_a_loop(folded, factor, i), change


@jax.custom_jvp
def _last(folded: jax.Array, factor: jax.Array) -> jax.Array:
    """``folded @ factor``; the derivative of the factor is one plain product of all rows."""
    return folded @ factor


@_last.defjvp
def _last_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    (folded, factor), (dfolded, dfactor) = primals, tangents
    change = (merge_rows(folded) @ dfactor).reshape(*folded.shape[:-1], factor.shape[1])
    return folded @ factor, dfolded @ factor + change


def _along(folded: jax.Array, factor: jax.Array, axis: int) -> jax.Array:
    """``folded``, ``(..., m, ...)``, with ``m`` contracted by the factor ``(m, n)``."""
    axis, after = axis + folded.ndim, math.prod(folded.shape[axis + 1 :])
    large = factor.shape[0] > REPEATED * after
    if large or not on_one_device():
        return jnp.moveaxis(jnp.tensordot(folded, factor, axes=(axis, 0)), -1, axis)
    # A product for each row: what one product of all rows gives must be transposed, which takes
    # longer, forward and backward.
    whole = folded.reshape(math.prod(folded.shape[:axis]), factor.shape[0], after)
    repeated = jnp.broadcast_to(factor.T, (whole.shape[0], *factor.T.shape))
    kept = folded.shape[:axis], folded.shape[axis + 1 :]
    return (repeated @ whole).reshape(*kept[0], factor.shape[1], *kept[1])


def _dense_costs(shapes: Shapes) -> list[int]:
    return [2 * m * n for m, n in shapes]
