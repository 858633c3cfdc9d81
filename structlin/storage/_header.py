"""The header of a file: written, and read back without belief."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from typing import Any, BinaryIO

from structlin.storage._decode import field
from structlin.storage._errors import DamagedFileError, ForeignFileError, NewerVersionError

__all__ = ["VERSION", "Contents", "digest", "read_contents", "write_header"]

VERSION = 2
"""The version of the format that is written; all up to it are read."""

_FORMAT = "structlin"
_BLANK = "0" * 64
_LONGEST = 100_000_000  # bytes; safetensors' own limit


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file says of itself.

    Attributes:
        record: Our header: ``version``, ``metadata``, ``tree``, and ``tensors_sha256`` in version 1
            or ``tensors``, a record of each, from version 2 on.
        tensors: safetensors' dtype and shape of each tensor, by name.
        places: Where in the file its bytes begin and end.
    """

    record: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    places: dict[str, tuple[int, int]]


def digest(parts: Iterable[Any]) -> str:
    """The SHA-256 of ``parts`` one after the other, in hexadecimal."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def write_header(tree: Any, metadata: Any, tensors: dict[str, Any]) -> dict[str, str]:
    """The ``__metadata__`` of a file: one key, since safetensors writes several in any order.

    Args:
        tree: The record of the tree.
        metadata: The record of the metadata.
        tensors: For each tensor, by name, its ``sha256`` and, if it is coded, its ``coding``.
    """
    record = {
        "format": _FORMAT,
        "version": VERSION,
        "header_sha256": _BLANK,
        "tensors": tensors,
        "metadata": metadata,
        "tree": tree,
    }
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    if len(text) > _LONGEST // 3:  # quoting it, and the names of the tensors, take room too
        raise ValueError(
            f"The description of the tree takes {len(text):,} bytes, and this part of a file holds "
            f"{_LONGEST // 3:,} at most: keep long lists of numbers as arrays."
        )
    return {_FORMAT: text.replace(_BLANK, digest([text.encode()]), 1)}


def read_contents(file: BinaryIO) -> Contents:
    """Reads what stands before the numbers of ``file``, which is at its start.

    Raises:
        StorageError: It is not there, not whole, or of a newer version.
    """
    header, start = _safetensors_header(file)
    strings = header.pop("__metadata__", None)
    if not isinstance(strings, dict) or not isinstance(strings.get(_FORMAT), str):
        raise ForeignFileError(
            "it is a safetensors file without structlin's header: read it with "
            "safetensors.numpy.load_file."
        )
    record = _our_record(strings[_FORMAT])
    tensors = {name: _entry(name, entry) for name, entry in header.items()}
    if record["version"] > 1:
        for name in tensors:
            field(field(record["tensors"], name, dict, ("tensors",)), "sha256", str, (name,))
    return Contents(record, tensors, _places(header, start))


def _safetensors_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise DamagedFileError("it is empty.")
    length, first = int.from_bytes(file.read(8), "little"), file.read(1)
    if size < 9 or first != b"{" or length > _LONGEST:
        raise ForeignFileError("it does not begin as a safetensors file does.")
    if size < 8 + length:
        raise DamagedFileError(
            f"it is cut short: {size:,} bytes, of which the header alone needs {8 + length:,}."
        )
    header = _parse(first + file.read(length - 1))
    ends = [_offsets(entry)[1] for name, entry in header.items() if name != "__metadata__"]
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        kind = "cut short" if size < wanted else "too long"
        raise DamagedFileError(f"it is {kind}: {size:,} bytes where its header says {wanted:,}.")
    return header, 8 + length


def _our_record(text: str) -> dict[str, Any]:
    record = _parse(text)
    if record.get("format") != _FORMAT:
        raise ForeignFileError(f"its header does not say that its format is {_FORMAT!r}.")
    version = field(record, "version", int)
    if version > VERSION:
        raise NewerVersionError(
            f"it is in version {version} of the format, and this structlin reads versions up to "
            f"{VERSION}: update structlin."
        )
    if version < 1:
        raise DamagedFileError(f"its header has the version {version}.")
    # The digest is that of the text in which its own digits are zeros.
    claimed = field(record, "header_sha256", str)
    blank = text.replace(claimed, _BLANK, 1).encode("utf-8", "surrogatepass")
    if digest([blank]) != claimed:
        raise DamagedFileError("its header was altered: the checksum does not match.")
    field(record, *(("tensors_sha256", str) if version == 1 else ("tensors", dict)))
    field(record, "metadata", dict)
    if "tree" not in record:
        raise DamagedFileError("its header has no tree.")
    return record


def _parse(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text.decode() if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise DamagedFileError(f"its header cannot be read: {str(error)[:200]}.") from error
    if not isinstance(value, dict):
        raise DamagedFileError("its header is not a JSON object.")
    return value


def _offsets(entry: Any) -> tuple[int, int]:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not (
        isinstance(offsets, list) and len(offsets) == 2 and all(type(n) is int for n in offsets)
    ):
        raise DamagedFileError("its header has a tensor without a place.")
    return offsets[0], offsets[1]


def _places(header: dict[str, Any], start: int) -> dict[str, tuple[int, int]]:
    """Where each tensor stands; they fill the rest of the file one after the other."""
    found, at = {}, 0
    for (begin, end), name in sorted((_offsets(entry), name) for name, entry in header.items()):
        if begin != at or end < begin:
            raise DamagedFileError(f"its tensor {name[:200]!r} does not begin where another ends.")
        found[name], at = (start + begin, start + end), end
    return found


def _entry(name: str, entry: dict[str, Any]) -> tuple[str, tuple[int, ...]]:
    dtype, shape = field(entry, "dtype", str, (name,)), field(entry, "shape", list, (name,))
    return dtype, tuple(shape)
