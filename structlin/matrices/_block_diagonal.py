"""Block diagonal matrices: parts that do not see each other.

Blocks of one shape are one array, and a product is one batched contraction; others are a tuple.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._dense import Dense
from structlin.matrices._factorizations import need_hermitian
from structlin.matrices._permuted import Permuted
from structlin.matrices._product import Product
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._registry import SQUARE_ALONE, unsupported
from structlin.matrices._sum import Sum

__all__ = ["BlockDiagonal"]


class BlockDiagonal(Matrix):
    """Blocks along the diagonal, of any shapes, and zeros elsewhere.

    Formula: ``W = diag(B_1, B_2, ..., B_k)``
    Storage: that of the blocks: ``m n / k`` numbers where they are alike
    FLOPs: ``2 sum r_i c_i``, or those of the blocks' structures
    Rank: the sum of the blocks'
    Suits: groups of inputs and outputs that belong together, such as heads and grouped layers

    Attributes:
        blocks: One array ``(k, r, c)``, or a tuple of matrices and arrays of any shapes.
    """

    needs = dict.fromkeys(SQUARE_ALONE, "square blocks")

    blocks: jax.Array | tuple[Matrix | jax.Array, ...]

    @classmethod
    def of(cls, *blocks: Matrix | jax.Array) -> "BlockDiagonal":
        """The matrix of these blocks; arrays of one shape become one array."""
        arrays = [b.values if isinstance(b, Dense) else b for b in blocks]
        if all(not isinstance(b, Matrix) for b in arrays) and len({b.shape for b in arrays}) == 1:
            return cls(jnp.stack([jnp.asarray(b) for b in arrays]))
        return cls(tuple(blocks))

    @property
    def _stack(self) -> jax.Array | None:
        return None if isinstance(self.blocks, tuple) else self.blocks

    @property
    def _parts(self) -> tuple[Matrix, ...]:
        return tuple(b if isinstance(b, Matrix) else Dense(b) for b in self.blocks)

    @property
    def _shapes(self) -> list[tuple[int, int]]:
        if isinstance(self.blocks, tuple):
            return [(b.shape[-2], b.shape[-1]) for b in self.blocks]
        count, r, c = self.blocks.shape[-3:]
        return [(r, c)] * count

    @property
    def _square(self) -> bool:
        return all(r == c for r, c in self._shapes)

    @property
    def shape(self) -> tuple[int, int]:
        return sum(r for r, _ in self._shapes), sum(c for _, c in self._shapes)

    def rmatmul(self, x: jax.Array) -> jax.Array:
        if self._stack is None:
            pairs = zip(self._parts, self._split(x, 0), strict=True)
            return jnp.concatenate([b.rmatmul(p) for b, p in pairs], axis=-1)
        return _contract("...br,brc->...bc", x, self._stack)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        if self._stack is None:
            pairs = zip(self._parts, self._split(x, 1), strict=True)
            return jnp.concatenate([b.rmatmul_transposed(p) for b, p in pairs], axis=-1)
        return _contract("...bc,brc->...br", x, self._stack)

    def _matmul(self, v: jax.Array) -> jax.Array:
        if self._stack is None:
            return super()._matmul(v)
        count, _, c = self._stack.shape
        folded = jnp.einsum("brc,bck->brk", self._stack, v.reshape(count, c, v.shape[1]))
        return folded.reshape(self.shape[0], v.shape[1])

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        if self._stack is None:
            return super()._matmul_transposed(v)
        return self.T._matmul(v)

    def _split(self, x: jax.Array, side: int) -> list[jax.Array]:
        """``x`` with its last axis cut into the rows (0) or columns (1) of the blocks."""
        return jnp.split(x, np.cumsum([s[side] for s in self._shapes])[:-1], axis=-1)

    def _take(self, rows: jax.Array) -> jax.Array:
        if self._stack is not None:
            count, r, c = self._stack.shape
            own = kernels.gather_rows(jnp.reshape(self._stack, (count * r, c)), rows)
            place = (rows // r)[..., None] == jnp.arange(count, dtype=rows.dtype)
            spread = jnp.where(place[..., None], own[..., None, :], jnp.zeros((), own.dtype))
            return spread.reshape(*rows.shape, count * c)
        found, start = [], 0
        for block in self._parts:
            local, size = rows - start, block.shape[0]
            own = block._take(jnp.clip(local, 0, size - 1))
            inside = ((local >= 0) & (local < size))[..., None]
            found.append(jnp.where(inside, own, jnp.zeros((), own.dtype)))
            start += size
        return jnp.concatenate(found, axis=-1)

    def transpose(self) -> "BlockDiagonal":
        if self._stack is None:
            return BlockDiagonal(tuple(b.T for b in self._parts))
        return BlockDiagonal(jnp.swapaxes(self._stack, -1, -2))

    def to_dense(self) -> jax.Array:
        return jax.scipy.linalg.block_diag(*(b.to_dense() for b in self._parts))

    def flops(self) -> int:
        if isinstance(self.blocks, tuple):
            return sum(b.flops() for b in self._parts)
        return 2 * sum(r * c for r, c in self._shapes)

    # Numbers about it.

    def diagonal(self) -> jax.Array:
        if not self._square:
            return super().diagonal()
        if self._stack is None:
            return jnp.concatenate([b.diagonal() for b in self._parts])
        return jnp.diagonal(self._stack, axis1=-2, axis2=-1).reshape(-1)

    def frobenius_norm(self) -> jax.Array:
        real = jnp.finfo(self.dtype).dtype
        if self._stack is not None:
            return jnp.linalg.norm(self._stack.astype(wide_dtype(self.dtype)).ravel()).astype(real)
        norms = (b.astype(wide_dtype(b.dtype)).frobenius_norm() for b in self._parts)
        return jnp.linalg.norm(jnp.stack(list(norms))).astype(real)

    def gram(self) -> "BlockDiagonal":
        return self._each(lambda b: b.gram())

    # Merging.

    def _times(self, other: Matrix) -> Matrix | None:
        if not isinstance(other, BlockDiagonal):
            return None
        mine, theirs = self._shapes, other._shapes
        if [c for _, c in mine] != [r for r, _ in theirs]:
            return None
        merged = self._paired(other, lambda a, b: Product.of(a, b))
        return merged if merged.flops() <= self.flops() + other.flops() else None

    def _plus(self, other: Matrix) -> Matrix | None:
        if not isinstance(other, BlockDiagonal) or self._shapes != other._shapes:
            return None
        return self._paired(other, lambda a, b: Sum.of(a, b))

    def _times_scalar(self, scalar: jax.Array) -> "BlockDiagonal":
        return self._each(lambda b: b * scalar)

    def _each(self, function: Callable[[Matrix], Matrix]) -> "BlockDiagonal":
        """``function`` of every block; it makes dense blocks of dense ones."""
        if self._stack is None:
            return BlockDiagonal(tuple(function(b) for b in self._parts))
        return BlockDiagonal(jax.vmap(lambda b: _values(function(Dense(b))))(self._stack))

    def _paired(
        self, other: "BlockDiagonal", function: Callable[[Matrix, Matrix], Matrix]
    ) -> "BlockDiagonal":
        if self._stack is None or other._stack is None:
            pairs = zip(self._parts, other._parts, strict=True)
            return BlockDiagonal(tuple(function(a, b) for a, b in pairs))
        pair = jax.vmap(lambda a, b: _values(function(Dense(a), Dense(b))))
        return BlockDiagonal(pair(self._stack, other._stack))

    # Systems, spectra and functions.

    def _solve(self, b: jax.Array) -> jax.Array:
        self._need_square("solve")
        if self._stack is None:
            parts = np.cumsum([r for r, _ in self._shapes])[:-1]
            pairs = zip(self._parts, jnp.split(b, parts), strict=True)
            return jnp.concatenate([w._solve(p) for w, p in pairs])
        count, r, _ = self._stack.shape
        return jnp.linalg.solve(self._stack, b.reshape(count, r, -1)).reshape(b.shape)

    def _inverse(self) -> "BlockDiagonal":
        self._need_square("inverse")
        return self._each(lambda b: b._inverse())

    def _pinv(self, rtol: float) -> Matrix:
        if self._stack is None:
            return super()._pinv(rtol)  # which compares the singular values of all blocks
        u, s, vh = jnp.linalg.svd(self._stack, full_matrices=False)
        large = s > rtol * jnp.max(s)
        inverse = jnp.where(large, 1 / jnp.where(large, s, 1), 0).astype(self.dtype)
        return BlockDiagonal(_adjoint(vh) * inverse[:, None, :] @ _adjoint(u))

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        self._need_square("slogdet")
        if self._stack is None:
            signs, logs = zip(*(b._slogdet() for b in self._parts), strict=True)
            return jnp.prod(jnp.stack(signs)), jnp.sum(jnp.stack(logs))
        signs, logs = jnp.linalg.slogdet(self._stack)
        return jnp.prod(signs), jnp.sum(logs)

    def _cholesky(self) -> "BlockDiagonal":
        return self._each(lambda b: b._cholesky())

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        if self._stack is None:
            found = [b._eigh() for b in self._parts]
            values = jnp.concatenate([v for v, _ in found])
            vectors = BlockDiagonal(tuple(q for _, q in found))
        else:
            values, stacked = jnp.linalg.eigh(self._stack)
            values, vectors = values.ravel(), BlockDiagonal(stacked)
        order = jnp.argsort(values)
        return values[order], Permuted(vectors, None, order)

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        if self._stack is None:
            us, sizes, vhs = zip(*(b._svd() for b in self._parts), strict=True)
            u, s, vh = BlockDiagonal(us), jnp.concatenate(sizes), BlockDiagonal(vhs)
        else:
            left, s, right = jnp.linalg.svd(self._stack, full_matrices=False)
            u, s, vh = BlockDiagonal(left), s.ravel(), BlockDiagonal(right)
        order = jnp.argsort(-s)
        return Permuted(u, None, order), s[order], Permuted(vh, order, None)

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> Matrix:
        self._need_square(name)
        if self._stack is not None:
            need_hermitian(self, name)  # the blocks are traced below, where none can look
        return self._each(lambda b: b._function(f, name))

    def _exp(self) -> "BlockDiagonal":
        self._need_square("exp")
        return self._each(lambda b: b._exp())

    def _sqrt(self) -> "BlockDiagonal":
        self._need_square("sqrt")
        return self._each(lambda b: b._sqrt())

    def _power(self, exponent: int | float) -> Matrix:
        if not self._square and isinstance(exponent, int):
            return super()._power(exponent)
        self._need_square("power")
        return self._each(lambda b: b._power(exponent))

    def _need_square(self, operation: str) -> None:
        if not self._square:
            raise unsupported(self, operation, f"square blocks; these are {self._shapes}")


def _contract(formula: str, x: Any, blocks: jax.Array) -> jax.Array:
    """A product of rows ``(..., k * r)`` with all blocks at once."""
    count = blocks.shape[0]
    y = jnp.einsum(formula, x.reshape(*x.shape[:-1], count, x.shape[-1] // count), blocks)
    return y.reshape(*x.shape[:-1], y.shape[-2] * y.shape[-1])


def _adjoint(stack: jax.Array) -> jax.Array:
    return jnp.swapaxes(stack, -1, -2).conj()


def _values(matrix: Matrix) -> jax.Array:
    """A small matrix, a block, as an array."""
    return matrix.to_dense()
