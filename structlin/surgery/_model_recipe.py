"""The recipe that a structured model itself is, for a dense checkpoint to become its parameters."""

import importlib
import re
from typing import Any

from structlin.surgery._model import is_nnx
from structlin.surgery._recipe import Recipe

__all__ = ["recipe"]


def recipe(model: Any, *inputs: Any, **kwargs: Any) -> Recipe:
    """The recipe that makes of a dense model's parameters those of a structured model.

    It gives every weight of ``model`` that has a spec this spec, by its exact path. With ``dense``
    the parameters of the same model without specs, of Flax's layers or of this library's,
    ``structlin.compress(dense, structlin.recipe(model, x)).params`` is what ``model.apply`` takes.
    Layers without a spec keep their weights. The paths must agree: name the layers whose classes
    give them other names.

    Args:
        model: A Linen model with layers of `structlin.linen`, or an NNX model with layers of
            `structlin.nnx`, as it was constructed. For a dense NNX model or the tree of its
            parameters.
        inputs: What ``model.init`` of a Linen model takes after the key, or
            ``jax.ShapeDtypeStruct``; nothing is computed. None for NNX.
        kwargs: Likewise.

    Returns:
        A recipe that fuses the gates of cells and knows the shape of each weight.

    Raises:
        TypeError: ``model`` is no model of Flax.
        ValueError: No layer has a spec.
    """
    shell = importlib.import_module("structlin.nnx" if is_nnx(model) else "structlin.linen")
    found = shell.kernel_specs(model, *inputs, **kwargs)
    if not found:
        raise ValueError(
            f"No layer of this {type(model).__name__} has a spec: a recipe is read from a model "
            "that was given some, such as structlin.Dense(8, spec=structlin.specs.LowRank(rank=2))."
        )
    specs = {re.escape(path): spec for path, (spec, _) in found.items()}
    shapes = {re.escape(path): shape for path, (_, shape) in found.items()}
    return Recipe(specs, fuse=True, shapes=shapes)
