"""Any matrix with its numbers stored as small codes for a few levels."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from structlin import decompose, kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._cost import Cost
from structlin.matrices._dense import Dense
from structlin.matrices._low_rank import LowRank
from structlin.matrices._spec import Spec
from structlin.matrices._transposed import Transposed
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["Quantized", "QuantizedSpec", "check_codes", "is_coded"]

Shape = tuple[int, ...] | str


class Quantized(Matrix):
    """``inner`` with each of its arrays as codes of ``bits`` bits and a table of levels.

    Every product decodes the arrays of the inner matrix first, so this saves memory and not time.
    What is decoded is as large as the inner matrix stores: of a `Dense` one that is all ``m n``
    numbers; rows of a dense or low-rank one are decoded alone. An array is kept as it is where
    codes and table would take no less. The real and imaginary parts of complex numbers have levels
    and codes of their own.

    Formula: ``W = inner(levels[code_1], levels[code_2], ...)``
    Storage: ``bits / 8`` bytes for each number of the inner matrix, and a table for each array: 2
        numbers (uniform), 1 (symmetric) or ``2**bits``
    FLOPs: those of the inner matrix, and two to decode each number
    Rank: that of the inner matrix
    Suits: files and tables that must be small

    Attributes:
        codes: The inner matrix with streams of codes, bytes ``(size,)``, in place of its arrays.
        tables: For each coded array its levels, as `structlin.decompose.table_of` makes them.
        shapes: The shape of each leaf of ``codes`` when it is decoded; ``""`` for one kept as it
            is.
        bits: The bits of a code, 1 to 8.
        codebook: The kind of the tables.
    """

    codes: Matrix
    tables: tuple[jax.Array, ...]
    shapes: tuple[Shape, ...] = static()
    bits: int = static(default=8)
    codebook: str = static(default="uniform")

    @classmethod
    def of(cls, inner: Matrix, bits: int = 8, codebook: str = "uniform") -> "Quantized":
        """``inner`` with its numbers rounded to the nearest of ``2**bits`` levels for each array.

        Raises:
            ValueError: ``bits`` is not 1 to 8, or ``codebook`` has no such kind.
        """
        check_codes(bits, codebook)
        leaves, form = jax.tree.flatten(inner)
        codes, tables, shapes = [], [], []
        for leaf in leaves:
            stream, table = _coded(jnp.asarray(leaf), bits, codebook)
            kept = table is None
            codes.append(leaf if kept else stream)
            shapes.append("" if kept else tuple(leaf.shape))
            tables += [] if kept else [table]
        return cls(jax.tree.unflatten(form, codes), tuple(tables), tuple(shapes), bits, codebook)

    def decode(self) -> Matrix:
        """The inner matrix with its numbers: what every product works with."""
        tables = iter(self.tables)
        return self._rebuilt(lambda code, shape: self._numbers(code, next(tables), shape))

    def _rebuilt(self, decode: Any) -> Any:
        """The inner matrix with ``decode(code, shape)`` in place of each stream."""
        leaves, form = jax.tree.flatten(self.codes)
        pairs = zip(leaves, self.shapes, strict=True)
        return jax.tree.unflatten(form, [c if s == "" else decode(c, s) for c, s in pairs])

    def _numbers(self, stream: jax.Array, table: jax.Array, shape: Any) -> jax.Array:
        parts = 2 if jnp.iscomplexobj(table) else 1
        codes = kernels.unpack_bits(stream, self.bits, parts * math.prod(shape))
        return self._levels(codes.reshape(parts, *shape), table)

    def _levels(self, codes: jax.Array, table: jax.Array) -> jax.Array:
        """The numbers of ``codes`` ``(1, ...)``, or ``(2, ...)`` for complex numbers."""
        if not jnp.iscomplexobj(table):
            return decompose.levels(codes[0], jnp.asarray(table), self.bits, self.codebook)
        parts = zip(codes, (table.real, table.imag), strict=True)
        real, imag = (decompose.levels(c, t, self.bits, self.codebook) for c, t in parts)
        return jax.lax.complex(real, imag)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the tables, and of what is kept as it is."""
        kinds = [x.dtype for x in jax.tree.leaves(self) if jnp.issubdtype(x.dtype, jnp.inexact)]
        return jnp.result_type(*kinds) if kinds else self.codes.dtype

    def astype(self, dtype: Any) -> "Quantized":
        """The same codes with tables in ``dtype``."""
        return jax.tree.map(
            lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x, self
        )

    def conj(self) -> "Quantized":
        """The complex conjugate: that of the tables."""
        return jax.tree.map(lambda x: x.conj() if jnp.iscomplexobj(x) else x, self)

    def _skeleton(self) -> Any:
        """The inner matrix with the shapes alone of what is coded."""
        return self._rebuilt(lambda _, shape: jax.ShapeDtypeStruct(shape, self.dtype))

    @property
    def shape(self) -> tuple[int, int]:
        return self._skeleton().shape

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return self.decode().rmatmul(x)

    def _program(self) -> kernels.native.Program | None:
        if not isinstance(self.codes, Dense) or isinstance(self.shapes[0], str):
            return None
        return kernels.native.code_program(self.codes.values, self.tables[0], self.shape, self.bits)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.decode().rmatmul_transposed(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        if not isinstance(self.codes, Dense | LowRank) or self.shapes[0] == "":
            return self.decode()._take(rows)
        # The first array of these two has one row for each row of the matrix.
        stream, *rest = jax.tree.leaves(self.codes)
        m, width = cast(tuple[int, int], self.shapes[0])
        parts = range(2 if jnp.iscomplexobj(self.tables[0]) else 1)
        places = rows.reshape(-1, 1) * width + jnp.arange(width, dtype=rows.dtype)
        codes = [kernels.unpack_bits_at(stream, self.bits, places + p * m * width) for p in parts]
        picked = self._levels(jnp.stack(codes), self.tables[0])
        if rest:
            coded = self.shapes[1] != ""
            right = rest[0]
            if coded:
                right = self._numbers(right, self.tables[1], self.shapes[1])
            picked = picked @ right
        return picked.reshape(*rows.shape, self.shape[1])

    def transpose(self) -> Matrix:
        return Transposed(self)

    def to_dense(self) -> jax.Array:
        return self.decode().to_dense()

    def diagonal(self) -> jax.Array:
        return self.decode().diagonal()

    def frobenius_norm(self) -> jax.Array:
        return self.decode().frobenius_norm()

    def flops(self) -> int:
        """Those of the inner matrix, and two to decode each number."""
        coded = sum(math.prod(shape) for shape in self.shapes if not isinstance(shape, str))
        return self._skeleton().flops() + 2 * coded

    def pack(self) -> "Quantized":
        return self


class QuantizedSpec(Spec):
    """Asks for any kind of matrix with its numbers stored in few bits.

    Codes do not train: train the inner kind and quantise it when it is trained, by
    ``Quantized.of(matrix.pack(), ...)``. `init` draws the inner matrix, packs it and quantises it;
    of an inner kind that has exact zeros (`Sparse`, `Doped`) it must run outside ``jit``.

    Attributes:
        inner: How the matrix is made; a compression of its own counts the bytes before they are
            quantised.
        bits: The bits of each number, 1 to 8.
        codebook: ``"uniform"``, ``"symmetric"``, ``"kmeans"`` or ``"quantile"``, as
            `structlin.decompose.table_of` describes them.

    Raises:
        ValueError: ``bits`` is not 1 to 8, or ``codebook`` is none of these.
    """

    weighs = (Rows, Fisher, Covariance)

    inner: Spec
    bits: int = 8
    codebook: str = "uniform"

    def __post_init__(self) -> None:
        check_codes(self.bits, self.codebook)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "QuantizedSpec":
        return QuantizedSpec(self.inner.sized(shape, dtype), self.bits, self.codebook)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Quantized:
        return Quantized.of(self.inner.init(key, shape, dtype).pack(), self.bits, self.codebook)

    def _fit(self, dense: jax.Array, weights: Any) -> Quantized:
        return Quantized.of(self.inner.fit(dense, weights).pack(), self.bits, self.codebook)

    def cost(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> Cost:
        made = jax.eval_shape(lambda key: self.inner.init(key, shape, dtype), jax.random.key(0))
        packed = made.pack()
        return jax.eval_shape(lambda w: Quantized.of(w, self.bits, self.codebook), packed).cost()


def check_codes(bits: int, codebook: str) -> None:
    """Raises a ``ValueError`` for bits or a codebook that there are not."""
    if codebook not in decompose.CODEBOOKS:
        known = ", ".join(decompose.CODEBOOKS)
        raise ValueError(f"No codebook is named {codebook!r}; there are: {known}.")
    if not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"Quantized needs 1 to 8 bits; given {bits!r}.")
    if codebook == "symmetric" and bits == 1:
        raise ValueError("Symmetric levels are -s, 0 and s or more: give 2 bits or more.")


def is_coded(size: int, dtype: Any, bits: int, codebook: str) -> bool:
    """Whether codes and table of ``size`` numbers take less than the numbers."""
    dtype = jnp.dtype(dtype)
    parts = 2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1
    levels = {"uniform": 2, "symmetric": 1}.get(codebook) or 2**bits
    stored = kernels.stream_bytes(size * parts, bits) + levels * dtype.itemsize
    return stored < size * dtype.itemsize


def _coded(leaf: jax.Array, bits: int, codebook: str) -> tuple[Any, jax.Array | None]:
    """The stream and the table of one array; no table where it is better kept as it is."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf, None
    if not is_coded(leaf.size, leaf.dtype, bits, codebook):
        return leaf, None
    parts = [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    tables = [decompose.table_of(p, bits, codebook) for p in parts]
    pairs = zip(parts, tables, strict=True)
    codes = [decompose.codes_of(p, t, bits, codebook).reshape(-1) for p, t in pairs]
    table = tables[0] if len(parts) == 1 else jax.lax.complex(*tables)
    return kernels.pack_bits(jnp.concatenate(codes), bits), table
