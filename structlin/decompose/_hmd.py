"""Hybrid matrix decomposition: some columns kept dense, the others in rank-one blocks."""

import jax
import jax.numpy as jnp
import numpy as np

from structlin.decompose._svd import truncated_svd

__all__ = ["hmd", "rank_block_sizes"]


def rank_block_sizes(columns: int, blocks: int) -> tuple[int, ...]:
    """How many of ``columns`` fall to each of ``blocks``: as even as can be, larger ones first."""
    return tuple(len(part) for part in np.array_split(np.arange(columns), blocks))


def hmd(
    dense: jax.Array, dense_columns: int, rank_blocks: int = 1, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keeps the first columns of ``dense`` and fits a rank-one matrix to each block of the others.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        dense_columns: How many of the first columns are kept as they are, ``j`` of ``n``.
        rank_blocks: Into how many blocks the other columns are cut, ``K``.
        weights: Non-negative importance of each row, ``(m,)``; ``None`` weighs all alike.

    Returns:
        ``rich`` ``(m, j)``, ``left`` ``(m, K)`` and ``right`` ``(n - j,)``: column ``j + c`` of the
        fit, in block ``k``, is ``left[:, k] * right[c]``. Each block is the optimum (Eckart-Young).

    Reference:
        Thakker et al. (2019), "Run-time efficient RNN compression for inference on edge devices".
        The paper keeps upper rows of ``y = W x``; they are the first columns of a kernel that
        computes ``x @ W``. It has one rank-one block.
    """
    rich, rest = dense[:, :dense_columns], dense[:, dense_columns:]
    lefts, rights = [], []
    start = 0
    for size in rank_block_sizes(rest.shape[1], rank_blocks):
        left, right = truncated_svd(rest[:, start : start + size], 1, weights)
        lefts.append(left)
        rights.append(right[0])
        start += size
    return rich, jnp.concatenate(lefts, axis=1), jnp.concatenate(rights)
