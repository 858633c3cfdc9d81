"""Whole trees from their training form to the form for inference, and back to dense arrays."""

import importlib
from typing import Any

import jax

from structlin.matrices import is_matrix
from structlin.surgery._model import is_nnx

__all__ = ["densify", "pack"]


def pack(tree: Any) -> Any:
    """The inference form of a tree: exact zeros become integer indices.

    Args:
        tree: Any tree of arrays and matrices, or an NNX model.

    Returns:
        The same tree, or a new model, with every matrix packed (`Masked` becomes `Sparse`); its
        products are the same numbers. Arrays are passed through.

    Raises:
        TypeError: Under ``jit``, where zeros are not known.
    """
    if is_nnx(tree):
        return importlib.import_module("structlin.nnx").pack(tree)
    return jax.tree.map(lambda x: x.pack() if is_matrix(x) else x, tree, is_leaf=is_matrix)


def densify(tree: Any) -> Any:
    """The same tree with every matrix formed as a dense array: the way back to any model.

    Args:
        tree: Any tree of arrays and matrices, or an NNX model, of which a new one is made.
    """
    if is_nnx(tree):
        return importlib.import_module("structlin.nnx").densify(tree)
    return jax.tree.map(lambda x: x.to_dense() if is_matrix(x) else x, tree, is_leaf=is_matrix)
