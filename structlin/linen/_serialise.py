"""Makes Flax's msgpack serialisation know structured matrices, those of users included."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from flax import serialization

from structlin.matrices import REGISTRY, Matrix

__all__ = ["register_serialization"]


def _data(matrix: Matrix) -> list[str]:
    return [f.name for f in dataclasses.fields(matrix) if not f.metadata.get("static")]


def _to_state(matrix: Matrix) -> dict[str, Any]:
    return {n: serialization.to_state_dict(getattr(matrix, n)) for n in _data(matrix)}


def _from_state(target: Matrix, state: Any) -> Matrix:
    if not isinstance(state, Mapping) or set(state) != set(_data(target)):
        given = sorted(state) if isinstance(state, Mapping) else f"one {type(state).__name__}"
        raise ValueError(
            f"The target has {target!r} at {serialization.current_path()!r}, whose arrays are "
            f"{_data(target)}; the state has {given} there. Restore into a target of the form that "
            "was saved, such as structlin.storage.template makes."
        )
    restored = {
        name: serialization.from_state_dict(getattr(target, name), value, name=name)
        for name, value in state.items()
    }
    return dataclasses.replace(target, **restored)


def register_serialization() -> None:
    """Registers every structure with ``flax.serialization``.

    Done for all that are defined when `structlin.linen` or `structlin.nnx` is imported, as it is
    when a layer is first used; call it again after defining one of your own.
    """
    for cls in REGISTRY.values():
        serialization.register_serialization_state(cls, _to_state, _from_state, override=True)
