"""Files of weights as trees."""

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from structlin import storage
from structlin.cli._failures import CommandError
from structlin.matrices import is_matrix

__all__ = ["read_model"]

# AttributeError: safetensors asks NumPy for a dtype that it has not, such as an 8-bit float.
_UNREADABLE = (
    *(safetensors.SafetensorError, zipfile.BadZipFile, zlib.error),
    *(AttributeError, EOFError, OSError, ValueError),
)


def read_model(path: Path) -> tuple[Any, dict[str, Any]]:
    """The tree in a file, and the metadata of one that `structlin.save` wrote.

    Args:
        path: A ``.safetensors`` or ``.npz`` file of named arrays, whose names are split at ``/``
            and ``.``; any other is one of `structlin.save`. Floating-point numbers become JAX's,
            64 bits narrowed unless JAX has them enabled.

    Raises:
        CommandError: There is no such file, or it cannot be read.
    """
    try:
        if path.suffix == ".npz":
            tree, metadata = _nested(_read_npz(path)), {}
        elif path.suffix == ".safetensors":
            tree, metadata = _nested(safetensors.numpy.load_file(path)), {}
        else:
            tree, metadata = storage.load(path), storage.read_metadata(path)
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", 2) from None
    except storage.StorageError as error:
        raise CommandError(str(error), 1) from None
    except _UNREADABLE as error:
        raise CommandError(f"cannot read {path}: {error}", 1) from None
    return jax.tree.map(_as_jax, tree, is_leaf=is_matrix), metadata


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it is one array without a name")
        return dict(found)


def _nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, array in sorted(arrays.items()):
        *above, last = re.split("[./]", name)
        node: Any = tree
        for key in above:
            node = node.setdefault(key, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last in node:
            raise ValueError(f"{name!r} stands where another array stands")
        node[last] = array
    return tree


def _as_jax(leaf: Any) -> Any:
    numbers = isinstance(leaf, np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.inexact)
    return jnp.asarray(leaf) if numbers else leaf
