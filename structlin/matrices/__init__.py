"""Structured matrices: pytrees that stand for an ``(m, n)`` matrix and never form it."""

from structlin.matrices._base import Matrix, static
from structlin.matrices._best import Candidate, Comparison, best_structure
from structlin.matrices._block_diagonal import BlockDiagonal
from structlin.matrices._block_low_rank import BlockLowRank
from structlin.matrices._block_sparse import BlockSparse
from structlin.matrices._circulant import Circulant
from structlin.matrices._column_blocks import ColumnBlocks
from structlin.matrices._convert import (
    as_linear_operator,
    from_bcoo,
    from_lineax,
    from_scipy,
    to_bcoo,
    to_lineax,
    to_scipy,
)
from structlin.matrices._cost import Cost
from structlin.matrices._dense import Dense
from structlin.matrices._diagonal import Diagonal
from structlin.matrices._fourier import Fourier
from structlin.matrices._hmd import HMD
from structlin.matrices._identity import Identity
from structlin.matrices._iterative import Solution, solve
from structlin.matrices._kronecker import Kronecker
from structlin.matrices._kronecker_sum import KroneckerSum, kronecker_sum
from structlin.matrices._low_rank import LowRank
from structlin.matrices._masked import Masked
from structlin.matrices._monarch import Monarch
from structlin.matrices._native import Native
from structlin.matrices._nm_sparse import NMSparse
from structlin.matrices._permuted import Permuted
from structlin.matrices._product import Product
from structlin.matrices._projection import Projection
from structlin.matrices._quantized import Quantized
from structlin.matrices._registry import REGISTRY, UnsupportedError
from structlin.matrices._row_groups import RowGroups
from structlin.matrices._scaled import Scaled
from structlin.matrices._sparse import Sparse
from structlin.matrices._sum import Sum
from structlin.matrices._toeplitz import Toeplitz
from structlin.matrices._transposed import Transposed
from structlin.matrices._tree import combine, cost, is_matrix, partition

__all__ = [
    "HMD",
    "REGISTRY",
    "BlockDiagonal",
    "BlockLowRank",
    "BlockSparse",
    "Candidate",
    "Circulant",
    "ColumnBlocks",
    "Comparison",
    "Cost",
    "Dense",
    "Diagonal",
    "Fourier",
    "Identity",
    "Kronecker",
    "KroneckerSum",
    "LowRank",
    "Masked",
    "Matrix",
    "Monarch",
    "NMSparse",
    "Native",
    "Permuted",
    "Product",
    "Projection",
    "Quantized",
    "RowGroups",
    "Scaled",
    "Solution",
    "Sparse",
    "Sum",
    "Toeplitz",
    "Transposed",
    "UnsupportedError",
    "as_linear_operator",
    "best_structure",
    "combine",
    "cost",
    "from_bcoo",
    "from_lineax",
    "from_scipy",
    "is_matrix",
    "kronecker_sum",
    "partition",
    "solve",
    "static",
    "to_bcoo",
    "to_lineax",
    "to_scipy",
]
