"""Specs: frozen, JSON-able descriptions of how to make a structured matrix of a given shape."""

from structlin.matrices._block_diagonal_spec import BlockDiagonalSpec as BlockDiagonal
from structlin.matrices._block_low_rank import BlockLowRankSpec as BlockLowRank
from structlin.matrices._circulant import CirculantSpec as Circulant
from structlin.matrices._column_blocks import PerGate
from structlin.matrices._dense import DenseSpec as Dense
from structlin.matrices._doped import Doped, DopedKron
from structlin.matrices._group_reduce import GroupReduceSpec as GroupReduce
from structlin.matrices._hmd import HMDSpec as HMD
from structlin.matrices._kron_spec import Kron
from structlin.matrices._low_rank import LowRankSpec as LowRank
from structlin.matrices._monarch import MonarchSpec as Monarch
from structlin.matrices._quantized_spec import QuantizedSpec as Quantized
from structlin.matrices._sparse_spec import SparseSpec as Sparse
from structlin.matrices._spec import SPECS, Spec, from_json
from structlin.matrices._toeplitz import ToeplitzSpec as Toeplitz
from structlin.matrices._transposed_spec import TransposedSpec as Transposed
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = [
    "HMD",
    "SPECS",
    "BlockDiagonal",
    "BlockLowRank",
    "Circulant",
    "Covariance",
    "Dense",
    "Doped",
    "DopedKron",
    "Fisher",
    "GroupReduce",
    "Kron",
    "LowRank",
    "Monarch",
    "PerGate",
    "Quantized",
    "Rows",
    "Sparse",
    "Spec",
    "Toeplitz",
    "Transposed",
    "from_json",
]
