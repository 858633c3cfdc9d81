"""Which weights of a Linen model have a spec."""

import contextvars
from typing import Any

import flax.linen as nn
import jax

from structlin.specs import Spec

__all__ = ["kernel_specs", "noted"]

Found = dict[str, tuple[Spec, tuple[int, int]]]

_NOTES: contextvars.ContextVar[Found | None] = contextvars.ContextVar("_NOTES", default=None)


def kernel_specs(model: nn.Module, *inputs: Any, **kwargs: Any) -> Found:
    """The weights of a model that a spec makes.

    Found by an initialisation that computes nothing and draws no structure.

    Args:
        model: A model with layers of `structlin.linen` in it.
        inputs: What ``model.init`` takes after the key; ``jax.ShapeDtypeStruct`` will do.
        kwargs: Likewise.

    Returns:
        Path in the parameters to the spec and the shape ``(in, out)``. The kernel of a side of a
        cell is that of all its gates, ``cell/h/kernel``.

    Raises:
        TypeError: ``model`` is no module of Linen.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"A model of Flax is needed; given {type(model).__name__}.")
    leaves, form = jax.tree.flatten((inputs, kwargs))
    abstract = {i: x for i, x in enumerate(leaves) if hasattr(x, "shape") and hasattr(x, "dtype")}

    def init(key: jax.Array, arrays: dict[int, Any]) -> Any:
        args, fields = form.unflatten([arrays.get(i, x) for i, x in enumerate(leaves)])
        return model.init(key, *args, **fields)

    found: Found = {}
    token = _NOTES.set(found)
    try:
        jax.eval_shape(init, jax.random.key(0), abstract)
    finally:
        _NOTES.reset(token)
    return found


def noted(path: str, spec: Spec, shape: tuple[int, int]) -> bool:
    """Notes a weight for `kernel_specs`, if that is at work: then the spec need not make it."""
    notes = _NOTES.get()
    if notes is None:
        return False
    notes[path] = spec, shape
    return True
