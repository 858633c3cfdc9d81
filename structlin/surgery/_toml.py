"""A small writer of TOML: tables of numbers, strings, lists and specs. ``tomllib`` reads it."""

import json
from collections.abc import Mapping
from typing import Any

from structlin.specs import Spec, from_json

__all__ = ["from_value", "key", "to_value"]


def to_value(value: Any) -> str:
    """A value on one line; a spec is an inline table with its name under ``spec``."""
    if isinstance(value, Spec):
        value = json.loads(value.to_json())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # The escapes of JSON are among those of TOML, once surrogate pairs are out of the way.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_value, value)) + "]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key(k)} = {to_value(v)}" for k, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    raise TypeError(f"TOML has no place for {value!r}.")


def key(name: str) -> str:
    """A key, quoted unless it is plain."""
    plain = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if plain else to_value(name)


def from_value(value: Any) -> Any:
    """A value that ``tomllib`` read, with inline tables that name a spec made specs.

    Raises:
        ValueError: A table names no known spec or field.
    """
    return from_json(json.dumps(value)) if isinstance(value, Mapping) else value
