"""Structured matrices for JAX, and small, fast recurrent models made of them.

``structlin.matrices`` has the values, ``structlin.specs`` the descriptions that make them, and the
names here are the layers for Flax Linen and the functions on whole models. Flax is loaded when a
layer is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from structlin import functional, matrices, specs, storage, surgery, text, train
from structlin.kernels import tune_cpu
from structlin.matrices import combine, partition
from structlin.storage import load, save
from structlin.surgery import (
    Plan,
    Recipe,
    compress,
    convert,
    densify,
    fisher,
    pack,
    plan,
    prepare,
    quantize,
    recipe,
)

if TYPE_CHECKING:
    from structlin import builder, linen, networks, nnx
    from structlin.linen import (
        HMD,
        RNN,
        BlockDiagonal,
        BlockLowRank,
        Circulant,
        CoupledLSTMCell,
        Dense,
        DenseGeneral,
        DopedKron,
        Embed,
        FastGRNNCell,
        GRUCell,
        Kron,
        LowRank,
        LSTMCell,
        MGUCell,
        Monarch,
        ProjectedLSTMCell,
        Projection,
        QRNNCell,
        SimpleCell,
        Sparse,
        SRUCell,
        Structured,
        Toeplitz,
        activations,
    )

__version__ = "0.1.0"

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
    "Plan",
    "ProjectedLSTMCell",
    "Projection",
    "QRNNCell",
    "Recipe",
    "SRUCell",
    "SimpleCell",
    "Sparse",
    "Structured",
    "Toeplitz",
    "activations",
    "builder",
    "combine",
    "compress",
    "convert",
    "densify",
    "fisher",
    "functional",
    "linen",
    "load",
    "matrices",
    "networks",
    "nnx",
    "pack",
    "partition",
    "plan",
    "prepare",
    "quantize",
    "recipe",
    "save",
    "specs",
    "storage",
    "surgery",
    "text",
    "train",
    "tune_cpu",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'structlin' has no attribute {name!r}")
    if name in ("builder", "linen", "networks", "nnx"):
        return importlib.import_module(f"structlin.{name}")
    return getattr(importlib.import_module("structlin.linen"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
