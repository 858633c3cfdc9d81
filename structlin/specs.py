"""Specs: frozen, JSON-able descriptions of how to make a structured matrix of a given shape."""

from structlin.matrices._column_blocks import PerGate
from structlin.matrices._dense import DenseSpec as Dense
from structlin.matrices._doped import Doped, DopedKron
from structlin.matrices._hmd import HMDSpec as HMD
from structlin.matrices._kronecker import Kron
from structlin.matrices._low_rank import LowRankSpec as LowRank
from structlin.matrices._sparse_spec import SparseSpec as Sparse
from structlin.matrices._spec import SPECS, Spec, from_json
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = [
    "HMD",
    "SPECS",
    "Covariance",
    "Dense",
    "Doped",
    "DopedKron",
    "Fisher",
    "Kron",
    "LowRank",
    "PerGate",
    "Rows",
    "Sparse",
    "Spec",
    "from_json",
]
