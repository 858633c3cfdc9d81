"""Hybrid matrix decomposition: some columns kept dense, the others in rank-one blocks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from structlin.decompose._dtypes import wide_dtype
from structlin.decompose._leading import leading_right
from structlin.decompose._svd import truncated_svd

__all__ = ["hmd", "hmd_columns", "rank_block_sizes"]

Factors = Callable[[jax.Array, int], tuple[jax.Array, jax.Array]]


def rank_block_sizes(columns: int, blocks: int) -> tuple[int, ...]:
    """How many of ``columns`` fall to each of ``blocks``: as even as can be, larger ones first."""
    return tuple(len(part) for part in np.array_split(np.arange(columns), blocks))


def hmd(
    dense: jax.Array,
    dense_columns: int,
    rank_blocks: int = 1,
    weights: jax.Array | None = None,
    factors: Factors | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keeps the first columns of ``dense`` and fits a rank-one matrix to each block of the others.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        dense_columns: How many of the first columns are kept as they are, ``j`` of ``n``.
        rank_blocks: Into how many blocks the other columns are cut, ``K``.
        weights: Non-negative importance of each row, ``(m,)``; ``None`` weighs all alike.
        factors: Another fit of a block, in place of `truncated_svd` with ``weights``:
            ``factors(block, first)`` has rank-one factors of ``block``, whose columns are those of
            ``dense`` from ``first`` on.

    Returns:
        ``rich`` ``(m, j)``, ``left`` ``(m, K)`` and ``right`` ``(n - j,)``: column ``j + c`` of the
        fit, in block ``k``, is ``left[:, k] * right[c]``. Each block is the optimum (Eckart-Young).

    Reference:
        Thakker et al. (2019), "Run-time efficient RNN compression for inference on edge devices".
        The paper keeps upper rows of ``y = W x``; they are the first columns of a kernel that
        computes ``x @ W``. It has one rank-one block.
    """
    if factors is None:
        factors = lambda block, _: truncated_svd(block, 1, weights)  # noqa: E731
    lefts, rights = [], []
    start = dense_columns
    for size in rank_block_sizes(dense.shape[1] - dense_columns, rank_blocks):
        left, right = factors(dense[:, start : start + size], start)
        lefts.append(left)
        rights.append(right[0])
        start += size
    rich = dense[:, :dense_columns]
    return rich, jnp.concatenate(lefts, axis=1), jnp.concatenate(rights)


def hmd_columns(dense: jax.Array, dense_columns: int) -> jax.Array:
    """An order of the columns of ``dense`` that makes the error of one rank-one block small.

    From several directions at once: those columns become dense that the direction misses most, the
    direction turns towards the leading one of the others, and so on until nothing changes. Neither
    half makes the error grow, so each end is a local optimum of this exchange; the best of them is
    taken, and the given order if that is better. The best of all subsets is not promised.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        dense_columns: How many columns will be dense, ``j`` of ``n``.

    Returns:
        Column numbers, ``(n,)``: the ``j`` dense ones first, each of the two parts ascending.
    """
    n = dense.shape[1]
    wide = dense.astype(wide_dtype(dense.dtype))
    scale = jnp.max(jnp.abs(wide))
    wide = wide / jnp.where(scale > 0, scale, 1)
    given = jnp.arange(n) >= dense_columns
    ways = _starts(wide, given)
    lost = _exchange(wide, dense_columns, ways)
    # The given set is last, so that a tie does not leave it.
    lost = jnp.concatenate([lost, given[:, None]], axis=1)
    errors = jax.lax.map(lambda mask: _rank_one_error(wide * mask), lost.T)
    best = jnp.where(errors[-1] <= jnp.min(errors), lost.shape[1] - 1, jnp.argmin(errors))
    return jnp.argsort(lost[:, best], stable=True)


def _starts(dense: jax.Array, given: jax.Array) -> jax.Array:
    """Directions to begin with, ``(m, s)``: of the matrix, of the given part, of some columns."""
    m, n = dense.shape
    few = min(4, m, n)
    whole = leading_right(dense, few)[0]
    part = leading_right(dense * given, 1)[0]
    some = dense[:, np.unique(np.linspace(0, n - 1, min(n, 8)).astype(int))]
    return jnp.concatenate([whole, part, some], axis=1)


def _exchange(dense: jax.Array, dense_columns: int, ways: jax.Array) -> jax.Array:
    """Which columns are not dense at the end of the exchange from each start, ``(n, s)``."""
    n = dense.shape[1]
    sizes = jnp.sum(jnp.abs(dense) ** 2, axis=0)[:, None]
    adjoint = dense.conj().T

    def unit(x: jax.Array) -> jax.Array:
        length = jnp.linalg.norm(x, axis=0)
        return x / jnp.where(length > 0, length, 1)

    def choose(ways: jax.Array) -> tuple[jax.Array, jax.Array]:
        shadow = adjoint @ ways
        missed = sizes - jnp.abs(shadow) ** 2
        place = jnp.argsort(jnp.argsort(-missed, axis=0, stable=True), axis=0)
        return shadow, place >= dense_columns

    def step(state: tuple) -> tuple:
        count, ways, lost, _ = state
        for _ in range(4):  # turns of the direction for one choice of columns
            ways = unit(dense @ (lost * (adjoint @ ways)))
        after = choose(ways)[1]
        return count + 1, ways, after, jnp.any(after != lost)

    def unfinished(state: tuple) -> jax.Array:
        return (state[0] < 3) | (state[3] & (state[0] < min(200, 8 * n)))

    ways = unit(ways)
    first = (jnp.asarray(0), ways, choose(ways)[1], jnp.asarray(True))
    return jax.lax.while_loop(unfinished, step, first)[2]


def _rank_one_error(dense: jax.Array) -> jax.Array:
    """The squared error of the best rank-one fit."""
    u, _, _ = leading_right(dense, 1)
    return jnp.sum(jnp.abs(dense - u @ (u.conj().T @ dense)) ** 2)
