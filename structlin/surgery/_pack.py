"""Whole trees from their training form to the form for inference, and back to dense arrays."""

from typing import Any

import jax

from structlin.matrices import is_matrix

__all__ = ["densify", "pack"]


def pack(tree: Any) -> Any:
    """The inference form of a tree: exact zeros become integer indices.

    Args:
        tree: Any tree of arrays and matrices.

    Returns:
        The same tree with every matrix packed (`Masked` becomes `Sparse`); its products are the
        same numbers. Arrays are passed through.

    Raises:
        TypeError: Under ``jit``, where zeros are not known.
    """
    return jax.tree.map(lambda x: x.pack() if is_matrix(x) else x, tree, is_leaf=is_matrix)


def densify(tree: Any) -> Any:
    """The same tree with every matrix formed as a dense array: the way back to any model."""
    return jax.tree.map(lambda x: x.to_dense() if is_matrix(x) else x, tree, is_leaf=is_matrix)
