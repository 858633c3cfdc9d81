"""Hybrid matrix decomposition: dense columns beside rank-one blocks.

``W = [A | c_1 b_1^T | ... | c_K b_K^T]``: the rich columns ``A`` are unconstrained and every other
column is a multiple of its block's ``c_k``. A product is two dense ones and a scaling, with no
index.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import decompose
from structlin.matrices._base import Matrix
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._transposed import Transposed
from structlin.matrices._weights import Rows

__all__ = ["HMD", "HMDSpec"]


class HMD(Matrix):
    """Dense columns beside rank-one blocks.

    Attributes:
        rich: The first columns, ``(m, j)``.
        left: The direction of each block, ``(m, K)``.
        right: The factor of each other column, ``(n - j,)``; blocks are as even as possible, the
            larger first.
    """

    rich: jax.Array
    left: jax.Array
    right: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        return self.rich.shape[-2], self.rich.shape[-1] + self.right.shape[-1]

    def _spread(self, per_block: jax.Array) -> jax.Array:
        """``(..., K)`` to ``(..., n - j)``: each block's number at each of its columns."""
        sizes = decompose.rank_block_sizes(self.right.shape[-1], self.left.shape[-1])
        if len(sizes) == 1:
            return jnp.broadcast_to(per_block, (*per_block.shape[:-1], sizes[0]))
        return jnp.repeat(per_block, np.array(sizes), axis=-1, total_repeat_length=sum(sizes))

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([x @ self.rich, self._spread(x @ self.left) * self.right], axis=-1)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        j = self.rich.shape[-1]
        sizes = decompose.rank_block_sizes(self.right.shape[-1], self.left.shape[-1])
        parts = jnp.split(x[..., j:] * self.right, np.cumsum(sizes)[:-1], axis=-1)
        sums = jnp.stack([p.sum(-1) for p in parts], axis=-1)
        return x[..., :j] @ self.rich.T + sums @ self.left.T

    def _take(self, rows: jax.Array) -> jax.Array:
        rich, left = jnp.asarray(self.rich)[rows], jnp.asarray(self.left)[rows]
        return jnp.concatenate([rich, self._spread(left) * self.right], axis=-1)

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        return jnp.concatenate([self.rich, self._spread(self.left) * self.right], axis=-1)

    def flops(self) -> int:
        m, j = self.rich.shape[-2:]
        return 2 * m * (j + self.left.shape[-1]) + self.right.shape[-1]


class HMDSpec(Spec):
    """Asks for dense columns beside rank-one blocks.

    On the stacked kernel of a recurrent layer the dense columns would all fall to the first gate:
    wrap this spec in `PerGate`.

    Attributes:
        dense_columns: How many of the first columns are dense.
        compression: Dense bytes over stored bytes to reach: the most dense columns within the
            budget.
        rank_blocks: How many rank-one blocks share the other columns.

    Raises:
        ValueError: Not exactly one size is given.

    Reference:
        Thakker et al. (2019), "Run-time efficient RNN compression for inference on edge devices",
        with rows of ``y = W x`` as columns of ``x @ W``; there one rank-one block.
    """

    weighs = (Rows,)
    size_field = "dense_columns"

    dense_columns: int | None = None
    compression: float | None = None
    rank_blocks: int = 1

    def __post_init__(self) -> None:
        check_size(self, required=True)
        if self.rank_blocks < 1 or (self.dense_columns or 0) < 0:
            raise ValueError(f"HMD needs dense_columns >= 0 and rank_blocks >= 1; given {self}.")

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "HMDSpec":
        (m, n), blocks = shape, self.rank_blocks
        if blocks > n or (self.dense_columns or 0) > n - blocks:
            raise ValueError(
                f"{self} needs at least {(self.dense_columns or 0) + blocks} columns, one for each "
                f"rank-one block beside the dense ones; the matrix is {m} x {n}."
            )
        if self.dense_columns is not None:
            return self
        itemsize = jnp.dtype(dtype).itemsize
        least = n + blocks * m  # numbers with no dense column; each one adds m and saves 1
        spare = budget(self, shape, dtype) // itemsize - least
        if spare < 0:
            raise too_small(self, shape, dtype, least * itemsize, "with no dense column")
        columns = min(spare // max(m - 1, 1), n - blocks)
        return HMDSpec(dense_columns=columns, rank_blocks=blocks)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> HMD:
        (m, n), size = shape, self.sized(shape, dtype)
        j = size.dense_columns or 0
        tall, right = jax.random.split(key)
        drawn = jax.nn.initializers.lecun_normal()(tall, (m, j + self.rank_blocks), dtype)
        return HMD(drawn[:, :j], drawn[:, j:], jax.random.normal(right, (n - j,), dtype))

    def _fit(self, dense: jax.Array, weights: Any) -> HMD:
        size = self.sized_for(dense)
        return HMD(
            *decompose.hmd(
                dense, size.dense_columns or 0, self.rank_blocks, weights and weights.values
            )
        )
