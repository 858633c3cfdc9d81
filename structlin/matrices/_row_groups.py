"""Groups of rows, each a matrix of its own, such as frequent and rare words."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._permuted import _order, _order_back
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._transposed import Transposed

__all__ = ["RowGroups", "label_bytes"]

MOST = 256
"""So many groups have labels of a byte."""

BLOCK = 128
"""So many rows share one count of the rows before them."""


class RowGroups(Matrix):
    """Matrices one above the other, their rows in the order that a label of each gives.

    Within its group a row keeps its place, so a label is all that must be known of it: two or three
    bits where an order would take an integer. A table of counts finds the place of a row among
    those of its group from the labels of the ``128`` around it alone.

    Formula: ``W[i] = groups[l_i][#{k < i: l_k = l_i}]``
    Storage: that of the groups, ``ceil(log2 p)`` bits a row for ``p`` groups, and ``p`` integers
        for each 128 rows; no labels where the rows stand as they are grouped
    FLOPs: those of the groups, and ``n`` to add each
    Rank: up to the sum of the groups' ranks
    Suits: tables of words, where frequent rows deserve more numbers or more bits than rare ones

    Attributes:
        groups: Matrices with equally many columns.
        labels: The group of each row in a stream of bits, bytes; ``None`` where rows stand as they
            are grouped.
        starts: For each block of rows and each group the place, among the rows of all groups, of
            the first row of the group at or after the start of the block, ``(blocks, groups)``.
    """

    groups: tuple[Matrix, ...]
    labels: jax.Array | None = None
    starts: jax.Array | None = None

    @classmethod
    def of(cls, groups: Any, labels: Any = None) -> "RowGroups":
        """The groups with rows in the order of ``labels``, ``(m,)`` integers below their number.

        Raises:
            ValueError: A group has another number of rows than there are labels for it, or there
                are more than 256 groups.
        """
        groups = tuple(groups)
        sizes = [g.shape[0] for g in groups]
        if labels is None:
            return cls(groups)
        known = np.asarray(labels)
        counted = np.bincount(known, minlength=len(groups)).tolist()
        if counted != sizes or len(groups) > MOST:
            raise ValueError(
                f"RowGroups needs a label for each row of at most {MOST} groups; given "
                f"groups of {sizes} rows and labels that name them {counted} times."
            )
        if np.all(known[1:] >= known[:-1]):
            return cls(groups)
        return cls(groups, *_stored(known, sizes))

    @property
    def shape(self) -> tuple[int, int]:
        return sum(g.shape[0] for g in self.groups), self.groups[0].shape[1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        ends = np.cumsum([g.shape[0] for g in self.groups])[:-1]
        parts = jnp.split(_order_back(x, self._order()), ends, axis=-1)
        pairs = zip(self.groups, parts, strict=True)
        return functools.reduce(jnp.add, (g.rmatmul(p) for g, p in pairs))

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        y = jnp.concatenate([g.rmatmul_transposed(x) for g in self.groups], axis=-1)
        return _order(y, self._order())

    def _take(self, rows: jax.Array) -> jax.Array:
        places, start, parts = self._places(rows), 0, []
        for group in self.groups:
            size = group.shape[0]
            own = (places >= start) & (places < start + size)
            picked = group._take(jnp.clip(places - start, 0, size - 1))
            parts.append(jnp.where(own[..., None], picked, 0))
            start += size
        return functools.reduce(jnp.add, parts)

    def _places(self, rows: jax.Array) -> jax.Array:
        """Where ``rows`` stand among the rows of all groups."""
        if self.labels is None or self.starts is None:
            return rows
        m, bits = self.shape[0], _bits(len(self.groups))
        block, inside = rows // BLOCK, rows % BLOCK
        near = block[..., None] * BLOCK + jnp.arange(BLOCK, dtype=rows.dtype)
        labels = kernels.unpack_bits_at(self.labels, bits, jnp.minimum(near, m - 1))
        own = jnp.take_along_axis(labels, inside[..., None], axis=-1)
        earlier = jnp.arange(BLOCK, dtype=rows.dtype) < inside[..., None]
        before = jnp.sum((labels == own) & earlier, axis=-1, dtype=jnp.int32)
        cells = block * len(self.groups) + own[..., 0].astype(rows.dtype)
        return kernels.gather_rows(self.starts.reshape(-1), cells).astype(jnp.int32) + before

    def _order(self) -> jax.Array | None:
        """Where each row stands among the rows of all groups, ``(m,)``."""
        if self.labels is None:
            return None
        m = self.shape[0]
        labels = kernels.unpack_bits(self.labels, _bits(len(self.groups)), m)
        places, start = jnp.zeros(m, jnp.int32), 0
        for p, group in enumerate(self.groups):
            own = labels == p
            counted = jnp.cumsum(own, dtype=jnp.int32) + jnp.int32(start - 1)
            places = jnp.where(own, counted, places)
            start += group.shape[0]
        return places

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        dense = jnp.concatenate([g.to_dense() for g in self.groups], axis=-2)
        order = self._order()
        return dense if order is None else dense[order]

    def flops(self) -> int:
        return sum(g.flops() for g in self.groups) + (len(self.groups) - 1) * self.shape[1]

    def frobenius_norm(self) -> jax.Array:
        norms = (g.astype(wide_dtype(g.dtype)).frobenius_norm() for g in self.groups)
        return jnp.linalg.norm(jnp.stack(list(norms))).astype(jnp.finfo(self.dtype).dtype)

    def _times_scalar(self, scalar: jax.Array) -> "RowGroups | None":
        scaled = [g._times_scalar(scalar) for g in self.groups]
        if any(g is None for g in scaled):
            return None
        return RowGroups(tuple(g for g in scaled if g is not None), self.labels, self.starts)


def label_bytes(rows: int, groups: int) -> int:
    """The bytes of labels and counts for ``rows`` rows."""
    if groups == 1:
        return 0
    counts = -(-rows // BLOCK) * groups * np.min_scalar_type(rows).itemsize
    return kernels.stream_bytes(rows, _bits(groups)) + counts


def _bits(groups: int) -> int:
    return max(1, (groups - 1).bit_length())


def _stored(labels: np.ndarray, sizes: list[int]) -> tuple[jax.Array, jax.Array]:
    m, blocks = len(labels), -(-len(labels) // BLOCK)
    counts = np.zeros((blocks + 1, len(sizes)), np.int64)
    np.add.at(counts, (np.arange(m) // BLOCK + 1, labels), 1)
    first = np.cumsum([0, *sizes[:-1]])
    starts = (first + np.cumsum(counts, axis=0)[:-1]).astype(np.min_scalar_type(m))
    pack = jax.jit(kernels.pack_bits, static_argnums=1)  # as one program: it compiles faster
    stream = pack(labels.astype(np.uint8), _bits(len(sizes)))
    return stream, jnp.asarray(starts)
