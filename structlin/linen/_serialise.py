"""Makes Flax's msgpack serialisation know structured matrices, those of users included."""

import dataclasses
from typing import Any

from flax import serialization

from structlin.matrices import REGISTRY, Matrix

__all__ = ["register_serialization"]


def _to_state(matrix: Matrix) -> dict[str, Any]:
    return {
        f.name: serialization.to_state_dict(getattr(matrix, f.name))
        for f in dataclasses.fields(matrix)
        if not f.metadata.get("static")
    }


def _from_state(target: Matrix, state: dict[str, Any]) -> Matrix:
    restored = {
        name: serialization.from_state_dict(getattr(target, name), value, name=name)
        for name, value in state.items()
    }
    return dataclasses.replace(target, **restored)


def register_serialization() -> None:
    """Registers every structure with ``flax.serialization``.

    Done for all that are defined when `structlin.linen` is imported; call it again after defining
    one of your own.
    """
    for cls in REGISTRY.values():
        serialization.register_serialization_state(cls, _to_state, _from_state, override=True)
