"""Low rank for each group of rows by itself, such as frequent and rare words."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import decompose, kernels
from structlin.matrices._base import Matrix
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._transposed import Transposed
from structlin.matrices._weights import Rows

__all__ = ["BlockLowRank", "BlockLowRankSpec"]


class BlockLowRank(Matrix):
    """Groups of rows, each of a rank of its own; nothing is padded.

    A row is gathered from the left factor of its group, so `take` forms no row twice and costs
    ``2 n sum(r_p)`` operations for each row asked for, whatever the number of rows.

    Formula: ``W[i] = left_p[q_i - start_p] @ right_p`` where ``start_p <= q_i < start_p + g_p``
    Storage: ``sum_p r_p (g_p + n)`` numbers, ``g_p n`` for a dense group, and one integer a row if
        there is an order
    FLOPs: ``2 sum_p r_p (g_p + n)``, and ``n`` to add each group
    Rank: up to ``sum_p r_p``
    Suits: tables of words, where frequent rows deserve a higher rank than rare ones
    Reference: Chen et al. (2018), "GroupReduce: block-wise low-rank approximation for neural
        language model shrinking"

    Attributes:
        lefts: For each group ``(g_p, r_p)``; ``None`` for a dense group.
        rights: For each group ``(r_p, n)``; of a dense group its rows, ``(g_p, n)``.
        order: Where each row stands among the grouped rows, ``(m,)``, unsigned; ``None`` if rows
            stand as they are grouped.
    """

    lefts: tuple[jax.Array | None, ...]
    rights: tuple[jax.Array, ...]
    order: jax.Array | None = None

    @property
    def _sizes(self) -> tuple[int, ...]:
        pairs = zip(self.lefts, self.rights, strict=True)
        return tuple((right if left is None else left).shape[-2] for left, right in pairs)

    @property
    def shape(self) -> tuple[int, int]:
        return sum(self._sizes), self.rights[0].shape[-1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        if self.order is not None:
            empty, places = jnp.zeros_like(x), self.order.astype(jnp.int32)
            x = empty.at[..., places].set(x, unique_indices=True, mode="promise_in_bounds")
        parts = jnp.split(x, np.cumsum(self._sizes)[:-1], axis=-1)
        triples = zip(parts, self.lefts, self.rights, strict=True)
        return _total((p if left is None else p @ left) @ right for p, left, right in triples)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        pairs = zip(self.lefts, self.rights, strict=True)
        inner = ((left, x @ right.T) for left, right in pairs)
        y = jnp.concatenate([z if left is None else z @ left.T for left, z in inner], axis=-1)
        if self.order is None:
            return y
        return y.at[..., self.order.astype(jnp.int32)].get(mode="promise_in_bounds")

    def _take(self, rows: jax.Array) -> jax.Array:
        return _total(
            picked if right is None else picked @ right for picked, right in self._picked(rows)
        )

    def _picked(self, rows: jax.Array) -> list[tuple[jax.Array, jax.Array | None]]:
        """For each group the left rows at ``rows``, zero where they are of another group."""
        places = rows if self.order is None else kernels.gather_rows(self.order, rows)
        places, start, found = places.astype(jnp.int32), 0, []
        for left, right, size in zip(self.lefts, self.rights, self._sizes, strict=True):
            table = right if left is None else left
            own = (places >= start) & (places < start + size)
            picked = kernels.gather_rows(table, jnp.clip(places - start, 0, size - 1))
            found.append((jnp.where(own[..., None], picked, 0), None if left is None else right))
            start += size
        return found

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        pairs = zip(self.lefts, self.rights, strict=True)
        grouped = [right if left is None else left @ right for left, right in pairs]
        dense = jnp.concatenate(grouped, axis=-2)
        return dense if self.order is None else dense[self.order]

    def flops(self) -> int:
        pairs, n = zip(self.lefts, self.rights, strict=True), self.shape[1]
        inner = sum(0 if left is None else 2 * left.shape[-2] * left.shape[-1] for left, _ in pairs)
        outer = sum(2 * right.shape[-2] * n for right in self.rights)
        return inner + outer + (len(self.rights) - 1) * n

    def frobenius_norm(self) -> jax.Array:
        total = jnp.zeros((), jnp.finfo(wide_dtype(self.dtype)).dtype)
        for left, right in zip(self.lefts, self.rights, strict=True):
            right = right.astype(wide_dtype(right.dtype))
            if left is None:
                total = total + jnp.sum(jnp.abs(right) ** 2)
            else:
                left = left.astype(right.dtype)
                grams = left.conj().T @ left, right @ right.conj().T
                total = total + jnp.einsum("ij,ji->", *grams).real
        return jnp.sqrt(jnp.maximum(total, 0)).astype(jnp.finfo(self.dtype).dtype)

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return BlockLowRank(self.lefts, tuple(r * scalar for r in self.rights), self.order)


class BlockLowRankSpec(Spec):
    """Asks for groups of neighbouring rows, each of low rank.

    A group for which low rank would store no less than a dense block becomes dense.

    Attributes:
        groups: How many groups of as equal size as can be, larger ones first; or their sizes.
        ranks: The rank of each group, or one for all.
        compression: Dense bytes over stored bytes to reach: the largest rank for all groups within
            the budget.

    Raises:
        ValueError: Not exactly one of ``ranks`` and ``compression`` is given, or one makes no
            sense.

    Reference:
        Chen et al. (2018), "GroupReduce: block-wise low-rank approximation for neural language
        model shrinking"; its groups come from frequencies and are refined, here they are given.
    """

    weighs = (Rows,)
    size_field = "ranks"

    groups: int | tuple[int, ...]
    ranks: int | tuple[int, ...] | None = None
    compression: float | None = None

    def __post_init__(self) -> None:
        check_size(self, required=True)
        for name in ("groups", "ranks"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
            many = value if isinstance(value, tuple | list) else (value,)
            if value is not None and (not many or min(many) < 1):
                raise ValueError(f"BlockLowRank needs {name} of 1 or more; given {value}.")
        groups, ranks = self.groups, self.ranks
        if isinstance(groups, tuple) and isinstance(ranks, tuple) and len(groups) != len(ranks):
            raise ValueError(f"BlockLowRank needs one rank for each group; given {self}.")

    def _group_sizes(self, m: int) -> tuple[int, ...]:
        if isinstance(self.groups, tuple):
            if sum(self.groups) != m:
                raise ValueError(f"{self} has {sum(self.groups)} rows; the matrix has {m}.")
            return self.groups
        if self.groups > m:
            raise ValueError(f"{self} needs a row for each group; the matrix has {m}.")
        return decompose.rank_block_sizes(m, self.groups)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "BlockLowRankSpec":
        return BlockLowRankSpec(*self._sizes_and_ranks(shape, dtype))

    def _sizes_and_ranks(
        self, shape: tuple[int, ...], dtype: Any
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        m, n = shape
        sizes, ranks = self._group_sizes(m), self.ranks
        if ranks is None:
            ranks = self._largest_rank((m, n), sizes, dtype)
        ranks = ranks if isinstance(ranks, tuple) else tuple(min(ranks, g, n) for g in sizes)
        if len(ranks) != len(sizes):
            raise ValueError(f"{self} has {len(ranks)} ranks for {len(sizes)} groups.")
        for rank, size in zip(ranks, sizes, strict=True):
            if rank > min(size, n):
                raise ValueError(f"A {size} x {n} group has rank {min(size, n)} at most: {self}.")
        return sizes, ranks

    def _largest_rank(self, shape: tuple[int, int], sizes: tuple[int, ...], dtype: Any) -> int:
        m, n = shape
        itemsize, most = jnp.dtype(dtype).itemsize, budget(self, shape, dtype)

        def stored(rank: int) -> int:
            return itemsize * sum(min(rank * (g + n), g * n) for g in sizes)

        if stored(1) > most:
            raise too_small(self, shape, dtype, stored(1), "rank 1 for each group")
        low, high = 1, min(m, n)  # stored grows with the rank: halve the interval
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if stored(middle) <= most else (low, middle - 1)
        return low

    def init(
        self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32
    ) -> BlockLowRank:
        (m, n), (sizes, ranks) = shape, self._sizes_and_ranks(shape, dtype)
        scale, lefts, rights = jnp.asarray(m**-0.5, dtype), [], []
        keys = jax.random.split(key, len(sizes))
        for k, g, r in zip(keys, sizes, ranks, strict=True):
            one, other = jax.random.split(k)
            if _dense_is_smaller(g, n, r):
                lefts.append(None)
                rights.append(jax.random.normal(other, (g, n), dtype) * scale)
                continue
            lefts.append(jax.random.normal(one, (g, r), dtype) * scale)
            share = jnp.asarray(r**-0.5, dtype)
            rights.append(jax.random.normal(other, (r, n), dtype) * share)
        return BlockLowRank(tuple(lefts), tuple(rights))

    def _fit(self, dense: jax.Array, weights: Any) -> BlockLowRank:
        (sizes, ranks), n = self._sizes_and_ranks(dense.shape, dense.dtype), dense.shape[1]
        lefts, rights, start = [], [], 0
        for g, r in zip(sizes, ranks, strict=True):
            rows = slice(start, start + g)
            start += g
            if _dense_is_smaller(g, n, r):
                lefts.append(None)
                rights.append(dense[rows])
                continue
            share = weights and weights.values[rows]
            (left,), (right,) = decompose.block_low_rank(dense[rows], (g,), (r,), share)
            lefts.append(left)
            rights.append(right)
        return BlockLowRank(tuple(lefts), tuple(rights))


def _dense_is_smaller(rows: int, columns: int, rank: int) -> bool:
    return rank * (rows + columns) >= rows * columns


def _total(parts: Any) -> jax.Array:
    return functools.reduce(jnp.add, parts)
