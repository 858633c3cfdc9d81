"""The training form of a sparse matrix: dense values whose pruned entries are exactly zero."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._block_sparse import BlockSparse
from structlin.matrices._nm_sparse import NMSparse
from structlin.matrices._sparse import Sparse, index_dtype, norm_of

__all__ = ["Masked", "parse_pattern"]


class Masked(Matrix):
    """Dense values, most of which training brings to exactly zero.

    There is no mask to multiply by: `structlin.train.sparsify` leaves exact zeros, and `pack`
    stores the rest.

    Formula: ``W[i, j]``
    Storage: ``m n`` numbers until it is packed
    FLOPs: ``2 m n`` until it is packed
    Rank: up to ``min(m, n)``
    Suits: training a sparse matrix; `pack` makes `Sparse`, `BlockSparse` or `NMSparse` of it

    Attributes:
        values: ``(m, n)``.
        density: The share of each column's entries (of each block column's blocks) to keep at the
            end of training, in 0 to 1.
        block: ``(r, c)``: the rows and columns of the blocks that are kept or pruned whole.
        pattern: ``"N:M"`` where ``N`` of every ``M`` neighbouring rows of a column stay; else
            empty.
    """

    label = "sparse"

    values: jax.Array
    density: float = static(default=1.0)
    block: tuple[int, int] = static(default=(1, 1))
    pattern: str = static(default="")

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.values.shape[-2:]
        return m, n

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return x @ self.values

    def _take(self, rows: jax.Array) -> jax.Array:
        return kernels.gather_rows(self.values, rows)

    def transpose(self) -> "Masked":
        return Masked(self.values.T, 1.0)

    def to_dense(self) -> jax.Array:
        return self.values

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        rows, columns = jnp.nonzero(self.values)
        return rows, columns, self.values[rows, columns]

    def flops(self) -> int:
        m, n = self.shape
        return 2 * m * n

    def diagonal(self) -> jax.Array:
        return jnp.diagonal(self.values)

    def frobenius_norm(self) -> jax.Array:
        return norm_of(self.values)

    def _times_scalar(self, scalar: jax.Array) -> Matrix:
        return Masked(self.values * scalar, self.density, self.block, self.pattern)

    def pack(self) -> Sparse | BlockSparse | NMSparse:
        """The nonzero entries, padded to the fullest column, block column or group of rows.

        Padding names real rows that the column does not use, with the value zero, so that a packed
        matrix can be trained further.

        Raises:
            TypeError: Under ``jit``, where the zeros are not known.
        """
        (m, n), (kept, group) = self.shape, parse_pattern(self.pattern)
        if isinstance(self.values, Tracer):
            raise TypeError(
                "pack counts exact zeros, which a traced matrix does not have: call it outside jit."
            )
        if self.values.ndim != 2:
            raise ValueError(f"pack takes one matrix at a time; given values {self.values.shape}.")
        # Units (groups or blocks) compete along axis 1: (1, m, n), (1, m / r, n / c), (m / M, M, n)
        r, c = self.block
        axes = (m // group, group, 1, n, 1) if group else (1, m // r, r, n // c, c)
        wanted = kept if group else max(1, round(self.density * (m // r)))
        if isinstance(self.values, jax.ShapeDtypeStruct):  # only the size is asked for
            like = jax.ShapeDtypeStruct((axes[0], wanted, axes[3], r, c), self.values.dtype)
            places = jax.ShapeDtypeStruct(like.shape[:3], np.int32)
            return jax.eval_shape(self._packed, like, places)
        values = np.asarray(self.values).reshape(axes)
        used = (values != 0).any(axis=(2, 4))
        slots = max(1, int(used.sum(axis=1).max(initial=0)))
        if slots > wanted:
            self._warn(slots, wanted)
        places = np.argsort(~used, axis=1, kind="stable")[:, :slots]
        picked = np.take_along_axis(values.swapaxes(2, 3), places[..., None, None], axis=1)
        return self._packed(jnp.asarray(picked), jnp.asarray(places))

    def _packed(self, values: jax.Array, places: jax.Array) -> Any:
        """The packed matrix of ``values`` ``(groups, slots, units, r, c)`` at ``places``."""
        (m, _), (_, group), (r, _) = self.shape, parse_pattern(self.pattern), self.block
        if group:
            codes = kernels.pack_bits(places, (group - 1).bit_length())
            return NMSparse(values[..., 0, 0], codes, group)
        indices = places[0].astype(index_dtype(m // r))
        if self.block == (1, 1):
            return Sparse(values[0, ..., 0, 0], indices, m)
        return BlockSparse(values[0], indices, m)

    def _warn(self, slots: int, wanted: int) -> None:
        m, n = self.shape
        where, what = "column", "nonzero entries"
        if self.pattern:
            where = "group of rows"
        elif self.block != (1, 1):
            where, what = "block column", "nonzero blocks"
        warnings.warn(
            f"A {where} of this {m} x {n} sparse matrix has {slots} {what} where {wanted} were "
            "asked for, and all are padded to the fullest: train it under "
            "structlin.train.sparsify to the end of its schedule before packing.",
            stacklevel=3,
        )


def parse_pattern(pattern: str) -> tuple[int, int]:
    """``N`` and ``M`` of ``"N:M"``; zeros of an empty pattern."""
    kept, _, group = pattern.partition(":")
    return (int(kept), int(group)) if pattern else (0, 0)
