"""Sparse matrices by magnitude, as a spec; trained as `Masked`, packed as `Sparse`."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._masked import Masked, parse_pattern
from structlin.matrices._sparse import index_dtype
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._weights import Fisher, Rows

__all__ = ["SparseSpec", "check_pruning", "importance", "slot_bytes"]


def slot_bytes(shape: tuple[int, int], dtype: Any, block: tuple[int, int] = (1, 1)) -> int:
    """What one more entry in every column, or block in every block column, adds when packed."""
    (m, n), (r, c) = shape, block
    return n // c * (r * c * jnp.dtype(dtype).itemsize + index_dtype(m // r).itemsize)


def check_pruning(spec: Any) -> None:
    """That a given density is a share and the blocks have a size; sets what is left open."""
    name = spec.spec_name()
    if spec.density is None and spec.compression is None:
        object.__setattr__(spec, "compression", 10.0)
    check_size(spec, required=True)
    if spec.density is not None and not 0 < spec.density <= 1:
        raise ValueError(f"{name}: density must be in (0, 1]; given {spec.density}.")
    sizes = tuple(spec.block) if isinstance(spec.block, tuple | list) else ()
    if len(sizes) != 2 or any(not isinstance(s, int) or s < 1 for s in sizes):
        raise ValueError(
            f"{name}: block is (rows, columns), two positive integers; given {spec.block!r}."
        )
    object.__setattr__(spec, "block", sizes)


def importance(weights: Any) -> jax.Array | None:
    """The weight of each entry, ``(m, 1)`` or ``(m, n)``; ``None`` where all weigh alike."""
    if weights is None:
        return None
    return weights.values[:, None] if isinstance(weights, Rows) else weights.values


class SparseSpec(Spec):
    """Asks for a sparse matrix that keeps the largest entries of each column.

    Attributes:
        density: The share of each column's entries to keep, in (0, 1].
        compression: Dense bytes over packed bytes to reach, indices counted; 10 if neither is
            given.
        block: ``(r, c)``: whole blocks of ``r`` rows and ``c`` columns are kept or pruned, by the
            sum of their squares; those of one block column compete. `BlockSparse` when packed.
        pattern: ``"N:M"``, such as ``"2:4"``: the ``N`` largest of every ``M`` neighbouring rows of
            a column (the input axis of ``x @ W``) stay, which sets the size. `NMSparse` when
            packed.
        anneal: Whether `init` and `fit` leave all entries in place, for `structlin.train.sparsify`
            to prune to ``density`` while the model trains. Otherwise they prune at once: `fit` by
            magnitude, `init` at random.

    Raises:
        ValueError: Two sizes are given, or one that makes no sense.

    Reference:
        Zhu and Gupta (2017), "To prune, or not to prune". There all entries of a tensor compete;
        here those of a column do, so that packing needs no padding. Patterns: Mishra et al. (2021),
        "Accelerating sparse deep neural networks".
    """

    weighs = (Rows, Fisher)
    size_field = "density"

    density: float | None = None
    compression: float | None = None
    block: tuple[int, int] = (1, 1)
    pattern: str | None = None
    anneal: bool = False

    def __post_init__(self) -> None:
        if self.pattern is None:
            check_pruning(self)
            return
        found = re.fullmatch(r"(\d+):(\d+)", self.pattern)
        kept, group = map(int, found.groups()) if found else (0, 0)
        if not 1 <= kept <= group or not 2 <= group <= 256:
            raise ValueError(
                "Sparse: pattern is 'N:M' with N of M rows kept, N at most M and M 2 to 256; given "
                f"{self.pattern!r}."
            )
        if self.density is not None or self.compression is not None:
            raise ValueError(
                f"Sparse: the pattern {self.pattern} sets the size: leave out density and "
                "compression."
            )
        if tuple(self.block) != (1, 1):
            raise ValueError(f"Sparse takes a pattern or blocks, not both; given {self}.")
        object.__setattr__(self, "block", (1, 1))

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "SparseSpec":
        (m, n), (r, c) = shape, self.block
        if self.pattern is not None:
            if m % parse_pattern(self.pattern)[1]:
                raise ValueError(
                    f"{self} needs rows that M divides; the matrix is {m} x {n}. Pad the rows or "
                    "choose another pattern."
                )
            return self
        if m % r or n % c:
            raise ValueError(
                f"{self} needs blocks that tile the matrix: {r} must divide its {m} rows and {c} "
                f"its {n} columns."
            )
        rows, density = m // r, self.density
        if density is None:
            unit = slot_bytes(shape, dtype, self.block)
            slots = min(budget(self, shape, dtype) // unit, rows)
            if slots < 1:
                what = "one entry in each column" if rows == m else "one block in each block column"
                raise too_small(self, shape, dtype, unit, what)
        else:
            slots = max(1, round(density * rows))
        return dataclasses.replace(self, density=slots / rows, compression=None)

    def masked(self, values: jax.Array) -> Masked:
        """The training form of ``values``; this spec is one that `sized` made."""
        kept, group = parse_pattern(self.pattern or "")
        density = kept / group if group else self.density or 1.0
        return Masked(values, density, self.block, self.pattern or "")

    def mask(self, score: jax.Array) -> jax.Array:
        """Marks what stays of ``score``, ``(m, n)``; this spec is one that `sized` made."""
        if self.pattern is not None:
            return decompose.nm_mask(score, *parse_pattern(self.pattern))
        return decompose.block_magnitude_mask(score, self.density or 1.0, self.block)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Masked:
        size = self.sized(shape, dtype)
        values, support = jax.random.split(key)
        drawn = jax.nn.initializers.lecun_normal()(values, shape, dtype)
        if self.anneal:
            return size.masked(drawn)
        # Random places, and a variance that makes up for the empty ones.
        kept = size.mask(jax.random.uniform(support, shape))
        scale = jnp.asarray(size.masked(drawn).density ** -0.5, dtype)
        return size.masked(jnp.where(kept, drawn * scale, 0))

    def _fit(self, dense: jax.Array, weights: Any) -> Masked:
        size, weight = self.sized_for(dense), importance(weights)
        if self.anneal:
            return size.masked(dense)
        score = dense
        if weight is not None:
            score = dense * jnp.sqrt(weight).astype(dense.dtype)
        return size.masked(jnp.where(size.mask(score), dense, 0))
