"""Monarch matrices: two block-diagonal factors with a fixed regrouping between them.

The input is cut into ``K`` blocks and the output into ``J``. Between each pair the map has rank
``r``; all pairs are done at once by two batched products of small dense blocks.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose, kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._registry import unsupported
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._weights import Rows

__all__ = ["Monarch", "MonarchSpec"]


class Monarch(Matrix):
    """A block-diagonal matrix, a regrouping, another block-diagonal matrix, and an interleaving.

    With one block on each side it has rank ``r``, and with more it comes nearer to any matrix. Of
    rank one it holds every Kronecker product of factors ``(K, L)`` and ``(I, J)``.

    Formula: ``W[(k, i), (l, j)] = sum_p left[k, i, (j, p)] right[j, (k, p), l]``, where an index in
        brackets counts with its last part the fastest
    Storage: ``r (m J + n K)`` numbers
    FLOPs: ``2 r (m J + n K)``
    Rank: any up to ``r J K``
    Suits: large maps that must stay expressive: dense quality at a fraction of the products
    Reference: Dao et al. (2022), "Monarch: Expressive structured matrices for efficient and
        accurate training", eq. 1, for rank one; Qiu et al. (2024), "Compute better spent", for
        more. There sides are square or blocks alike; here each side has its own count of blocks.

    Attributes:
        left: ``(K, I, J r)``; ``m = K I``.
        right: ``(J, K r, L)``; ``n = J L``.
        interleaved: ``"columns"``: column ``l J + j`` is the ``l``-th of block ``j``, and rows go
            block by block. ``"rows"``: row ``i K + k`` is the ``i``-th of block ``k``, and columns
            go block by block: the transpose of the former.
    """

    needs = dict.fromkeys(("solve", "inverse", "slogdet"), "square blocks")

    left: jax.Array
    right: jax.Array
    interleaved: str = static(default="columns")

    @property
    def _sizes(self) -> tuple[int, int, int, int, int]:
        """``K, I, J, L, r``."""
        (k, i, inner), (j, _, width) = self.left.shape[-3:], self.right.shape[-3:]
        return k, i, j, width, inner // j

    @property
    def shape(self) -> tuple[int, int]:
        k, i, j, width, _ = self._sizes
        return k * i, j * width

    @property
    def _by_rows(self) -> bool:
        return self.interleaved == "rows"

    def rmatmul(self, x: jax.Array) -> jax.Array:
        k, i, j, width, _ = self._sizes
        x = jnp.asarray(x)
        found = kernels.monarch_rmatmul(
            _split(x, k, i, mixed=self._by_rows), jnp.asarray(self.left), jnp.asarray(self.right)
        )
        return _merge(found, j, width, mixed=not self._by_rows)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.transpose().rmatmul(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        k, i, j, width, rank = self._sizes
        block, place = (rows % k, rows // k) if self._by_rows else (rows // i, rows % i)
        left = kernels.gather_rows(self.left.reshape(k * i, j, rank), block * i + place)
        right = self.right.reshape(j, k, rank, width).swapaxes(0, 1)
        found = jnp.einsum("...jp,...jpl->...jl", left, kernels.gather_rows(right, block))
        return _merge(found, j, width, mixed=not self._by_rows)

    def transpose(self) -> "Monarch":
        left, right = (jnp.swapaxes(f, -1, -2) for f in (self.right, self.left))
        return Monarch(left, right, "columns" if self._by_rows else "rows")

    def to_dense(self) -> jax.Array:
        k, i, j, width, rank = self._sizes
        left, right = self.left.reshape(k, i, j, rank), self.right.reshape(j, k, rank, width)
        form = "kijp,jkpl->ikjl" if self._by_rows else "kijp,jkpl->kilj"
        return jnp.einsum(form, left, right).reshape(self.shape)

    def flops(self) -> int:
        return kernels.monarch_flops(self.left.shape, self.right.shape)

    def frobenius_norm(self) -> jax.Array:
        k, i, j, width, rank = self._sizes
        wide = wide_dtype(self.dtype)
        left = self.left.astype(wide).reshape(k, i, j, rank)
        right = self.right.astype(wide).reshape(j, k, rank, width)
        first = jnp.einsum("kijp,kijq->kjpq", left.conj(), left)
        second = jnp.einsum("jkpl,jkql->kjpq", right.conj(), right)
        square = jnp.maximum(jnp.sum((first * second).real), 0)
        return jnp.sqrt(square).astype(jnp.finfo(self.dtype).dtype)

    def _times_scalar(self, scalar: jax.Array) -> "Monarch":
        return Monarch(self.left * scalar, self.right, self.interleaved)

    def _solve(self, b: jax.Array) -> jax.Array:
        self._need_square_blocks("solve")
        return self._inverse().matmul(b)

    def _inverse(self) -> "Monarch":
        self._need_square_blocks("inverse")
        left, right = jnp.linalg.inv(self.right), jnp.linalg.inv(self.left)
        return Monarch(left, right, "columns" if self._by_rows else "rows")

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        self._need_square_blocks("slogdet")
        k, i, j, width, rank = self._sizes
        signs, logs = zip(*(jnp.linalg.slogdet(f) for f in (self.left, self.right)), strict=True)
        regroupings = _swaps(k, j) * rank**2  # of runs of r numbers
        regroupings += _swaps(k, i) if self._by_rows else _swaps(j, width)
        sign = jnp.prod(signs[0]) * jnp.prod(signs[1]) * (-1) ** (regroupings % 2)
        return sign, jnp.sum(logs[0]) + jnp.sum(logs[1])

    def _need_square_blocks(self, operation: str) -> None:
        blocks = self.left.shape[-2:], self.right.shape[-2:]
        if any(a != b for a, b in blocks):
            needs = f"square blocks, and these are of shapes {blocks[0]} and {blocks[1]}"
            raise unsupported(self, operation, needs)


class MonarchSpec(Spec):
    """Asks for a Monarch matrix.

    The fit is the exact optimum: a truncated singular value decomposition of each pair of blocks.
    With no size, each side is cut into a number of blocks as near to its square root as its
    divisors allow. With ``compression`` it is the largest within the budget, among the pairs of
    counts that differ by a factor of two at most if any of those fit.

    Attributes:
        blocks: How many blocks the rows and the columns are cut into, or one number for both;
            divisors of the sizes.
        compression: Dense bytes over stored bytes to reach.
        rank: Of the map between each pair of blocks.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Dao et al. (2022), "Monarch: Expressive structured matrices for efficient and accurate
        training", sec. 3.3.
    """

    weighs = (Rows,)
    size_field = "blocks"

    blocks: int | tuple[int, int] | None = None
    compression: float | None = None
    rank: int = 1

    def __post_init__(self) -> None:
        check_size(self, required=False)
        if self.rank < 1:
            raise ValueError(f"Monarch needs a rank of 1 or more; given rank={self.rank}.")
        if self.blocks is None:
            return
        pair = self.blocks if isinstance(self.blocks, tuple) else (self.blocks,) * 2
        pair = tuple(int(count) for count in pair)
        if len(pair) != 2 or min(pair) < 1:
            raise ValueError(
                f"Monarch blocks are one or two positive counts; given blocks={self.blocks}."
            )
        object.__setattr__(self, "blocks", pair)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "MonarchSpec":
        if self.blocks is not None:
            self._check(shape)
            return self
        if self.compression is not None:
            pair = self._largest(shape, dtype)
        else:
            pair = _near_root(shape[0]), _near_root(shape[1])
        made = MonarchSpec(blocks=pair, rank=self.rank)
        made._check(shape)
        return made

    def _check(self, shape: tuple[int, int]) -> None:
        (m, n), (k, j) = shape, self._pair
        if m % k or n % j:
            raise ValueError(
                f"{self} cuts {k} blocks of rows and {j} of columns, which a {m} x {n} matrix does "
                f"not split into: the counts must divide its sizes."
            )
        most = min(m // k, n // j)
        if self.rank > most:
            raise ValueError(
                f"{self} of a {m} x {n} matrix has blocks {m // k} x {n // j}, whose rank is "
                f"{most} at most: ask for fewer blocks or a lower rank."
            )

    @property
    def _pair(self) -> tuple[int, int]:
        assert isinstance(self.blocks, tuple)  # made a pair on construction
        return self.blocks

    def _largest(self, shape: tuple[int, int], dtype: Any) -> tuple[int, int]:
        (m, n), itemsize = shape, jnp.dtype(dtype).itemsize
        bytes_of = {
            (k, j): itemsize * self.rank * (m * j + n * k)
            for k in _divisors(m)
            for j in _divisors(n)
            if self.rank <= min(m // k, n // j)
        }
        if not bytes_of:
            raise ValueError(f"A {m} x {n} matrix has rank {min(m, n)} at most; given {self}.")
        within = [p for p, size in bytes_of.items() if size <= budget(self, shape, dtype)]
        if not within:
            raise too_small(self, shape, dtype, bytes_of[1, 1], f"one block of rank {self.rank}")
        even = [(k, j) for k, j in within if max(k, j) <= 2 * min(k, j)]
        return max(even or within, key=lambda p: (bytes_of[p], -abs(math.log(p[0] / p[1]))))

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Monarch:
        (m, n), (k, j), r = shape, self.sized(shape, dtype)._pair, self.rank
        one, two = jax.random.split(key)
        left = jax.random.normal(one, (k, m // k, j * r), dtype)
        right = jax.random.normal(two, (j, k * r, n // j), dtype)
        scales = jnp.asarray((m // k) ** -0.5, dtype), jnp.asarray((k * r) ** -0.5, dtype)
        return Monarch(left * scales[0], right * scales[1])

    def _fit(self, dense: jax.Array, weights: Any) -> Monarch:
        (m, n), (k, j) = dense.shape, self.sized_for(dense)._pair
        blocks = dense.reshape(k, m // k, n // j, j).transpose(0, 3, 1, 2)
        shares = weights and weights.values.reshape(k, m // k)
        return Monarch(*decompose.nearest_monarch(blocks, self.rank, shares))


def _split(x: jax.Array, blocks: int, size: int, *, mixed: bool) -> jax.Array:
    """Rows ``(..., blocks * size)`` as ``(..., blocks, size)``; ``mixed`` ones are interleaved."""
    if mixed:
        return jnp.swapaxes(x.reshape(*x.shape[:-1], size, blocks), -1, -2)
    return x.reshape(*x.shape[:-1], blocks, size)


def _merge(x: jax.Array, blocks: int, size: int, *, mixed: bool) -> jax.Array:
    """`_split` undone."""
    x = jnp.swapaxes(x, -1, -2) if mixed else x
    return x.reshape(*x.shape[:-2], blocks * size)


def _swaps(a: int, b: int) -> int:
    """Inversions of the order in which an ``(a, b)`` array is read by columns."""
    return (a * (a - 1) // 2) * (b * (b - 1) // 2)


def _near_root(n: int) -> int:
    """The divisor of ``n`` nearest to its square root by ratio, of two the smaller."""
    return min(_divisors(n), key=lambda d: max(d * d / n, n / (d * d)))


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
