"""Sparse matrices by magnitude, as a spec; trained as `Masked`, packed as `Sparse`."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._masked import Masked
from structlin.matrices._sparse import index_dtype
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._weights import Rows

__all__ = ["SparseSpec", "slot_bytes"]


def slot_bytes(shape: tuple[int, int], dtype: Any) -> int:
    """What one more entry in every column adds to a packed matrix, values and indices."""
    m, n = shape
    return n * (jnp.dtype(dtype).itemsize + index_dtype(m).itemsize)


def check_density(spec: Any) -> None:
    """That a given density is a share."""
    if spec.density is not None and not 0 < spec.density <= 1:
        raise ValueError(f"{spec.spec_name()}: density must be in (0, 1]; given {spec.density}.")


class SparseSpec(Spec):
    """Asks for a sparse matrix that keeps the largest entries of each column.

    Attributes:
        density: The share of each column's entries to keep, in (0, 1].
        compression: Dense bytes over packed bytes to reach, indices counted; 10 if neither is
            given.
        anneal: Whether `init` and `fit` leave all entries in place, for `structlin.train.sparsify`
            to prune to ``density`` while the model trains. Otherwise they prune at once: `fit` by
            magnitude, `init` at random.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Zhu and Gupta (2017), "To prune, or not to prune". There all entries of a tensor compete;
        here those of a column do, so that packing needs no padding.
    """

    weighs = (Rows,)
    size_field = "density"

    density: float | None = None
    compression: float | None = None
    anneal: bool = False

    def __post_init__(self) -> None:
        if self.density is None and self.compression is None:
            object.__setattr__(self, "compression", 10.0)
        check_size(self, required=True)
        check_density(self)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "SparseSpec":
        m, _ = shape
        if self.density is not None:
            return SparseSpec(max(1, round(self.density * m)) / m, anneal=self.anneal)
        unit = slot_bytes(shape, dtype)
        slots = min(budget(self, shape, dtype) // unit, m)
        if slots < 1:
            raise too_small(self, shape, dtype, unit, "one entry in each column")
        return SparseSpec(slots / m, anneal=self.anneal)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Masked:
        density = self.sized(shape, dtype).density or 1.0
        values, support = jax.random.split(key)
        drawn = jax.nn.initializers.lecun_normal()(values, shape, dtype)
        if self.anneal:
            return Masked(drawn, density)
        # Random places, and a variance that makes up for the empty ones.
        kept = decompose.magnitude_mask(jax.random.uniform(support, shape), density)
        scale = jnp.asarray(density**-0.5, dtype)
        return Masked(jnp.where(kept, drawn * scale, 0), density)

    def _fit(self, dense: jax.Array, weights: Any) -> Masked:
        density = self.sized_for(dense).density or 1.0
        if self.anneal:
            return Masked(dense, density)
        score = (
            dense
            if weights is None
            else dense * jnp.sqrt(weights.values)[:, None].astype(dense.dtype)
        )
        return Masked(jnp.where(decompose.magnitude_mask(score, density), dense, 0), density)
