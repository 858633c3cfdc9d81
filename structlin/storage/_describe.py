"""The form of a tree as JSON, for checkpoints in formats that keep the arrays alone."""

import json
import re
from typing import Any

import jax
import jax.numpy as jnp

from structlin.storage._arrays import tensor_form
from structlin.storage._decode import decode, field
from structlin.storage._encode import encode, where
from structlin.storage._errors import DamagedFileError, ForeignFileError, NewerVersionError

__all__ = ["describe", "rebuild", "template"]

_FORMAT, _VERSION = "structlin tree", 1
_ARRAY = re.compile(r"([a-z0-9_]+)\[([0-9, ]*)\]")

Path = tuple[str, ...]


def describe(tree: Any) -> str:
    """The form of ``tree`` as JSON: its containers, its matrices, the shape and dtype of arrays.

    Keep it beside a checkpoint that was written by orbax, ``flax.serialization`` or anything else
    that stores arrays without the classes and the static fields of the matrices around them;
    `template` and `rebuild` need nothing else to read one.

    Args:
        tree: Nested dicts (keys: strings or integers), lists and tuples of arrays and structured
            matrices, or of ``jax.ShapeDtypeStruct`` in place of arrays.

    Raises:
        TypeError: A leaf is no array, or a container has no form here; the error names its path.

    Examples:
        >>> import numpy as np
        >>> describe({"bias": np.zeros(3, np.float32)})
        '{"format": "structlin tree", "version": 1, "tree": {"bias": "float32[3]"}}'
    """
    record = encode(jax.tree_util.tree_map_with_path(_form, tree), {})
    return json.dumps({"format": _FORMAT, "version": _VERSION, "tree": record}, allow_nan=False)


def template(description: str) -> Any:
    """The tree that was described, with a ``jax.ShapeDtypeStruct`` for each array.

    It is the target that ``StandardCheckpointer.restore`` of orbax and ``from_bytes`` of
    ``flax.serialization`` need to return matrices.

    Args:
        description: What `describe` returned; nothing in it is executed.

    Raises:
        StorageError: It is none, is of a newer version, or names a structure whose module was not
            imported; each has a class of its own.
    """
    try:
        record = json.loads(description)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"The description is no JSON: {str(error)[:200]}.") from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise ForeignFileError(f"This is no description: its format is not {_FORMAT!r}.")
    if (version := field(record, "version", int)) > _VERSION:
        raise NewerVersionError(
            f"The description is in version {version}, and this structlin reads versions up to "
            f"{_VERSION}: update structlin."
        )
    if "tree" not in record:
        raise DamagedFileError("The description has no tree.")
    return jax.tree_util.tree_map_with_path(_array, decode(record["tree"], _no_array))


def rebuild(plain: Any, template: Any) -> Any:
    """The arrays of a tree that was restored without a target, as the matrices they were.

    Args:
        plain: Nested dicts and lists of arrays under the paths that JAX gives them, as
            ``StandardCheckpointer().restore(path)`` of orbax returns them. The state of
            ``flax.serialization`` names fields otherwise: ``from_state_dict(template, state)``
            reads that.
        template: What `template` returned, or any tree of the form wanted.

    Raises:
        ValueError: An array is missing, is not in the template, or has another shape or dtype.

    Examples:
        >>> import numpy as np
        >>> from structlin.matrices import LowRank
        >>> matrix = LowRank(np.ones((9, 1), np.float32), np.ones((1, 8), np.float32))
        >>> rebuild({"left": matrix.left, "right": matrix.right}, template(describe(matrix)))
        LowRank(9x8, float32, 17 params, 68 bytes, 4.2x smaller)
    """
    given = {_names(p): x for p, x in jax.tree_util.tree_leaves_with_path(plain)}
    leaves, form = jax.tree_util.tree_flatten_with_path(template)
    wanted = {_names(p): x for p, x in leaves}
    if missing := ["/".join(p) for p in wanted if p not in given]:
        have = ["/".join(p) for p in given]
        raise ValueError(f"The tree lacks {missing[:5]}, which the template has; it has {have}.")
    if unknown := ["/".join(p) for p in given if p not in wanted]:
        raise ValueError(f"The tree has {unknown[:5]}, which the template has not.")
    for path, x in wanted.items():
        if (found := _words(given[path])) != _words(x):
            raise ValueError(f"{'/'.join(path)} is {found}; the template has {_words(x)}.")
    return form.unflatten([given[path] for path in wanted])


def _names(path: Any) -> Path:
    """The parts of a path, alike for dicts, lists and the fields of matrices."""
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in path)


def _words(x: Any) -> str:
    return f"{jnp.dtype(x.dtype).name}{list(x.shape)}" if hasattr(x, "dtype") else repr(x)


def _form(path: Any, leaf: Any) -> str:
    name = getattr(getattr(leaf, "dtype", None), "name", "")
    try:
        tensor_form(name, ())
    except KeyError:
        kind = f"an array of {name}" if name else f"a {type(leaf).__name__}"
        raise TypeError(
            f"{where(_names(path))} is {kind}: a description holds arrays of numbers, and nothing "
            "else as leaves. Make numbers arrays, and keep the rest apart."
        ) from None
    return _words(leaf)


def _no_array(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
    del dtype, shape
    raise DamagedFileError(f"The description refers to a tensor, {name[:80]!r}.")


def _array(path: Any, text: Any) -> jax.ShapeDtypeStruct:
    match = _ARRAY.fullmatch(text) if isinstance(text, str) else None
    name, sizes = match.groups() if match else ("", "")
    try:
        tensor_form(name, ())
        shape = tuple(int(n) for n in sizes.split(", ")) if sizes else ()
        return jax.ShapeDtypeStruct(shape, jnp.dtype(name))
    except (KeyError, ValueError, OverflowError):
        raise DamagedFileError(
            f"The description has {text!r:.80} at {where(_names(path))}: it is no array."
        ) from None
