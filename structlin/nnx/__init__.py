"""Layers for Flax NNX: thin shells that own variables; the arithmetic is in `functional`."""

from structlin.linen import register_serialization
from structlin.nnx._bridge import ToNNX
from structlin.nnx._compact_cells import (
    CoupledLSTMCell,
    FastGRNNCell,
    MGUCell,
    ProjectedLSTMCell,
    QRNNCell,
    SRUCell,
)
from structlin.nnx._exchange import from_nnx, to_nnx
from structlin.nnx._linear import Embed, Linear, LinearGeneral
from structlin.nnx._named import (
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
from structlin.nnx._params import params, with_params
from structlin.nnx._projection import Projection
from structlin.nnx._recurrent import GRUCell, LSTMCell, SimpleCell
from structlin.nnx._rnn import RNN
from structlin.nnx._surgery import (
    densify,
    kernel_specs,
    kernels,
    pack,
    prepare,
    replace_kernel,
    with_kernels,
)
from structlin.nnx._variables import Index

__all__ = [
    "HMD",
    "RNN",
    "BlockDiagonal",
    "BlockLowRank",
    "Circulant",
    "CoupledLSTMCell",
    "DopedKron",
    "Embed",
    "FastGRNNCell",
    "GRUCell",
    "Index",
    "Kron",
    "LSTMCell",
    "Linear",
    "LinearGeneral",
    "LowRank",
    "MGUCell",
    "Monarch",
    "ProjectedLSTMCell",
    "Projection",
    "QRNNCell",
    "SRUCell",
    "SimpleCell",
    "Sparse",
    "ToNNX",
    "Toeplitz",
    "densify",
    "from_nnx",
    "kernel_specs",
    "kernels",
    "pack",
    "params",
    "prepare",
    "register_serialization",
    "replace_kernel",
    "to_nnx",
    "with_kernels",
    "with_params",
]
