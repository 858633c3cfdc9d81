"""Layers for Flax Linen: thin shells that own variables; the arithmetic is in `functional`."""

from structlin.linen._activations import activations
from structlin.linen._cells import GRUCell, LSTMCell, MGUCell, SimpleCell
from structlin.linen._compact_cells import (
    CoupledLSTMCell,
    FastGRNNCell,
    ProjectedLSTMCell,
    QRNNCell,
    SRUCell,
)
from structlin.linen._dense import Dense, DenseGeneral
from structlin.linen._embed import Embed
from structlin.linen._kernel_specs import kernel_specs
from structlin.linen._named import (
    HMD,
    BlockDiagonal,
    BlockLowRank,
    Circulant,
    DopedKron,
    Kron,
    LowRank,
    Monarch,
    Sparse,
    Toeplitz,
)
from structlin.linen._projection import Projection
from structlin.linen._rnn import RNN
from structlin.linen._serialise import register_serialization
from structlin.linen._structured import Structured, structured

__all__ = [
    "HMD",
    "RNN",
    "BlockDiagonal",
    "BlockLowRank",
    "Circulant",
    "CoupledLSTMCell",
    "Dense",
    "DenseGeneral",
    "DopedKron",
    "Embed",
    "FastGRNNCell",
    "GRUCell",
    "Kron",
    "LSTMCell",
    "LowRank",
    "MGUCell",
    "Monarch",
    "ProjectedLSTMCell",
    "Projection",
    "QRNNCell",
    "SRUCell",
    "SimpleCell",
    "Sparse",
    "Structured",
    "Toeplitz",
    "activations",
    "kernel_specs",
    "register_serialization",
    "structured",
]

register_serialization()
