"""Whole trees from the form for inference to the one that is fastest on a CPU."""

import importlib
from typing import Any

import jax

from structlin.kernels import native
from structlin.matrices import Native, is_matrix
from structlin.surgery._model import is_nnx

__all__ = ["prepare"]


def prepare(tree: Any) -> Any:
    """The fastest form of a tree for inference on a CPU: packed, and native where it can be.

    Products of a few rows with a prepared matrix, and whole sequences of an LSTM or a GRU whose
    recurrent kernel is one, run in native code if they are in single precision and on a CPU; all
    else is XLA's, derivatives among it, with the same numbers to single precision. The native code
    is compiled here, once for each machine, by the system's C++ compiler; where that fails one
    warning says why, and everything runs in XLA.

    Args:
        tree: Any tree of arrays and matrices, or an NNX model.

    Returns:
        The same tree, or a new model, with each matrix packed and, if its structure has native
        code, wrapped in `structlin.matrices.Native`. Arrays are passed through; wrap one in
        ``Native.of(Dense(array))`` for a dense recurrence in native code.

    Raises:
        TypeError: Under ``jit``, where zeros are not known.
    """
    native.ready()
    if is_nnx(tree):
        return importlib.import_module("structlin.nnx").prepare(tree)
    return jax.tree.map(lambda x: Native.of(x) if is_matrix(x) else x, tree, is_leaf=is_matrix)
