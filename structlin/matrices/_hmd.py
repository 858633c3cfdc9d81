"""Hybrid matrix decomposition: dense columns beside rank-one blocks.

``W = [A | c_1 b_1^T | ... | c_K b_K^T]``: the rich columns ``A`` are unconstrained and every other
column is a multiple of its block's ``c_k``. A product is two dense ones and a scaling, with no
index.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import decompose, kernels
from structlin.matrices._base import Matrix
from structlin.matrices._low_rank import low_rank_factors, whole_number
from structlin.matrices._majorize import weighted_error
from structlin.matrices._permuted import Permuted
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._transposed import Transposed
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["HMD", "HMDSpec"]


class HMD(Matrix):
    """Dense columns beside rank-one blocks.

    Formula: ``W[i, j] = A[i, j]`` in the first columns, ``c_k[i] b[j]`` in those of block ``k``
    Storage: ``j m + K m + n - j`` numbers
    FLOPs: ``2 m (j + K) + n - j``
    Rank: ``j + K`` at most
    Suits: matrices of which a few columns matter most; few numbers, fast products, no index
    Reference: Thakker et al. (2019), "Run-time efficient RNN compression for inference on edge
        devices".

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

    def _program(self) -> kernels.native.Program | None:
        native = kernels.native
        spread = native.spread_program(self.right, self.left.shape[-1])
        others = native.chain_program([native.dense_program(self.left), spread])
        parts = [native.dense_program(self.rich), others]
        return native.column_program(parts if self.rich.shape[-1] else parts[1:])

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        j = self.rich.shape[-1]
        sizes = decompose.rank_block_sizes(self.right.shape[-1], self.left.shape[-1])
        parts = jnp.split(x[..., j:] * self.right, np.cumsum(sizes)[:-1], axis=-1)
        sums = jnp.stack([p.sum(-1) for p in parts], axis=-1)
        return x[..., :j] @ self.rich.T + sums @ self.left.T

    def _take(self, rows: jax.Array) -> jax.Array:
        rich, left = (kernels.gather_rows(table, rows) for table in (self.rich, self.left))
        return jnp.concatenate([rich, self._spread(left) * self.right], axis=-1)

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        return jnp.concatenate([self.rich, self._spread(self.left) * self.right], axis=-1)

    def diagonal(self) -> jax.Array:
        j, k = self.rich.shape[-1], min(self.shape)
        rich = jnp.diagonal(self.rich)
        if k <= j:
            return rich
        sizes = decompose.rank_block_sizes(self.right.shape[-1], self.left.shape[-1])
        block = np.repeat(np.arange(len(sizes)), sizes)[: k - j]
        return jnp.concatenate([rich, self.left[np.arange(j, k), block] * self.right[: k - j]])

    def frobenius_norm(self) -> jax.Array:
        rich, left, right = (x.astype(wide_dtype(self.dtype)) for x in self._parts())
        columns = jnp.linalg.norm(left, axis=0)
        parts = jnp.concatenate([rich.reshape(-1), self._spread(columns) * jnp.abs(right)])
        return jnp.linalg.norm(parts).astype(jnp.finfo(self.dtype).dtype)

    def _parts(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        return self.rich, self.left, self.right

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
        columns: ``"first"`` makes the first columns dense. ``"best"`` chooses them when it fits,
            which makes a `Permuted` of an `HMD`, with a number for each column: never a larger
            error than ``"first"`` (with `Fisher` weights too, whose blocks have no known optimum),
            often the least of all choices, which is not promised. One rank-one block only.

    Raises:
        ValueError: Not exactly one size is given, or a field is not among its values.

    Reference:
        Thakker et al. (2019), "Run-time efficient RNN compression for inference on edge devices",
        with rows of ``y = W x`` as columns of ``x @ W``; there one rank-one block and the first
        rows.
    """

    weighs = (Rows, Fisher, Covariance)
    size_field = "dense_columns"

    dense_columns: int | None = None
    compression: float | None = None
    rank_blocks: int = 1
    columns: str = "first"

    def __post_init__(self) -> None:
        check_size(self, required=True)
        whole_number(self, "dense_columns", 0)
        whole_number(self, "rank_blocks", 1)
        if self.columns not in ("first", "best"):
            raise ValueError(f'HMD has columns "first" or "best"; given {self.columns!r}.')
        if self.columns == "best" and self.rank_blocks != 1:
            raise ValueError(f'HMD chooses columns="best" for one rank-one block; given {self}.')

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
        order = n * _order_dtype(n).itemsize if self.columns == "best" else 0
        least = (n + blocks * m) * itemsize + order  # with no dense column; each adds m, saves 1
        spare = budget(self, shape, dtype) - least
        if spare < 0:
            raise too_small(self, shape, dtype, least, "with no dense column")
        columns = min(spare // (max(m - 1, 1) * itemsize), n - blocks)
        return dataclasses.replace(self, dense_columns=columns, compression=None)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        (m, n), size = shape, self.sized(shape, dtype)
        j = size.dense_columns or 0
        tall, right = jax.random.split(key)
        drawn = jax.nn.initializers.lecun_normal()(tall, (m, j + self.rank_blocks), dtype)
        made = HMD(drawn[:, :j], drawn[:, j:], jax.random.normal(right, (n - j,), dtype))
        return _in_order(made, jnp.arange(n)) if self.columns == "best" else made

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        j = self.sized_for(dense).dense_columns or 0
        first = _fit(dense, j, self.rank_blocks, weights)
        if self.columns == "first":
            return first
        order = decompose.hmd_columns(_evened(dense, weights), j)
        moved = Fisher(weights.values[:, order]) if isinstance(weights, Fisher) else weights
        kept = jnp.arange(order.shape[0])
        best = _in_order(_fit(dense[:, order], j, 1, moved), order)
        first = _in_order(first, kept)
        pair = (weighted_error(dense, w.to_dense(), weights) for w in (best, first))
        better = jnp.less(*pair)
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), best, first)


def _fit(dense: jax.Array, dense_columns: int, blocks: int, weights: Any) -> HMD:
    def factors(block: jax.Array, first: int) -> tuple[jax.Array, jax.Array]:
        share = weights
        if isinstance(weights, Fisher):
            values = weights.values[:, first : first + block.shape[1]]
            share = Fisher(jnp.where(jnp.any(values > 0), values, 1))
        return low_rank_factors(block, 1, share)

    return HMD(*decompose.hmd(dense, dense_columns, blocks, factors=factors))


def _order_dtype(n: int) -> np.dtype:
    return np.min_scalar_type(n - 1)


def _in_order(made: HMD, order: jax.Array) -> Permuted:
    """``made``, whose columns are those of a matrix at ``order``, with them in their places."""
    return Permuted(made, None, jnp.argsort(order).astype(_order_dtype(order.shape[0])))


def _evened(dense: jax.Array, weights: Any) -> jax.Array:
    """A matrix whose plain error is the weighted one of ``dense``; nearly so for `Fisher`."""
    if weights is None:
        return dense
    values = weights.values.astype(wide_dtype(dense.dtype))
    if isinstance(weights, Covariance):
        roots, vectors = jnp.linalg.eigh(values)
        root = jnp.sqrt(jnp.maximum(roots, 0)).astype(dense.dtype)
        return root[:, None] * (vectors.conj().T.astype(dense.dtype) @ dense)
    if isinstance(weights, Rows):
        return jnp.sqrt(values)[:, None].astype(dense.dtype) * dense
    rows, columns = jnp.mean(values, axis=1), jnp.mean(values, axis=0)
    return jnp.sqrt(rows[:, None] * columns / jnp.mean(rows)).astype(dense.dtype) * dense
