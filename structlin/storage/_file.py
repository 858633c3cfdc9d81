"""One file for a tree of arrays and matrices: safetensors with a header that describes the tree.

The numbers stand in the file as plain tensors under the paths of their leaves, so other readers of
safetensors see them too. ``docs/file-format.md`` specifies the format.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from structlin.storage._arrays import to_jax
from structlin.storage._atomic import write_atomically
from structlin.storage._decode import Leaf, decode
from structlin.storage._encode import encode
from structlin.storage._errors import DamagedFileError, StorageError
from structlin.storage._header import Contents, read_contents, write_header
from structlin.storage._tensors import Stored, checked, mapped, read, stored, to_store

__all__ = ["Header", "load", "read_header", "read_metadata", "save", "verify"]

Pathlike = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file holds, without its numbers.

    Attributes:
        version: The version of the file's format.
        metadata: What was given to `save`.
        tree: The tree, with a ``jax.ShapeDtypeStruct`` for each array; `structlin.matrices.cost`
            takes it.
        tensors: The dtype and the shape of each array by its name, such as
            ``rnn/kernel/terms/1/values``.
        stored: What each array takes in the file, and how it is coded, by its name.
    """

    version: int
    metadata: dict[str, Any]
    tree: Any
    tensors: dict[str, jax.ShapeDtypeStruct]
    stored: dict[str, Stored]


def save(
    path: Pathlike,
    tree: Any,
    metadata: dict[str, Any] | None = None,
    *,
    coding: str | Mapping[str, str] | None = None,
) -> None:
    """Writes ``tree`` to one file, whole or not at all.

    An array that stands at two places of the tree is written twice.

    Args:
        path: The file; it is replaced if it exists. Its directory must exist.
        tree: Nested dicts (keys: strings or integers), lists and tuples of NumPy and JAX arrays,
            structured matrices, specs, Python scalars, strings and ``None``.
        metadata: Facts about the tree for `read_metadata`: a dict of strings, Python scalars,
            specs, lists, tuples and dicts.
        coding: An entropy coder for the integers, such as the codes of a quantised matrix and the
            indices of a sparse one: ``"ans"``, or ``"huffman"`` to compare with. Or patterns of
            tensors' names, as in `Header.tensors`, to these. Arrays that it would not make smaller
            are stored as they are. It needs the extra ``coding``, here and to read the file.

    Raises:
        ImportError: ``coding`` is given, and ``constriction`` is not installed.
        TypeError: Something in ``tree`` or ``metadata`` has no form in a file; the error names its
            path and its type.
        ValueError: The tree nests too deeply, or its description, arrays aside, is beyond
            33 MB; a pattern matches nothing, or there is no such coder.
        OSError: The file cannot be written; one that was there is as it was.

    Examples:
        >>> import os, tempfile, numpy as np
        >>> path = os.path.join(tempfile.mkdtemp(), "model.slin")
        >>> save(path, {"bias": np.zeros(3, np.float32)}, metadata={"step": 7})
        >>> load(path)
        {'bias': Array([0., 0., 0.], dtype=float32)}
        >>> read_metadata(path)
        {'step': 7}
    """
    if metadata is not None and type(metadata) is not dict:
        raise TypeError(f"metadata is a dict; given a {type(metadata).__name__}.")
    facts = encode(metadata or {}, None, ("metadata",))
    arrays: dict[str, np.ndarray] = {}
    record = encode(tree, arrays)
    tensors, records = to_store(arrays, coding)
    header = write_header(record, facts, records)
    try:
        data = safetensors.numpy.save(tensors, metadata=header)
    except safetensors.SafetensorError as error:
        raise StorageError(f"safetensors cannot write this tree: {error}.") from error
    write_atomically(path, data)


def load(path: Pathlike, *, as_numpy: bool = False, mmap: bool = False) -> Any:
    """Reads the tree that `save` wrote; the content is verified, and nothing in it is executed.

    Args:
        path: The file.
        as_numpy: Whether all arrays are NumPy's. Otherwise they are JAX arrays on the default
            device, except those of a dtype that JAX would narrow (64 bits wide, unless
            ``jax_enable_x64`` is set): these are NumPy arrays, so that no digit is lost.
        mmap: Whether arrays are read-only NumPy arrays mapped from the file, which the system reads
            where they are used: rows of a large table, say, by ``matrix[rows]``. What is mapped is
            not verified, as that would read it all: `verify` does. Arrays that are entropy coded
            are decoded at once. The file must stay as it is; `save` replaces files and changes
            none, so what is mapped from one outlives it.

    Returns:
        The tree, with the dtypes, keys and containers with which it was saved.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: An array is entropy coded, and ``constriction`` is not installed.
        StorageError: The file is damaged, is not one of structlin's, is of a newer version, or
            holds a structure whose module was not imported; each has a class of its own.
    """
    with _opened(path) as file:
        contents = read_contents(file)
        # Read, unless asked: a file that shrinks under a map ends the process.
        tensors = mapped(file, contents) if mmap else read(file, contents)

        def leaf(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
            host = tensors(name, dtype, shape)
            return host if as_numpy or mmap else to_jax(host)

        return _tree(contents, leaf)


def verify(path: Pathlike) -> None:
    """Reads all of a file and raises what `load` would; nothing is kept.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: An array is entropy coded, and ``constriction`` is not installed.
        StorageError: As for `load`.
    """
    with _opened(path) as file:
        contents = read_contents(file)
        tensors = read(file, contents)

        def leaf(name: str, dtype: str, shape: tuple[int, ...]) -> None:
            tensors(name, dtype, shape)

        _tree(contents, leaf)


def read_header(path: Pathlike) -> Header:
    """Reads what a file holds without reading its numbers.

    The header is verified; the numbers, unread, are not.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: As for `load`.
    """
    tensors: dict[str, jax.ShapeDtypeStruct] = {}

    def leaf(name: str, dtype: str, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        tensors[name] = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
        return tensors[name]

    with _opened(path) as file:
        contents = read_contents(file)
        tree, metadata = _tree(contents, leaf), _metadata(contents)
        return Header(contents.record["version"], metadata, tree, tensors, stored(contents))


def read_metadata(path: Pathlike) -> dict[str, Any]:
    """Reads the ``metadata`` that was given to `save`; empty if there was none.

    It needs neither the numbers nor the modules of the structures in the file.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: As for `load`.
    """
    with _opened(path) as file:
        return _metadata(read_contents(file))


@contextlib.contextmanager
def _opened(path: Pathlike) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        try:
            yield file
        except StorageError as error:
            # Below here nobody knows the name of the file.
            raise type(error)(f"Cannot read {os.fspath(path)!r}: {error}") from error.__cause__


def _metadata(contents: Contents) -> dict[str, Any]:
    facts = decode(contents.record["metadata"], None, ("metadata",))
    if not isinstance(facts, dict):
        raise DamagedFileError("its metadata is not a dict.")
    return facts


def _tree(contents: Contents, leaf: Leaf) -> Any:
    """The tree of ``contents``; ``leaf`` gets only what is in the file, and each tensor once."""
    unused = set(contents.tensors)

    def once(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        # Each once: else a small file could ask for any amount of memory.
        if name not in unused:
            raise DamagedFileError(f"its tensor {name[:200]!r} is missing, or named twice.")
        unused.remove(name)
        checked(contents, name, dtype, shape)
        return leaf(name, dtype, shape)

    tree = decode(contents.record["tree"], once)
    if unused:
        raise DamagedFileError(f"its tensors {sorted(unused)[:3]} are not in its tree.")
    return tree
