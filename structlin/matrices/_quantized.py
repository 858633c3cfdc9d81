"""Any matrix with its numbers stored as small codes for a few levels."""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from structlin import decompose, kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._cost import leaf_params
from structlin.matrices._dense import Dense
from structlin.matrices._feedback import fed_back
from structlin.matrices._low_rank import LowRank
from structlin.matrices._transposed import Transposed

__all__ = ["Quantized", "check_codes", "is_coded", "run_of"]

Shape = tuple[int, ...] | str


class Quantized(Matrix):
    """``inner`` with each of its arrays as codes of ``bits`` bits and a table of levels.

    Every product decodes the arrays of the inner matrix first, so this saves memory and not time.
    What is decoded is as large as the inner matrix stores: of a `Dense` one that is all ``m n``
    numbers; rows of a dense or low-rank one are decoded alone. An array is kept as it is where
    codes and tables would take no less. A matrix in half precision has tables in half precision,
    which counts where there are many. The real and imaginary parts of complex numbers have levels
    and codes of their own.

    Formula: ``W = inner(levels[code_1], levels[code_2], ...)``
    Storage: ``bits / 8`` bytes for each number of the inner matrix, and a table for each array: 2
        numbers (uniform), 1 (symmetric) or ``2**bits``
    FLOPs: those of the inner matrix, and two to decode each number
    Rank: that of the inner matrix
    Suits: files and tables that must be small

    Attributes:
        codes: The inner matrix with streams of codes, bytes ``(size,)``, in place of its arrays.
        tables: For each coded array its levels, as `structlin.decompose.table_of` makes them: one
            table, or a table in each row.
        shapes: The shape of each leaf of ``codes`` when it is decoded; ``""`` for one kept as it
            is.
        bits: The bits of a code, 1 to 8.
        codebook: The kind of the tables.
        per: What has a table: the whole array (``"tensor"``), each of its last axis (``"row"``), or
            so many neighbouring numbers, row by row.
    """

    codes: Matrix
    tables: tuple[jax.Array, ...]
    shapes: tuple[Shape, ...] = static()
    bits: int = static(default=8)
    codebook: str = static(default="uniform")
    per: int | str = static(default="tensor")

    @classmethod
    def of(
        cls,
        inner: Matrix,
        bits: int = 8,
        codebook: str = "uniform",
        per: int | str = "tensor",
        clip: str | None = None,
        feedback: bool = False,
    ) -> "Quantized":
        """``inner`` with its numbers rounded to the nearest of ``2**bits`` levels.

        Args:
            inner: The matrix.
            bits: The bits of a code, 1 to 8.
            codebook: ``"uniform"``, ``"symmetric"``, ``"kmeans"`` or ``"quantile"``, as
                `structlin.decompose.table_of` describes them.
            per: ``"tensor"``, ``"row"`` or so many numbers: what has levels of its own.
            clip: Where evenly spaced levels end if not at the least and the largest number:
                ``"error"``, for the least squared error, or ``"size"``, for the fewest bytes once
                the codes are entropy coded, with an error a quarter above the least at most.
            feedback: Whether the later terms of a sum take up what the earlier ones lose, those
                that are sparse or of low rank.

        Raises:
            ValueError: One of these is none of what it can be.
        """
        check_codes(bits, codebook, per, clip)
        if feedback:
            inner = fed_back(inner, lambda term: cls.of(term, bits, codebook, per, clip))
        leaves, form = jax.tree.flatten(inner)
        codes, tables, shapes = [], [], []
        for leaf in leaves:
            stream, table = _coded(jnp.asarray(leaf), bits, codebook, per, clip)
            kept = table is None
            codes.append(leaf if kept else stream)
            shapes.append("" if kept else tuple(leaf.shape))
            tables += [] if kept else [table]
        coded = jax.tree.unflatten(form, codes)
        return cls(coded, tuple(tables), tuple(shapes), bits, codebook, per)

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
        run = run_of(shape, self.per)
        return self._levels(codes.reshape(parts, *shape), jnp.asarray(table), run)

    def _levels(self, codes: jax.Array, table: jax.Array, run: int | None) -> jax.Array:
        """The numbers of ``codes`` ``(1, ...)``, or ``(2, ...)`` for complex numbers."""

        def numbers(codes: jax.Array, table: jax.Array) -> jax.Array:
            return decompose.levels(codes, table, self.bits, self.codebook, run)

        if not jnp.iscomplexobj(table):
            return numbers(codes[0], table)
        return jax.lax.complex(numbers(codes[0], table.real), numbers(codes[1], table.imag))

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
        if self.per != "tensor":
            return None
        return kernels.native.code_program(self.codes.values, self.tables[0], self.shape, self.bits)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.decode().rmatmul_transposed(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        if not isinstance(self.codes, Dense | LowRank) or self.shapes[0] == "":
            return self.decode()._take(rows)
        if self.per != "tensor" and kernels.explicit_mesh():  # whose reshapes are few
            return self.decode()._take(rows)
        # The first array of these two has one row for each row of the matrix.
        stream, *rest = jax.tree.leaves(self.codes)
        m, width = cast(tuple[int, int], self.shapes[0])
        parts = range(2 if jnp.iscomplexobj(self.tables[0]) else 1)
        places = rows.reshape(-1, 1) * width + jnp.arange(width, dtype=rows.dtype)
        codes = [kernels.unpack_bits_at(stream, self.bits, places + p * m * width) for p in parts]
        table, run = jnp.asarray(self.tables[0]), run_of((m, width), self.per)
        if run is not None:
            each = math.gcd(run, width)  # so many neighbours surely have one table
            table, run = table[places.reshape(-1, each)[:, 0] // run], each
        picked = self._levels(jnp.stack(codes), table, run)
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

    def _leaf_params(self) -> list[int]:
        pairs = zip(jax.tree.leaves(self.codes), self.shapes, strict=True)
        coded = [leaf_params(c) if isinstance(s, str) else math.prod(s) for c, s in pairs]
        return coded + [leaf_params(table) for table in self.tables]

    def flops(self) -> int:
        """Those of the inner matrix, and two to decode each number."""
        coded = sum(math.prod(shape) for shape in self.shapes if not isinstance(shape, str))
        return self._skeleton().flops() + 2 * coded

    def pack(self) -> "Quantized":
        return self


def check_codes(
    bits: int, codebook: str, per: int | str = "tensor", clip: str | None = None
) -> None:
    """Raises a ``ValueError`` for bits, a codebook, groups or ends that there are not."""
    if codebook not in decompose.CODEBOOKS:
        known = ", ".join(decompose.CODEBOOKS)
        raise ValueError(f"No codebook is named {codebook!r}; there are: {known}.")
    if not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"Quantized needs 1 to 8 bits; given {bits!r}.")
    if codebook == "symmetric" and bits == 1:
        raise ValueError("Symmetric levels are -s, 0 and s or more: give 2 bits or more.")
    if per not in ("tensor", "row") and not (type(per) is int and per > 0):
        raise ValueError(
            f"Levels are for each 'tensor', each 'row' or so many numbers; given per={per!r}."
        )
    if clip is not None and clip not in decompose.CLIPS:
        raise ValueError(f"clip is 'error', 'size' or None; given {clip!r}.")
    if clip is not None and codebook not in ("uniform", "symmetric"):
        raise ValueError(
            f"clip={clip!r} moves the ends of evenly spaced levels; those of {codebook!r} have "
            "places of their own: leave it out, or take 'uniform' or 'symmetric'."
        )


def run_of(shape: tuple[int, ...], per: int | str) -> int | None:
    """How many neighbouring numbers of an array of ``shape`` share a table; ``None`` for all."""
    if per == "tensor":
        return None
    return int(per) if per != "row" else shape[-1] if shape else 1


def is_coded(
    shape: tuple[int, ...], dtype: Any, bits: int, codebook: str, per: int | str = "tensor"
) -> bool:
    """Whether codes and tables of an array of ``shape`` take less than its numbers."""
    size, run, dtype = math.prod(shape), run_of(shape, per), jnp.dtype(dtype)
    parts = 2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1
    levels = {"uniform": 2, "symmetric": 1}.get(codebook) or 2**bits
    tables = 1 if run is None else -(-size // max(run, 1))
    stored = kernels.stream_bytes(size * parts, bits) + tables * levels * dtype.itemsize
    return stored < size * dtype.itemsize


def _coded(
    leaf: jax.Array, bits: int, codebook: str, per: int | str, clip: str | None
) -> tuple[Any, jax.Array | None]:
    """The stream and the table of one array; no table where it is better kept as it is."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf, None
    if not is_coded(leaf.shape, leaf.dtype, bits, codebook, per):
        return leaf, None
    run = run_of(leaf.shape, per)
    parts = [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    tables = [decompose.table_of(p, bits, codebook, clip, run) for p in parts]
    pairs = zip(parts, tables, strict=True)
    codes = [decompose.codes_of(p, t, bits, codebook, run).reshape(-1) for p, t in pairs]
    table = tables[0] if len(parts) == 1 else jax.lax.complex(*tables)
    return kernels.pack_bits(jnp.concatenate(codes), bits), table
