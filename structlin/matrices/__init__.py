"""Structured matrices: pytrees that stand for an ``(m, n)`` matrix and never form it."""

from structlin.matrices._base import Matrix, static
from structlin.matrices._column_blocks import ColumnBlocks
from structlin.matrices._cost import Cost
from structlin.matrices._dense import Dense
from structlin.matrices._diagonal import Diagonal
from structlin.matrices._hmd import HMD
from structlin.matrices._kronecker import Kronecker
from structlin.matrices._low_rank import LowRank
from structlin.matrices._masked import Masked
from structlin.matrices._permuted import Permuted
from structlin.matrices._product import Product
from structlin.matrices._registry import REGISTRY, UnsupportedError
from structlin.matrices._scaled import Scaled
from structlin.matrices._sparse import Sparse
from structlin.matrices._sum import Sum
from structlin.matrices._transposed import Transposed
from structlin.matrices._tree import combine, cost, is_matrix, partition

__all__ = [
    "HMD",
    "REGISTRY",
    "ColumnBlocks",
    "Cost",
    "Dense",
    "Diagonal",
    "Kronecker",
    "LowRank",
    "Masked",
    "Matrix",
    "Permuted",
    "Product",
    "Scaled",
    "Sparse",
    "Sum",
    "Transposed",
    "UnsupportedError",
    "combine",
    "cost",
    "is_matrix",
    "partition",
    "static",
]
