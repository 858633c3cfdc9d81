"""Arithmetic on plain arrays where speed is decided; figures and reasons are in the docstrings."""

import importlib
from typing import TYPE_CHECKING, Any

from structlin.kernels import native
from structlin.kernels._bits import pack_bits, stream_bytes, unpack_bits, unpack_bits_at
from structlin.kernels._block_sparse import (
    block_matmul,
    block_rmatmul,
    group_matmul,
    group_rmatmul,
)
from structlin.kernels._columns import (
    kronecker_columns,
    slot_columns,
    slot_columns_transposed,
)
from structlin.kernels._fourier import (
    circular_convolve,
    convolve_flops,
    fast_length,
    from_spectrum,
    spectrum,
)
from structlin.kernels._gather import (
    carry_beside,
    explicit_mesh,
    gather_rows,
    merge_rows,
    zeros_beside,
)
from structlin.kernels._hash import (
    HASH_ENTRIES,
    hash_normal,
    hash_sign,
    hash_ternary,
    hash_uniform,
    hash_words,
)
from structlin.kernels._kronecker import kronecker_flops, kronecker_order, kronecker_rmatmul
from structlin.kernels._monarch import monarch_flops, monarch_rmatmul
from structlin.kernels._sparse import slot_matmul, slot_rmatmul
from structlin.kernels._tune import tune_cpu

if TYPE_CHECKING:
    from structlin.kernels._pallas import doped_lstm_step

__all__ = [
    "HASH_ENTRIES",
    "block_matmul",
    "block_rmatmul",
    "carry_beside",
    "circular_convolve",
    "convolve_flops",
    "doped_lstm_step",
    "explicit_mesh",
    "fast_length",
    "from_spectrum",
    "gather_rows",
    "group_matmul",
    "group_rmatmul",
    "hash_normal",
    "hash_sign",
    "hash_ternary",
    "hash_uniform",
    "hash_words",
    "kronecker_columns",
    "kronecker_flops",
    "kronecker_order",
    "kronecker_rmatmul",
    "merge_rows",
    "monarch_flops",
    "monarch_rmatmul",
    "native",
    "pack_bits",
    "slot_columns",
    "slot_columns_transposed",
    "slot_matmul",
    "slot_rmatmul",
    "spectrum",
    "stream_bytes",
    "tune_cpu",
    "unpack_bits",
    "unpack_bits_at",
    "zeros_beside",
]


def __getattr__(name: str) -> Any:
    if name != "doped_lstm_step":
        raise AttributeError(f"module 'structlin.kernels' has no attribute {name!r}")
    # Loading Pallas takes a quarter of a second, which few who import this need.
    return importlib.import_module("structlin.kernels._pallas").doped_lstm_step
