"""Low-rank matrices ``W = left @ right``: two thin products."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._base import Matrix
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._weights import Rows

__all__ = ["LowRank", "LowRankSpec"]


class LowRank(Matrix):
    """The product of a tall and a wide matrix.

    Attributes:
        left: ``(m, r)``.
        right: ``(r, n)``.
    """

    left: jax.Array
    right: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[-2], self.right.shape[-1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return (x @ self.left) @ self.right

    def _take(self, rows: jax.Array) -> jax.Array:
        return jnp.asarray(self.left)[rows] @ self.right

    def transpose(self) -> "LowRank":
        return LowRank(self.right.T, self.left.T)

    def to_dense(self) -> jax.Array:
        return self.left @ self.right

    def flops(self) -> int:
        m, n = self.shape
        return 2 * self.left.shape[-1] * (m + n)


class LowRankSpec(Spec):
    """Asks for a low-rank matrix.

    Attributes:
        rank: The inner dimension, at most ``min(m, n)``.
        compression: Dense bytes over stored bytes to reach: the largest rank within the budget.

    Raises:
        ValueError: Not exactly one of the two is given.

    Reference:
        Grachev et al. (2017), "Neural networks compression for language modeling"; the fit is the
        truncated singular value decomposition.
    """

    weighs = (Rows,)
    size_field = "rank"

    rank: int | None = None
    compression: float | None = None

    def __post_init__(self) -> None:
        check_size(self, required=True)
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"LowRank needs a rank of 1 or more; given rank={self.rank}.")

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "LowRankSpec":
        m, n = shape
        if self.rank is not None:
            if self.rank > min(m, n):
                raise ValueError(f"A {m} x {n} matrix has rank {min(m, n)} at most; given {self}.")
            return self
        unit = jnp.dtype(dtype).itemsize * (m + n)
        rank = budget(self, shape, dtype) // unit
        if rank < 1:
            raise too_small(self, shape, dtype, unit, "rank 1")
        return LowRankSpec(rank=min(rank, m, n))

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> LowRank:
        m, n = shape
        rank = self.sized(shape, dtype).rank
        left, right = jax.random.split(key)
        draw = jax.nn.initializers.lecun_normal()
        return LowRank(draw(left, (m, rank), dtype), draw(right, (rank, n), dtype))

    def _fit(self, dense: jax.Array, weights: Any) -> LowRank:
        rank = self.sized_for(dense).rank
        return LowRank(*decompose.truncated_svd(dense, rank or 0, weights and weights.values))
