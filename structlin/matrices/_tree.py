"""Trees of arrays and matrices: the leaves that train and the leaves that do not."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._cost import Cost, leaf_bytes, leaf_params

__all__ = ["combine", "cost", "is_matrix", "partition"]


def is_matrix(node: Any) -> bool:
    """Whether ``node`` is a structured matrix; for ``is_leaf=`` of tree functions."""
    return isinstance(node, Matrix)


def partition(tree: Any) -> tuple[Any, Any]:
    """Splits a tree into its trainable leaves and the others.

    Args:
        tree: Any tree of arrays and matrices, packed ones with integer indices among them.

    Returns:
        Two trees of the same form: floating and complex leaves with ``None`` for the others, and
        the reverse. ``jax.grad`` and optax take the first as it is; `combine` joins them.
    """
    trains = jax.tree.map(lambda x: jnp.issubdtype(jnp.result_type(x), jnp.inexact), tree)
    first = jax.tree.map(lambda t, x: x if t else None, trains, tree)
    second = jax.tree.map(lambda t, x: None if t else x, trains, tree)
    return first, second


def combine(trainable: Any, fixed: Any) -> Any:
    """Joins what `partition` split."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, trainable, fixed, is_leaf=lambda x: x is None
    )


def cost(tree: Any) -> Cost:
    """The cost of a whole tree; an array counts as dense and, if it is a matrix, as one product."""

    def one(node: Any) -> Cost:
        if is_matrix(node):
            return node.cost()
        params, size = leaf_params(node), leaf_bytes(node)
        return Cost(params, size, 2 * params if len(node.shape) == 2 else 0, params, size)

    return sum(map(one, jax.tree.leaves(tree, is_leaf=is_matrix)), Cost(0, 0, 0, 0, 0))
