"""Layers for Flax Linen: thin shells that own variables; the arithmetic is in `functional`."""

from structlin.linen._dense import HMD, Dense, DopedKron, Kron, LowRank, Sparse
from structlin.linen._recurrent import RNN, LSTMCell
from structlin.linen._serialise import register_serialization

__all__ = [
    "HMD",
    "RNN",
    "Dense",
    "DopedKron",
    "Kron",
    "LSTMCell",
    "LowRank",
    "Sparse",
    "register_serialization",
]

register_serialization()
