"""Turns a module of Flax, where it stands, into the one here that can hold a matrix."""

import functools
from collections.abc import Mapping
from typing import Any

from flax import nnx

from structlin.functional import Kernel
from structlin.matrices import is_matrix
from structlin.nnx._linear import Embed, Linear, LinearGeneral
from structlin.nnx._variables import hold

__all__ = ["HOLDERS", "adopt", "put", "weight_name"]

HOLDERS: dict[type[nnx.Module], type[nnx.Module]] = {
    nnx.Linear: Linear,
    nnx.LinearGeneral: LinearGeneral,
    nnx.Embed: Embed,
}
"""Flax's modules that hold a weight, and the ones here that take their place."""


def weight_name(module: nnx.Module) -> str:
    """The attribute that holds the weight."""
    return "embedding" if isinstance(module, nnx.Embed) else "kernel"


def put(module: nnx.Module, kernel: Kernel, metadata: Mapping[str, Any] | None = None) -> None:
    """Sets the weight of a module.

    The class of the module changes, not the module: whatever shares or contains it still does.

    Args:
        module: An instance of a key of `HOLDERS`.
        kernel: An array of the weight's own shape, or a matrix.
        metadata: Of the new variables.
    """
    if is_matrix(kernel):
        adopt(module)
    setattr(module, weight_name(module), hold(kernel, metadata))


def adopt(module: nnx.Module) -> None:
    """Makes a module of Flax one that can hold a matrix."""
    # Not by setattr, which a module keeps for its fields.
    object.__setattr__(module, "__class__", _structured(type(module)))


@functools.cache
def _structured(cls: type[nnx.Module]) -> type[nnx.Module]:
    """The class that does what ``cls`` does, on a structured weight.

    A subclass of Flax's module keeps what it overrides, and its ``super()`` leads to ours.
    """
    base, ours = next(pair for pair in HOLDERS.items() if issubclass(cls, pair[0]))
    if cls is base:
        return ours
    if issubclass(cls, ours):
        return cls
    members = {
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    metaclass: Any = type(cls)
    return metaclass(cls.__name__, (cls, ours), members)
