"""Matrices side by side, such as one for each gate of a recurrent layer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec
from structlin.matrices._transposed import Transposed
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["ColumnBlocks", "PerGate"]


class ColumnBlocks(Matrix):
    """``[blocks[0] | blocks[1] | ...]``.

    Formula: ``W = [B_1 | B_2 | ... | B_k]``
    Storage: that of the blocks
    FLOPs: those of the blocks
    Rank: at most the sum of the blocks'
    Suits: stacked kernels, such as the gates of a recurrent layer

    Attributes:
        blocks: Matrices with equally many rows.
    """

    blocks: tuple[Matrix, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.blocks[0].shape[0], sum(b.shape[1] for b in self.blocks)

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([b.rmatmul(x) for b in self.blocks], axis=-1)

    def _program(self) -> kernels.native.Program | None:
        return kernels.native.column_program(b._program() for b in self.blocks)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        ends = np.cumsum([b.shape[1] for b in self.blocks])[:-1]
        parts = jnp.split(x, ends, axis=-1)
        pairs = zip(self.blocks, parts, strict=True)
        return functools.reduce(jnp.add, (b.rmatmul_transposed(p) for b, p in pairs))

    def _take(self, rows: jax.Array) -> jax.Array:
        return jnp.concatenate([b._take(rows) for b in self.blocks], axis=-1)

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        return jnp.concatenate([b.to_dense() for b in self.blocks], axis=-1)

    def flops(self) -> int:
        return sum(b.flops() for b in self.blocks)

    def frobenius_norm(self) -> jax.Array:
        norms = (b.astype(wide_dtype(b.dtype)).frobenius_norm() for b in self.blocks)
        return jnp.linalg.norm(jnp.stack(list(norms))).astype(jnp.finfo(self.dtype).dtype)


class PerGate(Spec):
    """Asks for one matrix of the inner kind for each gate of a recurrent kernel, side by side.

    Attributes:
        inner: How each gate's matrix is made; a compression means the same for each and for all.
        gates: How many equal parts the columns fall into: 4 for an LSTM, 3 for a GRU.

    Raises:
        ValueError: ``gates`` is less than one.
    """

    weighs = (Rows, Fisher, Covariance)

    inner: Spec
    gates: int = 4

    def __post_init__(self) -> None:
        if self.gates < 1:
            raise ValueError(f"PerGate needs at least one gate; given {self}.")

    def _gate_shape(self, shape: tuple[int, ...]) -> tuple[int, int]:
        m, n = shape
        if n % self.gates:
            raise ValueError(f"{self} does not divide the {n} columns of a {m} x {n} matrix.")
        return m, n // self.gates

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "PerGate":
        return PerGate(self.inner.sized(self._gate_shape(shape), dtype), self.gates)

    def init(
        self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32
    ) -> ColumnBlocks:
        gate, keys = self._gate_shape(shape), jax.random.split(key, self.gates)
        return ColumnBlocks(tuple(self.inner.init(k, gate, dtype) for k in keys))

    def _fit(self, dense: jax.Array, weights: Any) -> ColumnBlocks:
        self._gate_shape(dense.shape)
        gates = jnp.split(dense, self.gates, axis=1)
        shares = [weights] * self.gates
        if isinstance(weights, Fisher):
            shares = [Fisher(v) for v in jnp.split(weights.values, self.gates, axis=1)]
        pairs = zip(gates, shares, strict=True)
        return ColumnBlocks(tuple(self.inner.fit(g, w) for g, w in pairs))
