"""Linen's trees of parameters and NNX's models, looked at alike."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from structlin.matrices import Cost, cost
from structlin.surgery._paths import leaf_paths
from structlin.surgery._targets import Target, untouched

__all__ = ["is_nnx", "weights_of", "with_weights"]


def is_nnx(model: Any) -> bool:
    """Whether ``model`` is a module of NNX rather than a tree; loads no Flax to find out."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(model, nnx.Module)


def weights_of(model: Any) -> tuple[dict[str, Any], Callable[[Sequence[Target]], Cost]]:
    """The leaves of a tree, or the weights of an NNX model that can be structured, by path.

    Returns:
        The leaves, and a function: what everything but some targets takes.
    """
    if not is_nnx(model):
        leaves = leaf_paths(model)
        return leaves, lambda targets: untouched(leaves, targets)
    leaves = dict(importlib.import_module("structlin.nnx").kernels(model))

    def rest(targets: Sequence[Target]) -> Cost:
        nnx = sys.modules["flax.nnx"]
        numbers = leaf_paths(nnx.state(model, nnx.Not(nnx.RngState)))
        inside = tuple(f"{path}/" for path in leaves)
        others = [x for p, x in numbers.items() if not f"{p}/".startswith(inside)]
        return untouched(leaves, targets) + cost(others)

    return leaves, rest


def with_weights(model: Any, values: Mapping[str, Any]) -> Any:
    """A new NNX model with other values in the places of some weights."""
    return importlib.import_module("structlin.nnx").with_kernels(model, dict(values))
