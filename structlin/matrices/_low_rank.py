"""Low-rank matrices ``W = left @ right``: two thin products."""

import operator
from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose, kernels
from structlin.matrices._base import Matrix
from structlin.matrices._dense import Dense
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["LowRank", "LowRankSpec", "low_rank_factors", "whole_number"]


class LowRank(Matrix):
    """The product of a tall and a wide matrix.

    Formula: ``W[i, j] = sum_k L[i, k] R[k, j]``
    Storage: ``r (m + n)`` numbers
    FLOPs: ``2 r (m + n)``
    Rank: ``r`` at most
    Suits: smooth and redundant matrices, such as those of wide dense layers

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

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        if x.ndim == 1:  # from this side no transpose is formed, which some compilers would do
            return self.left @ (self.right @ x)
        return (x @ self.right.T) @ self.left.T

    def _matmul(self, v: jax.Array) -> jax.Array:
        return self.left @ (self.right @ v)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return self.right.T @ (self.left.T @ v)

    def _program(self) -> kernels.native.Program | None:
        dense = kernels.native.dense_program
        return kernels.native.chain_program([dense(self.left), dense(self.right)])

    def _take(self, rows: jax.Array) -> jax.Array:
        return kernels.gather_rows(self.left, rows) @ self.right

    def transpose(self) -> "LowRank":
        return LowRank(self.right.T, self.left.T)

    def to_dense(self) -> jax.Array:
        return self.left @ self.right

    def diagonal(self) -> jax.Array:
        k = min(self.shape)
        wide = wide_dtype(self.dtype)
        left, right = self.left[:k].astype(wide), self.right[:, :k].astype(wide)
        return jnp.sum(left * right.T, axis=1).astype(self.dtype)

    def frobenius_norm(self) -> jax.Array:
        wide = wide_dtype(self.dtype)
        size = _frobenius(self.left.astype(wide), self.right.astype(wide))
        return size.astype(jnp.finfo(self.dtype).dtype)

    def gram(self) -> "LowRank":
        inner = (self.left.conj().T @ self.left) @ self.right
        return LowRank(self.right.conj().T, inner)

    def _times(self, other: Matrix) -> "LowRank | None":
        if not isinstance(other, LowRank):
            return None
        inner = self.right @ other.left
        if inner.shape[0] <= inner.shape[1]:
            return LowRank(self.left, inner @ other.right)
        return LowRank(self.left @ inner, other.right)

    def _times_scalar(self, scalar: jax.Array) -> "LowRank":
        return LowRank(self.left * scalar, self.right.astype(scalar.dtype))

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        first, one = jnp.linalg.qr(self.left)
        second, other = jnp.linalg.qr(self.right.conj().T)
        u, s, vh = jnp.linalg.svd(one @ other.conj().T, full_matrices=False)
        return Dense(first @ u), s, Dense(vh @ second.conj().T)

    def flops(self) -> int:
        m, n = self.shape
        return 2 * self.left.shape[-1] * (m + n)


@jax.custom_jvp
def _frobenius(left: jax.Array, right: jax.Array) -> jax.Array:
    """``||left @ right||_F``; by QR, since products of Gram matrices would lose half the digits."""
    one, other = jnp.linalg.qr(left)[1], jnp.linalg.qr(right.conj().T)[1]
    return jnp.linalg.norm(one @ other.conj().T)


@_frobenius.defjvp
def _frobenius_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # Written out, since the derivative of QR is not finite where the rank is not full.
    (left, right), (dleft, dright) = primals, tangents
    size = _frobenius(left, right)
    by_left = jnp.vdot(left @ (right @ right.conj().T), dleft)
    by_right = jnp.vdot((left.conj().T @ left) @ right, dright)
    change = (by_left + by_right).real / jnp.where(size > 0, size, 1)
    return size, change


def whole_number(spec: Any, field: str, least: int) -> None:
    """That a size of a spec is ``None`` or an integer that is not below ``least``."""
    size = getattr(spec, field)
    try:
        fits = size is None or operator.index(size) >= least
    except TypeError:
        fits = False
    if not fits:
        raise ValueError(
            f"{spec.spec_name()} needs a {field} of {least} or more, a whole number "
            f"({field} >= {least}); given {field}={size!r}."
        )


def low_rank_factors(dense: jax.Array, rank: int, weights: Any) -> tuple[jax.Array, jax.Array]:
    """The factors of a low-rank fit under weights of any kind."""
    if isinstance(weights, Fisher):
        return decompose.weighted_low_rank(dense, rank, weights.values)
    if isinstance(weights, Covariance):
        return decompose.truncated_svd(dense, rank, covariance=weights.values)
    return decompose.truncated_svd(dense, rank, weights and weights.values)


class LowRankSpec(Spec):
    """Asks for a low-rank matrix.

    Attributes:
        rank: The inner dimension, at most ``min(m, n)``.
        compression: Dense bytes over stored bytes to reach: the largest rank within the budget.

    Raises:
        ValueError: Not exactly one of the two is given.

    Reference:
        Grachev et al. (2017), "Neural networks compression for language modeling"; the fit is the
        truncated singular value decomposition, the optimum also under `Rows` and `Covariance`.
        Under `Fisher` weights it alternates from such an optimum (Srebro and Jaakkola, 2003).
    """

    weighs = (Rows, Fisher, Covariance)
    size_field = "rank"

    rank: int | None = None
    compression: float | None = None

    def __post_init__(self) -> None:
        check_size(self, required=True)
        whole_number(self, "rank", 1)

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
        return LowRank(*low_rank_factors(dense, rank or 0, weights))
