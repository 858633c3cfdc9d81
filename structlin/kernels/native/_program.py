"""Matrices as native code reads them: integers that say what comes next, and the arrays."""

import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from structlin.kernels._kronecker import kronecker_order

__all__ = [
    "Program",
    "block_program",
    "call",
    "chain_program",
    "code_program",
    "column_program",
    "dense_program",
    "kronecker_program",
    "slot_program",
    "spread_program",
    "sum_program",
]

# The same numbers as `Kind` in source/matrix.h.
DENSE, KRONECKER, SLOTS, BLOCKS, CODES, SPREAD, SUM, PRODUCT, COLUMNS = range(9)

# The rows up to which native code is no slower than XLA, measured on one core at 650 x 2600.
DENSE_ROWS, CODE_ROWS, OTHER_ROWS = 1, {4: 8, 8: 3}, 64

# About a core's second cache. What is larger comes faster to all cores, which XLA puts to work.
DENSE_BYTES = 2**21


class Program(NamedTuple):
    """A matrix for native code.

    Attributes:
        code: What `read_matrix` in source/read.cc reads.
        arrays: The arrays in the order in which the code names them.
        columns: Of the matrix.
        rows: The most rows of ``x`` for which native code is as fast as XLA on one core.
    """

    code: tuple[int, ...]
    arrays: tuple[jax.Array, ...]
    columns: int
    rows: int


def call(name: str, like: Any, program: Program, *arrays: jax.Array) -> Any:
    """What a function of the library makes of arrays and a matrix.

    Args:
        name: The function, as XLA knows it.
        like: The shape and dtype of each result.
        program: The matrix.
        *arrays: Single precision.
    """
    # Callers merge batches into rows; what is batched otherwise is rare, and runs one at a time.
    run = jax.ffi.ffi_call(name, like, vmap_method="sequential")
    return run(*arrays, *program.arrays, program=np.array(program.code, np.int64))


def dense_program(values: jax.Array) -> Program:
    """An array ``(m, n)``; with several cores one that a core can keep in its cache, else none."""
    small = values.size * values.dtype.itemsize <= DENSE_BYTES
    rows = DENSE_ROWS if small or _cores() == 1 else 0
    return Program((DENSE, *values.shape), (values,), values.shape[1], rows)


def _cores() -> int:
    """The cores that this process may use."""
    found = getattr(os, "sched_getaffinity", None)
    return len(found(0)) if found else os.cpu_count() or 1


def kronecker_program(factors: Sequence[jax.Array]) -> Program:
    """The Kronecker product of arrays ``(m_i, n_i)``."""
    shapes = [(f.shape[0], f.shape[1]) for f in factors]
    sizes = (size for shape in shapes for size in shape)
    code = (KRONECKER, len(factors), *sizes, *kronecker_order(shapes))
    columns = math.prod(n for _, n in shapes)
    return Program(code, tuple(factors), columns, OTHER_ROWS)


def slot_program(values: jax.Array, indices: jax.Array, m: int) -> Program:
    """Slots ``(k, n)`` of a matrix of ``m`` rows, as in `structlin.kernels.slot_rmatmul`."""
    return Program((SLOTS, m, *values.shape), (values, indices), values.shape[1], OTHER_ROWS)


def block_program(values: jax.Array, indices: jax.Array, m: int) -> Program:
    """Blocks ``(k, n / c, r, c)`` of ``m`` rows, as in `structlin.kernels.block_rmatmul`."""
    columns = values.shape[1] * values.shape[3]
    return Program((BLOCKS, m, *values.shape), (values, indices), columns, OTHER_ROWS)


def code_program(
    stream: jax.Array, table: jax.Array, shape: tuple[int, int], bits: int
) -> Program | None:
    """An array ``(m, n)`` in codes of 4 or 8 bits, as `structlin.matrices.Quantized` holds it.

    Args:
        stream: The codes as `structlin.kernels.pack_bits` packs them, row by row.
        table: ``(step,)``, ``(lowest, step)``, or all ``2**bits`` levels.
        shape: ``(m, n)``.
        bits: The bits of a code.

    Returns:
        ``None`` for what has no native code: other bits than 4 and 8, rows that end within a byte,
        and tables of 256 levels, which XLA reads faster.
    """
    if bits not in CODE_ROWS or (bits == 4 and shape[1] % 2) or table.shape[0] > 16:
        return None
    return Program((CODES, *shape, bits, *table.shape), (stream, table), shape[1], CODE_ROWS[bits])


def spread_program(values: jax.Array, blocks: int) -> Program:
    """``(blocks, n)``: each row has the values of its own columns and zeros elsewhere.

    Args:
        values: Of all columns, ``(n,)``.
        blocks: How many rows share them, as evenly as can be, the first ones having more.
    """
    return Program((SPREAD, blocks, *values.shape), (values,), values.shape[0], OTHER_ROWS)


def sum_program(terms: Iterable[Program | None]) -> Program | None:
    """The sum of matrices, if all of them have a program."""
    return _joined(SUM, terms)


def chain_program(factors: Iterable[Program | None]) -> Program | None:
    """The product of matrices, if all of them have a program."""
    return _joined(PRODUCT, factors)


def column_program(blocks: Iterable[Program | None]) -> Program | None:
    """Matrices side by side, if all of them have a program."""
    return _joined(COLUMNS, blocks)


def _joined(kind: int, parts: Iterable[Program | None]) -> Program | None:
    found = list(parts)
    known = [part for part in found if part is not None]
    if len(known) < len(found):
        return None
    code = (kind, len(known), *(number for part in known for number in part.code))
    arrays = tuple(array for part in known for array in part.arrays)
    widths = [part.columns for part in known]
    columns = sum(widths) if kind == COLUMNS else widths[-1]
    return Program(code, arrays, columns, min(part.rows for part in known))
