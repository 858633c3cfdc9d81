"""Low rank for each group of rows by itself."""

from collections.abc import Sequence

import jax
import numpy as np

from structlin.decompose._svd import truncated_svd

__all__ = ["block_low_rank"]


def block_low_rank(
    dense: jax.Array,
    sizes: Sequence[int],
    ranks: Sequence[int],
    weights: jax.Array | None = None,
) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """The best factors of each group of neighbouring rows, of a rank of its own.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        sizes: The rows of each group; they sum to ``m``.
        ranks: The rank of each group.
        weights: Non-negative importance of each row, ``(m,)``; ``None`` weighs all alike.

    Returns:
        ``lefts``, of shapes ``(size, rank)``, and ``rights``, ``(rank, n)``: each group is the
        optimum of its rows, and so the whole is of all.

    Reference:
        Chen et al. (2018), "GroupReduce: block-wise low-rank approximation for neural language
        model shrinking", eq. 3, for groups that are given.
    """
    ends = np.cumsum(sizes)
    pairs = []
    for end, size, rank in zip(ends, sizes, ranks, strict=True):
        rows = slice(int(end) - size, int(end))
        share = None if weights is None else weights[rows]
        pairs.append(truncated_svd(dense[rows], rank, share))
    return tuple(left for left, _ in pairs), tuple(right for _, right in pairs)
