"""Doped structures: any structured host plus a very sparse co-matrix."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._base import Matrix
from structlin.matrices._kronecker import Kron
from structlin.matrices._kronecker_shapes import Shapes, full_rank_shapes, largest_within
from structlin.matrices._masked import Masked
from structlin.matrices._sparse_spec import SparseSpec, check_density, slot_bytes
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._sum import Sum
from structlin.matrices._weights import Rows

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

    weighs = (Rows,)
    size_field = "density"

    host: Spec
    density: float | None = None
    compression: float | None = None
    anneal: bool = False

    def __post_init__(self) -> None:
        if self.density is None and self.compression is None:
            object.__setattr__(self, "compression", 10.0)
        check_size(self, required=True)
        check_density(self)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "Doped":
        host = self.host.sized(shape, dtype)
        density = self.density
        if density is None:
            unit, taken = slot_bytes(shape, dtype), host.cost(shape, dtype).bytes
            slots = (budget(self, shape, dtype) - taken) // unit
            if slots < 1:
                what = f"{host} and one entry in each column"
                raise too_small(self, shape, dtype, taken + unit, what)
            density = min(slots / shape[0], 1.0)
        density = SparseSpec(density).sized(shape, dtype).density
        return Doped(host, density, anneal=self.anneal)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        size = self.sized(shape, dtype)
        host, co = jax.random.split(key)
        sparse = SparseSpec(size.density, anneal=self.anneal).init(co, shape, dtype)
        # A tenth of the host's scale: the sum keeps its variance, and structure comes first.
        small = Masked(sparse.values * jnp.asarray(0.1, dtype), sparse.density)
        return Sum.of(size.host.init(host, shape, dtype), small)

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        size = self.sized_for(dense)
        density = size.density or 1.0
        if self.anneal:
            structured = size.host.fit(dense, weights)
            rest = dense - structured.to_dense()
        else:
            structured, rest = decompose.structured_plus_sparse(
                dense, lambda d: size.host.fit(d, weights), lambda s: s.to_dense(), density
            )
        return Sum.of(structured, Masked(rest, density))


class DopedKron(Spec):
    """Asks for a Kronecker product plus a sparse co-matrix: `Doped` with a `Kron` host.

    Attributes:
        compression: As in `Doped`.
        density: As in `Doped`.
        shapes: The shapes of the Kronecker factors. If not given, they are the largest of full rank
            within a tenth of the budget of ``compression``, at least the smallest of full rank.
        anneal: As in `Doped`.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Thakker et al. (2021), "Doped structures for recurrent neural networks".
    """

    weighs = (Rows,)
    size_field = "density"

    compression: float | None = None
    density: float | None = None
    shapes: Shapes | None = None
    anneal: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", Kron(shapes=self.shapes).shapes)
        checked = Doped(Kron(), self.density, self.compression, self.anneal)
        object.__setattr__(self, "compression", checked.compression)

    def _doped(self, shape: tuple[int, ...], dtype: Any) -> Doped:
        return Doped(self._host(shape, dtype), self.density, self.compression, self.anneal)

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
        return DopedKron(density=density, shapes=shapes, anneal=self.anneal)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        return self._doped(shape, dtype).init(key, shape, dtype)

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        return self._doped(dense.shape, dense.dtype).fit(dense, weights)
