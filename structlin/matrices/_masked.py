"""The training form of a sparse matrix: dense values whose pruned entries are exactly zero."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.matrices._base import Matrix, static
from structlin.matrices._sparse import Sparse, index_dtype

__all__ = ["Masked"]


class Masked(Matrix):
    """Dense values, most of which training brings to exactly zero.

    There is no mask to multiply by: `structlin.train.sparsify` leaves exact zeros, and `pack`
    stores the rest.

    Attributes:
        values: ``(m, n)``.
        density: The share of each column's entries to keep at the end of training, in 0 to 1.
    """

    label = "sparse"

    values: jax.Array
    density: float = static(default=1.0)

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.values.shape[-2:]
        return m, n

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return x @ self.values

    def _take(self, rows: jax.Array) -> jax.Array:
        return jnp.asarray(self.values)[rows]

    def transpose(self) -> "Masked":
        return Masked(self.values.T, 1.0)

    def to_dense(self) -> jax.Array:
        return self.values

    def flops(self) -> int:
        m, n = self.shape
        return 2 * m * n

    def pack(self) -> Sparse:
        """The nonzero entries, padded to the fullest column.

        Padding names real rows that the column does not use, with the value zero, so that a packed
        matrix can be trained further.

        Raises:
            TypeError: Under ``jit``, where the zeros are not known.
        """
        m, n = self.shape
        if isinstance(self.values, jax.ShapeDtypeStruct):  # only the size is asked for
            slots = max(1, round(self.density * m))
            return Sparse(_like(self.values, (slots, n)), _like(index_dtype(m), (slots, n)), m)
        if isinstance(self.values, Tracer):
            raise TypeError(
                "pack counts exact zeros, which a traced matrix does not have: call it outside jit."
            )
        if self.values.ndim != 2:
            raise ValueError(f"pack takes one matrix at a time; given values {self.values.shape}.")
        values = np.asarray(self.values)
        used = values != 0
        slots = max(1, int(used.sum(axis=0).max(initial=0)))
        wanted = max(1, round(self.density * m))
        if slots > wanted:
            warnings.warn(
                f"A column of this {m} x {n} sparse matrix has {slots} nonzero entries where "
                f"{wanted} were asked for, and all are padded to the fullest: train it under "
                "structlin.train.sparsify to the end of its schedule before packing.",
                stacklevel=2,
            )
        rows = np.argsort(~used, axis=0, kind="stable")[:slots]
        return Sparse(
            jnp.asarray(np.take_along_axis(values, rows, axis=0)),
            jnp.asarray(rows.astype(index_dtype(m))),
            m,
        )


def _like(dtype: Any, shape: tuple[int, int]) -> Any:
    return jax.ShapeDtypeStruct(shape, getattr(dtype, "dtype", dtype))
