"""JSON records back to trees; nothing in a record is trusted."""

import dataclasses
from collections.abc import Callable
from typing import Any

from structlin.matrices import REGISTRY
from structlin.matrices._spec import from_json
from structlin.storage._encode import MARK, MAX_DEPTH, where
from structlin.storage._errors import DamagedFileError, StorageError, UnknownStructureError

__all__ = ["Leaf", "decode", "field"]

Leaf = Callable[[str, str, tuple[int, ...]], Any]
"""Makes an array from its name, dtype and shape, none of them checked."""

Path = tuple[Any, ...]


def decode(record: Any, leaf: Leaf | None, path: Path = ()) -> Any:
    """The tree that `structlin.storage._encode.encode` turned into ``record``.

    Args:
        record: What ``json.loads`` gave.
        leaf: Makes the arrays; ``None`` where arrays have no place.
        path: Where the node stands.

    Raises:
        StorageError: The record is none that `encode` makes, or names a class not defined here.
    """
    if len(path) > MAX_DEPTH:
        raise DamagedFileError(f"its tree is more than {MAX_DEPTH} levels deep.")
    if isinstance(record, list):
        return [decode(r, leaf, (*path, i)) for i, r in enumerate(record)]
    if not isinstance(record, dict):
        return record  # null, true, false, a number or a string
    if MARK not in record:
        return {key: decode(r, leaf, (*path, key)) for key, r in record.items()}
    kind = field(record, MARK, str, path)
    if kind not in _KINDS:
        raise DamagedFileError(f"it has a node of unknown kind {kind[:80]!r} at {where(path)}.")
    return _KINDS[kind](record, leaf, path)


def field(record: dict[str, Any], key: str, kind: type, path: Path = ()) -> Any:
    """``record[key]``, which must be there and of type ``kind``."""
    value = record.get(key)
    if type(value) is not kind:
        given = "nothing" if key not in record else type(value).__name__
        raise DamagedFileError(
            f"its header has {given} where {key!r} should be a {kind.__name__}, at {where(path)}."
        )
    return value


def _float(record: dict[str, Any], leaf: Leaf | None, path: Path) -> float:
    del leaf
    text = field(record, "value", str, path)
    if text not in ("nan", "inf", "-inf"):
        raise DamagedFileError(f"it has the number {text[:80]!r} at {where(path)}.")
    return float(text)


def _tuple(record: dict[str, Any], leaf: Leaf | None, path: Path) -> tuple[Any, ...]:
    return tuple(decode(field(record, "items", list, path), leaf, path))


def _dict(record: dict[str, Any], leaf: Leaf | None, path: Path) -> dict[Any, Any]:
    result = {}
    for pair in field(record, "items", list, path):
        if not (isinstance(pair, list) and len(pair) == 2 and type(pair[0]) in (str, int)):
            raise DamagedFileError(f"it has a dict without keys at {where(path)}.")
        result[pair[0]] = decode(pair[1], leaf, (*path, pair[0]))
    return result


def _spec(record: dict[str, Any], leaf: Leaf | None, path: Path) -> Any:
    del leaf
    try:
        return from_json(field(record, "json", str, path))
    except Exception as error:  # specs check themselves, each in its own way
        text = " ".join(str(error).split())[:300]
        advice = "If the spec is your own, import the module that defines it first."
        kind = UnknownStructureError if text.startswith("No spec is named") else StorageError
        raise kind(f"its spec at {where(path)} cannot be made: {text} {advice}") from error


def _matrix(record: dict[str, Any], leaf: Leaf | None, path: Path) -> Any:
    name = field(record, "class", str, path)
    given = field(record, "fields", dict, path)
    if leaf is None:
        raise DamagedFileError(f"it has a matrix where only plain values can be: {where(path)}.")
    if name not in REGISTRY:
        raise UnknownStructureError(
            f"its matrix at {where(path)} is a {name[:80]!r}, which is not defined here: import "
            f"the module that defines it before loading. Known: {', '.join(sorted(REGISTRY))}."
        )
    cls = REGISTRY[name]
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if unknown := sorted(given.keys() - fields.keys()):
        raise StorageError(
            f"its {name} at {where(path)} has the fields {unknown}, which {name} does not have; "
            f"its fields are {sorted(fields)}. Update the package that defines it."
        )
    # A field that came later has a default, with which older files are read.
    missing = sorted(n for n, f in fields.items() if n not in given and _required(f))
    if missing:
        raise StorageError(f"its {name} at {where(path)} lacks the fields {missing}.")
    values = {
        key: decode(r, None if fields[key].metadata.get("static") else leaf, (*path, key))
        for key, r in given.items()
    }
    try:
        return cls(**values)
    except Exception as error:  # a class from outside may check its fields, in its own way
        raise StorageError(f"its {name} at {where(path)} cannot be made: {error!r}") from error


def _required(f: "dataclasses.Field[Any]") -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _array(record: dict[str, Any], leaf: Leaf | None, path: Path) -> Any:
    if leaf is None:
        raise DamagedFileError(f"it has an array where only plain values can be: {where(path)}.")
    shape = field(record, "shape", list, path)
    if not all(type(n) is int and n >= 0 for n in shape):
        raise DamagedFileError(f"it has an array of no shape at {where(path)}.")
    return leaf(field(record, "name", str, path), field(record, "dtype", str, path), tuple(shape))


_KINDS = {
    "array": _array,
    "dict": _dict,
    "float": _float,
    "matrix": _matrix,
    "spec": _spec,
    "tuple": _tuple,
}
