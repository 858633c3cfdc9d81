"""Layers for Flax Linen: thin shells that own variables; the arithmetic is in `functional`."""

from structlin.linen._dense import Dense
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
from structlin.linen._recurrent import RNN, LSTMCell
from structlin.linen._serialise import register_serialization

__all__ = [
    "HMD",
    "RNN",
    "BlockDiagonal",
    "BlockLowRank",
    "Circulant",
    "Dense",
    "DopedKron",
    "Kron",
    "LSTMCell",
    "LowRank",
    "Monarch",
    "Sparse",
    "Toeplitz",
    "register_serialization",
]

register_serialization()
