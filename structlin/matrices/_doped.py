"""Doped structures: any structured host plus a very sparse co-matrix."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._base import Matrix
from structlin.matrices._kron_spec import Kron
from structlin.matrices._kronecker_shapes import Shapes, full_rank_shapes, largest_within
from structlin.matrices._sparse_spec import SparseSpec, check_pruning, importance, slot_bytes
from structlin.matrices._spec import Spec, budget, too_small
from structlin.matrices._sum import Sum
from structlin.matrices._weights import Fisher, Rows

__all__ = ["Doped", "DopedKron"]

HOST_SHARE = 0.1
"""The share of a doped Kronecker product's bytes that its host may take when it is not told."""


class Doped(Spec):
    """Asks for a structured matrix plus a sparse co-matrix for the few weights that break it.

    Attributes:
        host: How the structured part is made; its size is its own.
        density: The share of each column's entries that the co-matrix keeps, in (0, 1].
        compression: Dense bytes over packed bytes of both parts, indices counted: the co-matrix
            takes what the host leaves; 10 if neither is given.
        block: ``(r, c)``: the co-matrix keeps whole blocks of ``r`` rows and ``c`` columns, which
            are faster at inference and fit less well.
        anneal: Whether the co-matrix starts with all entries, for `structlin.train.sparsify` to
            prune to ``density`` while the model trains: `fit` is then exact. Otherwise it starts
            pruned.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Thakker et al. (2021), "Doped structures for recurrent neural networks", eq. 1, for any
        host. There all entries of the co-matrix compete; here those of a column do, so that packing
        needs no padding.
    """

    weighs = (Rows, Fisher)
    size_field = "density"

    host: Spec
    density: float | None = None
    compression: float | None = None
    block: tuple[int, int] = (1, 1)
    anneal: bool = False

    def __post_init__(self) -> None:
        check_pruning(self)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "Doped":
        host, density = self.host.sized(shape, dtype), self.density
        if density is None:
            SparseSpec(1.0, block=self.block).sized(shape, dtype)  # the blocks tile the matrix
            unit = slot_bytes(shape, dtype, self.block)
            taken = host.cost(shape, dtype).bytes
            slots = (budget(self, shape, dtype) - taken) // unit
            if slots < 1:
                what = f"{host} and one {'entry' if self.block == (1, 1) else 'block'} a column"
                raise too_small(self, shape, dtype, taken + unit, what)
            density = min(slots * self.block[0] / shape[0], 1.0)
        density = SparseSpec(density, block=self.block).sized(shape, dtype).density
        return Doped(host, density, block=self.block, anneal=self.anneal)

    def _co(self) -> SparseSpec:
        return SparseSpec(self.density, block=self.block, anneal=self.anneal)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        size = self.sized(shape, dtype)
        host, co = jax.random.split(key)
        # A tenth of the host's scale: the sum keeps its variance, and structure comes first.
        small = size._co().init(co, shape, dtype) * 0.1
        return Sum.of(size.host.init(host, shape, dtype), small)

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        size = self.sized_for(dense)
        co = size._co()
        if self.anneal:
            structured = size.host.fit(dense, weights)
            rest = dense - structured.to_dense()
        else:
            structured, rest = decompose.structured_plus_sparse(
                dense,
                lambda d: size.host.fit(d, weights),
                lambda s: s.to_dense(),
                size.density or 1.0,
                weights=importance(weights),
                mask=co.mask,
            )
        return Sum.of(structured, co.masked(rest))


class DopedKron(Spec):
    """Asks for a Kronecker product plus a sparse co-matrix: `Doped` with a `Kron` host.

    Attributes:
        compression: As in `Doped`.
        density: As in `Doped`.
        block: As in `Doped`.
        shapes: The shapes of the Kronecker factors. If not given, they are the largest of full rank
            within a tenth of the budget of ``compression``, at least the smallest of full rank.
        anneal: As in `Doped`.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Thakker et al. (2021), "Doped structures for recurrent neural networks".
    """

    weighs = (Rows, Fisher)
    size_field = "density"

    compression: float | None = None
    density: float | None = None
    block: tuple[int, int] = (1, 1)
    shapes: Shapes | None = None
    anneal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", Kron(shapes=self.shapes).shapes)
        check_pruning(self)

    def _doped(self, shape: tuple[int, ...], dtype: Any) -> Doped:
        host = self._host(shape, dtype)
        return Doped(host, self.density, self.compression, self.block, self.anneal)

    def _host(self, shape: tuple[int, ...], dtype: Any) -> Kron:
        m, n = shape
        if self.shapes is not None or self.compression is None:
            return Kron(shapes=self.shapes).sized((m, n), dtype)
        most = HOST_SHARE * budget(self, (m, n), dtype) / jnp.dtype(dtype).itemsize
        choices = full_rank_shapes(m, n, 2)
        return Kron(shapes=largest_within(choices, most) or choices[0])

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "DopedKron":
        density = self._doped(shape, dtype).sized(shape, dtype).density
        shapes = self._host(shape, dtype).shapes
        return DopedKron(None, density, self.block, shapes, self.anneal)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        return self._doped(shape, dtype).init(key, shape, dtype)

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        return self._doped(dense.shape, dense.dtype).fit(dense, weights)
