"""Trees as JSON records with their arrays set apart."""

import dataclasses
import math
from typing import Any

import numpy as np

from structlin.matrices import Matrix
from structlin.matrices._spec import Spec
from structlin.storage._arrays import is_array, to_host

__all__ = ["MARK", "MAX_DEPTH", "encode", "tensor_name"]

MARK = "$"
"""The key of a JSON object that stands for something other than a plain dict."""

MAX_DEPTH = 64
"""How many containers may stand in each other: room for any model, and far from the stack's end."""

_MAX_BITS = 4096  # Python turns no integer of more than 4300 digits into text

Path = tuple[Any, ...]


def encode(value: Any, arrays: dict[str, np.ndarray] | None, path: Path = ()) -> Any:
    """A tree as JSON.

    Args:
        value: Nested dicts, lists, tuples, ``None``, Python scalars, arrays, matrices and specs.
        arrays: Receives the arrays under the names that the JSON refers to. ``None`` where arrays
            have no place: in static fields and in metadata, where NumPy scalars become Python's.
        path: Where ``value`` stands.

    Returns:
        What ``json.dumps`` takes; `structlin.storage._decode.decode` reads it back.

    Raises:
        TypeError: A node, a key or an array is of a type that has no form in a file.
        ValueError: The tree nests too deeply, as one that holds itself does.
    """
    if len(path) > MAX_DEPTH:
        raise ValueError(f"{where(path)[:80]}... is more than {MAX_DEPTH} levels deep.")
    if arrays is None and isinstance(value, np.generic):
        value = value.item()
    # Types are compared exactly: a subclass, such as a NamedTuple or an OrderedDict, would come
    # back as something else than it was.
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind in (int, float):
        return _number(value, path)
    if kind is list:
        return _items(value, arrays, path)
    if kind is tuple:
        return {MARK: "tuple", "items": _items(value, arrays, path)}
    if kind is dict:
        return _dict(value, arrays, path)
    if isinstance(value, Spec):
        return {MARK: "spec", "json": value.to_json()}
    if arrays is not None and isinstance(value, Matrix):
        return _matrix(value, arrays, path)
    if arrays is not None and is_array(value):
        return _array(value, arrays, path)
    raise TypeError(_unknown(value, arrays, path))


def where(path: Path) -> str:
    """A path in words."""
    return repr(tensor_name(path)) if path else "the root of the tree"


def tensor_name(path: Path) -> str:
    """The parts of ``path`` joined by ``/``; in a part, ``%`` and ``/`` are ``%25`` and ``%2F``."""
    return "/".join(_escape(str(part)) for part in path)


def _escape(part: str) -> str:
    part = part.replace("%", "%25").replace("/", "%2F")
    # A lone surrogate is text to Python alone; the file is UTF-8.
    return "".join(f"%u{ord(c):04X}" if "\ud800" <= c <= "\udfff" else c for c in part)


def _number(value: int | float, path: Path) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else {MARK: "float", "value": repr(value)}
    if value.bit_length() > _MAX_BITS:
        raise ValueError(f"{where(path)} is an integer of more than {_MAX_BITS} bits.")
    return value


def _items(value: Any, arrays: dict[str, np.ndarray] | None, path: Path) -> list[Any]:
    return [encode(v, arrays, (*path, i)) for i, v in enumerate(value)]


def _dict(value: dict[Any, Any], arrays: dict[str, np.ndarray] | None, path: Path) -> Any:
    for key in value:
        if type(key) not in (str, int):
            raise TypeError(
                f"{where(path)} has the key {key!r} of type {type(key).__name__}: keys are strings "
                "or integers."
            )
    pairs = [[key, encode(v, arrays, (*path, key))] for key, v in value.items()]
    if all(type(key) is str for key in value) and MARK not in value:
        return dict(pairs)
    return {MARK: "dict", "items": pairs}


def _matrix(matrix: Matrix, arrays: dict[str, np.ndarray], path: Path) -> Any:
    fields = {
        f.name: encode(
            getattr(matrix, f.name),
            None if f.metadata.get("static") else arrays,
            (*path, f.name),
        )
        for f in dataclasses.fields(matrix)
    }
    return {MARK: "matrix", "class": type(matrix).__name__, "fields": fields}


def _array(value: Any, arrays: dict[str, np.ndarray], path: Path) -> Any:
    host = to_host(value, where(path))
    name = tensor_name(path)
    # An escaped name never ends in a bare %: this sets apart the name of an array that is the whole
    # tree, the one that safetensors keeps for itself, and the keys 1 and "1" of one dict.
    while name in ("", "__metadata__") or name in arrays:
        name += "%"
    arrays[name] = host
    return {MARK: "array", "name": name, "dtype": host.dtype.name, "shape": list(host.shape)}


def _unknown(value: Any, arrays: dict[str, np.ndarray] | None, path: Path) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if arrays is None and (is_array(value) or isinstance(value, Matrix)):
        return (
            f"{where(path)} is a {kind}: metadata and static fields hold no arrays; use Python "
            "numbers (`.tolist()`), or put it into the tree."
        )
    return (
        f"{where(path)} is a {kind}: a file holds dicts, lists, tuples, None, Python scalars, "
        "arrays, matrices and specs, and no subclasses of them. Convert it first; "
        "flax.core.unfreeze and flax.nnx.to_pure_dict do that for Flax's containers."
    )
