"""One file for a tree of arrays and matrices: safetensors with a header that describes the tree.

The numbers stand in the file as plain tensors under the paths of their leaves, so other readers of
safetensors see them too. ``docs/file-format.md`` specifies the format.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from structlin.storage._arrays import from_tensor, tensor_form, to_jax, to_tensor
from structlin.storage._atomic import write_atomically
from structlin.storage._decode import Leaf, decode
from structlin.storage._encode import encode
from structlin.storage._errors import DamagedFileError, StorageError
from structlin.storage._header import Contents, digest, read_contents, write_header

__all__ = ["Header", "load", "read_header", "read_metadata", "save"]

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
    """

    version: int
    metadata: dict[str, Any]
    tree: Any
    tensors: dict[str, jax.ShapeDtypeStruct]


def save(path: Pathlike, tree: Any, metadata: dict[str, Any] | None = None) -> None:
    """Writes ``tree`` to one file, whole or not at all.

    An array that stands at two places of the tree is written twice.

    Args:
        path: The file; it is replaced if it exists. Its directory must exist.
        tree: Nested dicts (keys: strings or integers), lists and tuples of NumPy and JAX arrays,
            structured matrices, specs, Python scalars, strings and ``None``.
        metadata: Facts about the tree for `read_metadata`: a dict of strings, Python scalars,
            specs, lists, tuples and dicts.

    Raises:
        TypeError: Something in ``tree`` or ``metadata`` has no form in a file; the error names its
            path and its type.
        ValueError: The tree nests too deeply, or its description, arrays aside, is beyond
            33 MB.
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
    tensors = {name: to_tensor(arrays[name]) for name in sorted(arrays)}
    checksum = digest(tensor.reshape(-1).view(np.uint8) for tensor in tensors.values())
    header = write_header(record, facts, checksum)
    try:
        data = safetensors.numpy.save(tensors, metadata=header)
    except safetensors.SafetensorError as error:
        raise StorageError(f"safetensors cannot write this tree: {error}.") from error
    write_atomically(path, data)


def load(path: Pathlike, *, as_numpy: bool = False) -> Any:
    """Reads the tree that `save` wrote; the content is verified, and nothing in it is executed.

    Args:
        path: The file.
        as_numpy: Whether all arrays are NumPy's. Otherwise they are JAX arrays on the default
            device, except those of a dtype that JAX would narrow (64 bits wide, unless
            ``jax_enable_x64`` is set): these are NumPy arrays, so that no digit is lost.

    Returns:
        The tree, with the dtypes, keys and containers with which it was saved.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: The file is damaged, is not one of structlin's, is of a newer version, or
            holds a structure whose module was not imported; each has a class of its own.
    """
    with _opened(path) as file:
        contents = read_contents(file)
        file.seek(0)
        # Read, not mapped: a file that shrinks under a map ends the process.
        tensors = _verified(contents, file.read())

        def leaf(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
            try:
                host = from_tensor(tensors.pop(name), dtype, shape)
                return host if as_numpy else to_jax(host)
            except (KeyError, ValueError, OverflowError) as error:  # shapes that no array can have
                raise DamagedFileError(
                    f"its tensor {name[:200]!r} is no array: {error}."
                ) from error

        return _tree(contents, leaf)


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
        return Header(contents.record["version"], metadata, tree, tensors)


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
    unused = dict(contents.tensors)

    def checked(name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        try:
            wanted = tensor_form(dtype, shape)
        except KeyError:
            raise DamagedFileError(f"it has an array of dtype {dtype[:80]!r}.") from None
        # Each once: else a small file could ask for any amount of memory.
        given = unused.pop(name, None)
        if given is None:
            raise DamagedFileError(f"its tensor {name[:200]!r} is missing, or named twice.")
        if given != wanted:
            raise DamagedFileError(
                f"its tensor {name[:200]!r} is {_form(*given)}; its tree wants {_form(*wanted)}."
            )
        return leaf(name, dtype, shape)

    tree = decode(contents.record["tree"], checked)
    if unused:
        raise DamagedFileError(f"its tensors {sorted(unused)[:3]} are not in its tree.")
    return tree


def _form(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype[:20]}{list(shape)}"


def _verified(contents: Contents, data: bytes) -> dict[str, Any]:
    """The bytes of each tensor by its name."""
    try:
        tensors = {name: entry["data"] for name, entry in safetensors.deserialize(data)}
    except safetensors.SafetensorError as error:
        raise DamagedFileError(f"it is not a sound safetensors file: {error}.") from error
    if digest(tensors[name] for name in sorted(tensors)) != contents.record["tensors_sha256"]:
        raise DamagedFileError("its numbers were altered: the checksum does not match.")
    return tensors
