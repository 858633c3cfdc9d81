"""Random projections whose entries are computed when they are needed and never stored.

A product makes a few rows at a time inside a loop; its gradient makes them again.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._reductions import wide_dtype

__all__ = ["Projection"]

SCALES = {
    "sign": 1.0,
    "ternary": 2.0**0.5,
    "uniform": (3 / (1 - 2.0**-16)) ** 0.5,
    "normal": 1.0,
}
"""Kind -> what gives an entry variance one."""


class Projection(Matrix):
    """A fixed random matrix that takes no memory: each entry is a hash of its row and column.

    Entries have mean 0 and variance ``1 / m``, so products keep the variance of their input. They
    are the same on every platform; normal ones to the rounding of its logarithm and cosine. There
    is nothing to train or to fit. `flops` counts the product alone; making the entries takes some
    thirty integer operations each.

    Formula: ``W[i, j] = g(hash(i, j, seed)) / sqrt(m)``, where ``g`` gives 1 or -1; or 0 half of
        the time, else ``sqrt(2)`` or ``-sqrt(2)``; or one of 256 numbers in equal steps from
        about ``-sqrt(3)`` to ``sqrt(3)``; or a normal number
    Storage: none
    FLOPs: ``2 m n``, and the hash of every entry
    Rank: ``min(m, n)``, almost surely
    Suits: fixed random features, hashed embeddings, and sketches of what is too wide
    Reference: Achlioptas (2003), "Database-friendly random projections", for signs; Ravi (2017),
        "ProjectionNet", for entries from a hash.

    Attributes:
        rows: ``m``.
        columns: ``n``.
        seed: Which of the random matrices.
        dtype_name: The dtype of its entries by name.
        kind: ``"sign"``, ``"ternary"``, ``"uniform"`` or ``"normal"``.
        flipped: 1 for the transpose of the projection of shape ``(n, m)``, else 0.
    """

    rows: int = static()
    columns: int = static()
    seed: int = static(default=0)
    dtype_name: str = static(default="float32")
    kind: str = static(default="sign")
    flipped: int = static(default=0)

    @classmethod
    def of(
        cls, shape: tuple[int, int], seed: int = 0, kind: str = "sign", dtype: Any = jnp.float32
    ) -> "Projection":
        """A projection of ``shape``.

        Raises:
            ValueError: The sizes are not positive, or there is no such kind or dtype.
        """
        m, n = shape
        if min(m, n) < 1 or max(m, n) >= 2**31:
            raise ValueError(f"A projection has sizes from 1 to 2**31 - 1; given {shape}.")
        if kind not in SCALES:
            raise ValueError(f"A projection is of kind {', '.join(SCALES)}; given {kind!r}.")
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise ValueError(f"A projection has entries of a floating dtype; given {dtype}.")
        return cls(int(m), int(n), int(seed), jax.dtypes.canonicalize_dtype(dtype).name, kind)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.columns

    @property
    def dtype(self) -> np.dtype:
        return jnp.dtype(self.dtype_name)

    def astype(self, dtype: Any) -> "Projection":
        name = jax.dtypes.canonicalize_dtype(dtype).name
        return dataclasses.replace(self, dtype_name=name)

    def conj(self) -> "Projection":
        return self

    def rmatmul(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        numbers = self._parts()
        dtype = jnp.result_type(x, self.dtype)
        padding = [(0, 0)] * (x.ndim - 1) + [(0, numbers.size - self.rows)]
        parts = jnp.pad(x.astype(dtype), padding).reshape(*x.shape[:-1], *numbers.shape)

        @jax.checkpoint
        def add(total: jax.Array, part: Any) -> tuple[jax.Array, None]:
            rows, values = part
            return total + values @ self._take(rows).astype(dtype), None

        zero = kernels.zeros_beside(x, jnp.zeros(self.columns, dtype))
        return jax.lax.scan(add, zero, (numbers, jnp.moveaxis(parts, -2, 0)))[0]

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        dtype = jnp.result_type(x, self.dtype)
        wide = x.astype(dtype)

        @jax.checkpoint
        def against(rows: jax.Array) -> jax.Array:
            return wide @ self._take(rows).astype(dtype).T

        numbers = self._parts()
        parts = jax.lax.map(against, numbers)
        found = jnp.moveaxis(parts, 0, -2).reshape(*x.shape[:-1], numbers.size)
        return found[..., : self.rows]

    def _parts(self) -> jax.Array:
        """Row numbers, a few in each row of ``(parts, few)``; the last go beyond ``m``."""
        few = max(1, min(self.rows // 4, 65536 // self.columns))
        parts = -(-self.rows // few)
        return jnp.arange(parts * few, dtype=jnp.int32).reshape(parts, few)

    def _take(self, rows: jax.Array) -> jax.Array:
        pair = rows[..., None], jnp.arange(self.columns, dtype=jnp.int32)
        first, second = pair[::-1] if self.flipped else pair
        words = kernels.hash_words(first, second, self.seed)
        scale = SCALES[self.kind] * (self.columns if self.flipped else self.rows) ** -0.5
        entries = kernels.HASH_ENTRIES[self.kind](words).astype(self._real)
        return (entries * scale).astype(self.dtype)

    @property
    def _real(self) -> Any:
        return jnp.finfo(wide_dtype(self.dtype)).dtype

    def transpose(self) -> "Projection":
        flipped = 1 - self.flipped
        return dataclasses.replace(self, rows=self.columns, columns=self.rows, flipped=flipped)

    def to_dense(self) -> jax.Array:
        return self._take(jnp.arange(self.rows, dtype=jnp.int32))

    def flops(self) -> int:
        return 2 * self.rows * self.columns
