"""What lets an exported function take matrices as arguments."""

import collections
import json
from typing import Any

import numpy as np
from jax import export

__all__ = ["register_for_export"]

DEFINED: collections.Counter[str] = collections.Counter()
"""How often a class of each name was defined."""


def register_for_export(cls: type) -> None:
    """Lets `jax.export` write trees that hold matrices of this class, static fields as JSON.

    A class that is defined a second time, as when a notebook's cell runs again, is written under a
    numbered name, since `jax.export` keeps the first.
    """
    name = f"structlin.{cls.__name__}"
    DEFINED[name] += 1
    export.register_pytree_node_serialization(
        cls,
        serialized_name=name if DEFINED[name] == 1 else f"{name}.{DEFINED[name]}",
        serialize_auxdata=_write,
        deserialize_auxdata=_read,
    )


def _write(static: Any) -> bytes:
    return json.dumps(static, default=_number).encode()


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A static field is a number, a string or a tuple of them; given {value!r}.")


def _read(text: bytes) -> Any:
    return _hashable(json.loads(bytes(text)))


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
