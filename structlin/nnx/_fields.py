"""What the shells share: the fields of Flax's modules, and those that a matrix cannot honour."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from flax.nnx import variablelib

from structlin.specs import Spec

__all__ = ["check_fields", "default", "drawn_by", "placed", "takes_fields_of"]

Init = Callable[..., Any]

_DENSE_ONLY = ("dot_general", "dot_general_cls", "promote_dtype", "preferred_element_type")
_PLACES = ("out_sharding", "sharding", "sharding_names", "mesh")


def takes_fields_of(
    base: type[nnx.Module], spec_type: type[Spec] | None = None
) -> Callable[[Init], Init]:
    """Decorates an ``__init__`` that hands ``**fields`` on: its signature shows what they are.

    Args:
        base: The module whose fields they are; these come first.
        spec_type: A spec whose fields they also are.
    """
    theirs = list(inspect.signature(base.__init__).parameters.values())
    names = {p.name for p in theirs}
    others = [] if spec_type is None else inspect.signature(spec_type).parameters.values()

    def decorate(init: Init) -> Init:
        ours = [p for p in inspect.signature(init).parameters.values() if p.kind is p.KEYWORD_ONLY]
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in (*ours, *others) if p.name not in names]
        signature = inspect.Signature([*theirs, *own])
        init.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
        return init

    return decorate


def default(base: type[nnx.Module], name: str) -> Any:
    """The default of a field of a Flax module; ``None`` if it has no such field."""
    parameter = inspect.signature(base.__init__).parameters.get(name)
    return None if parameter is None else parameter.default


def drawn_by(spec: Spec, base: type[nnx.Module], fields: dict[str, Any], name: str) -> Init:
    """The initializer that draws a matrix where ``base`` would draw an array.

    An initializer other than the default of ``base`` draws a dense array that the spec is fitted
    to.

    Args:
        spec: Of the matrix.
        base: The Flax module.
        fields: What it was given.
        name: The field of the initializer.

    Raises:
        ValueError: The weight is to be placed on a mesh as one array.
    """
    metadata = name.removesuffix("init") + "metadata"
    if any(key in fields.get(metadata, {}) for key in _PLACES):
        raise ValueError(_PLACED.format(metadata))
    init = fields.get(name, default(base, name))
    if init is default(base, name):
        return spec.init

    def fitted(key: jax.Array, shape: tuple[int, int], dtype: Any) -> Any:
        dense = init(key, shape, dtype)
        if isinstance(dense, variablelib.VariableMetadata):
            raise ValueError(_PLACED.format(name))
        return spec.fit(dense)

    return fitted


_PLACED = (
    "{} says how one array lies on a mesh, and a structured weight is several of other shapes. "
    "Leave it out and set the metadata of the leaves, which are variables of their own."
)


def check_fields(module: nnx.Module, base: type[nnx.Module]) -> None:
    """Raises if a field is set that only a dense weight can honour."""
    for name in _DENSE_ONLY:
        if getattr(module, name, default(base, name)) is not default(base, name):
            raise ValueError(
                f"{type(module).__name__} was given {name}=, which a structured weight cannot "
                "honour: its product is not one dot_general. Leave the field, or the spec, out."
            )


def placed(outputs: jax.Array, sharding: Any) -> jax.Array:
    """``outputs`` with the sharding that the caller asked for, if any."""
    return outputs if sharding is None else jax.sharding.reshard(outputs, sharding)
