"""The parameters of an NNX model as the plain tree that files and Linen have, and back."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from structlin.matrices import is_matrix
from structlin.nnx._surgery import find_weights
from structlin.nnx._variables import value

__all__ = ["params", "with_params"]

M = TypeVar("M", bound=nnx.Module)


def params(model: nnx.Module) -> dict[str, Any]:
    """The parameters of a model as nested dictionaries, each structured matrix whole.

    What ``structlin.save``, ``structlin.pack`` and the other functions on trees take. Shared
    parameters stand at the first of their paths. Only ``nnx.Param`` and matrices are among them:
    batch statistics and random states are not.
    """
    found: dict[tuple[str, ...], Any] = {}
    taken = set()
    for weight in find_weights(model):
        if is_matrix(weight.held):
            found[tuple(weight.paths[0].split("/"))] = value(weight.held)
            taken |= {id(v) for v in jax.tree.leaves(weight.held, is_leaf=_is_variable)}
    for path, node in nnx.iter_graph(model):
        if isinstance(node, nnx.Param) and id(node) not in taken:
            found[tuple(map(str, path))] = node[...]
    tree: dict[str, Any] = {}
    for (*parents, name), leaf in sorted(found.items()):
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = leaf
    return tree


def with_params(model: M, tree: Any) -> M:
    """A new model with other parameters, dense or structured, packed or not.

    Args:
        model: The model; it stays as it is. Its own parameters may have any form.
        tree: Nested dictionaries with every parameter of the model, as `params` returns them.

    Raises:
        KeyError: A parameter is missing, or is none of the model.
        ValueError: A shape differs.
    """
    model = nnx.clone(model)
    found = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_matrix)
    given = {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in found}
    weights = {weight.paths[0]: weight for weight in find_weights(model)}
    inside = tuple(f"{path}/" for path, w in weights.items() if is_matrix(w.held))
    others = {
        name: node
        for path, node in nnx.iter_graph(model)
        if isinstance(node, nnx.Param)
        and (name := "/".join(map(str, path))) not in weights
        and not name.startswith(inside)
    }
    known = {*weights, *others}
    if unknown := sorted(set(given) - known):
        raise KeyError(f"{unknown} are no parameters of this model; those are {sorted(known)}.")
    if missing := sorted(known - set(given)):
        raise KeyError(f"The tree lacks {missing}; it has {sorted(given)}.")
    for path, leaf in given.items():  # all are checked before one is replaced
        if path in weights:
            weights[path].check(leaf)
        elif is_matrix(leaf) or jnp.shape(leaf) != others[path].shape:
            raise ValueError(f"{path} is {others[path].shape}; given {leaf!r}.")
    for path, leaf in given.items():
        if path in weights:
            weights[path].put(leaf)
        else:
            others[path].set_value(jnp.asarray(leaf))
    return model


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)
