"""Products with a Kronecker matrix: the order of contraction decides the cost."""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

__all__ = ["kronecker_flops", "kronecker_order", "kronecker_rmatmul"]

Shapes = Sequence[tuple[int, int]]


def _order_flops(shapes: Shapes, order: Sequence[int]) -> int:
    width, total = math.prod(m for m, _ in shapes), 0
    for i in order:
        m, n = shapes[i]
        total += 2 * width * n
        width = width // m * n
    return total


def kronecker_order(shapes: Shapes) -> tuple[int, ...]:
    """The order in which to contract the factors that takes the fewest operations.

    At a tie the last factor goes first: its contraction is one plain product of matrices.
    """
    orders = itertools.permutations(reversed(range(len(shapes))))
    return min(orders, key=lambda order: _order_flops(shapes, order))


def kronecker_flops(shapes: Shapes) -> int:
    """Floating point operations of one row's product in the best order."""
    return _order_flops(shapes, kronecker_order(shapes))


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
    folded = x.reshape(*batch, *(m for m, _ in shapes))
    for i in kronecker_order(shapes):
        if not batch and k == 2:  # one row: plain 2-D products are the fastest form
            folded = factors[0].T @ folded if i == 0 else folded @ factors[1]
        elif i == k - 1:
            folded = folded @ factors[i]
        else:
            axis = len(batch) + i
            folded = jnp.moveaxis(jnp.tensordot(folded, factors[i], axes=(axis, 0)), -1, axis)
    return folded.reshape(*batch, math.prod(n for _, n in shapes))
