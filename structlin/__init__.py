"""Structured matrices for JAX, and small, fast recurrent models made of them.

``structlin.matrices`` has the values, ``structlin.specs`` the descriptions that make them, and the
names here are the layers for Flax Linen and the functions on whole models.
"""

from structlin import functional, linen, matrices, specs, storage, surgery, train
from structlin.linen import HMD, RNN, Dense, DopedKron, Kron, LowRank, LSTMCell, Sparse
from structlin.matrices import combine, partition
from structlin.storage import load, save
from structlin.surgery import densify, pack

__version__ = "0.1.0"

__all__ = [
    "HMD",
    "RNN",
    "Dense",
    "DopedKron",
    "Kron",
    "LSTMCell",
    "LowRank",
    "Sparse",
    "combine",
    "densify",
    "functional",
    "linen",
    "load",
    "matrices",
    "pack",
    "partition",
    "save",
    "specs",
    "storage",
    "surgery",
    "train",
]
