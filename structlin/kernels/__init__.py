"""Arithmetic on plain arrays where speed is decided; figures and reasons are in the docstrings."""

from structlin.kernels._gather import gather_rows
from structlin.kernels._kronecker import kronecker_flops, kronecker_order, kronecker_rmatmul
from structlin.kernels._sparse import slot_matmul, slot_rmatmul

__all__ = [
    "gather_rows",
    "kronecker_flops",
    "kronecker_order",
    "kronecker_rmatmul",
    "slot_matmul",
    "slot_rmatmul",
]
