"""The tensors of a file: written with checksums, read or mapped, entropy coded where asked."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import jax.numpy as jnp
import numpy as np

from structlin.storage._arrays import from_tensor, tensor_form, to_tensor
from structlin.storage._coding import check_coder, entropy_code, expand, is_codable
from structlin.storage._decode import Leaf
from structlin.storage._errors import DamagedFileError
from structlin.storage._header import Contents, digest

__all__ = ["Stored", "checked", "mapped", "read", "stored", "to_store"]

_AT_ONCE = 1 << 24  # bytes


@dataclasses.dataclass(frozen=True)
class Stored:
    """What an array takes in a file.

    Attributes:
        bytes: Its bytes there.
        coder: Its entropy coder, ``"ans"`` or ``"huffman"``; empty if it is stored as it is.
        bound: Of a coded one Shannon's bound in bytes, as in `structlin.storage.Coded`.
    """

    bytes: int
    coder: str = ""
    bound: float | None = None


def to_store(
    arrays: Mapping[str, np.ndarray], coding: str | Mapping[str, str] | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What safetensors is given for ``arrays``, and a record of each for our header."""
    patterns = {".*": coding} if isinstance(coding, str) else dict(coding or {})
    for pattern, coder in patterns.items():
        check_coder(coder)
        if not isinstance(coding, str) and not any(re.fullmatch(pattern, n) for n in arrays):
            raise ValueError(f"Pattern {pattern!r} matches no tensor; there are {sorted(arrays)}.")
    tensors: dict[str, np.ndarray] = {}
    records: dict[str, Any] = {}
    for name in sorted(arrays):
        coder = next((c for pattern, c in patterns.items() if re.fullmatch(pattern, name)), None)
        tensors[name], coded = _stored_form(arrays[name], coder)
        sha256 = digest([tensors[name].reshape(-1).view(np.uint8)])
        records[name] = {"sha256": sha256} | ({"coding": coded} if coded else {})
    return tensors, records


def _stored_form(array: np.ndarray, coder: str | None) -> tuple[np.ndarray, dict[str, Any] | None]:
    if coder is not None and is_codable(array):
        coded = entropy_code(array, coder)
        if coded.bytes < array.nbytes:
            return coded.payload, coded.record()
    return to_tensor(array), None


def checked(contents: Contents, name: str, dtype: str, shape: tuple[int, ...]) -> None:
    """Raises where the tensor ``name`` cannot be an array of this ``dtype`` and ``shape``."""
    try:
        wanted = tensor_form(dtype, shape)
    except KeyError:
        raise DamagedFileError(f"it has an array of dtype {dtype[:80]!r}.") from None
    begin, end = contents.places[name]
    size = math.prod(shape) * jnp.dtype(dtype).itemsize
    if _coding(contents, name) is not None:
        wanted, size = ("U8", (end - begin,)), end - begin
    if (given := contents.tensors[name]) != wanted:
        raise DamagedFileError(
            f"its tensor {name[:200]!r} is {_form(*given)}; its tree wants {_form(*wanted)}."
        )
    if end - begin != size:
        raise DamagedFileError(
            f"its tensor {name[:200]!r} has {end - begin:,} bytes, not {size:,}."
        )


def read(file: BinaryIO, contents: Contents) -> Leaf:
    """Reads the arrays of ``file``, which `checked` was given, and verifies each."""
    if contents.record["version"] == 1:  # which has one checksum for all
        parts = (part for name in sorted(contents.tensors) for part in _parts(file, contents, name))
        if digest(parts) != contents.record["tensors_sha256"]:
            raise DamagedFileError("its numbers were altered: the checksum does not match.")

    def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        begin, end = contents.places[name]
        data = np.empty(end - begin, np.uint8)
        file.seek(begin)
        if file.readinto(data) != data.size:  # pyright: ignore[reportAttributeAccessIssue]
            raise DamagedFileError("it was cut short while it was read.")
        return _array(contents, data, name, dtype, shape)

    return array


def mapped(file: BinaryIO, contents: Contents) -> Leaf:
    """The arrays of ``file`` as maps of it, unverified, but for coded ones."""
    whole = np.memmap(file, np.uint8, "r")

    def array(name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        begin, end = contents.places[name]
        if _coding(contents, name) is not None:
            return _array(contents, np.array(whole[begin:end]), name, dtype, shape)
        return _shaped(whole[begin:end], name, dtype, shape)

    return array


def stored(contents: Contents) -> dict[str, Stored]:
    """What each array takes."""
    found = {}
    for name, (begin, end) in contents.places.items():
        coding = _coding(contents, name) or {}
        coder, bound = str(coding.get("coder", ""))[:20], coding.get("bound")
        found[name] = Stored(end - begin, coder, bound if type(bound) in (int, float) else None)
    return found


def _array(
    contents: Contents, data: np.ndarray, name: str, dtype: str, shape: tuple[int, ...]
) -> np.ndarray:
    """The array in the bytes ``data``, verified and decoded."""
    if contents.record["version"] > 1:
        if digest([data]) != contents.record["tensors"][name]["sha256"]:
            raise DamagedFileError(
                f"its numbers were altered: the checksum of {name[:200]!r} does not match."
            )
        if (coding := _coding(contents, name)) is not None:
            return expand(data, coding, dtype, shape)
    return _shaped(data, name, dtype, shape)


def _shaped(data: np.ndarray, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return from_tensor(data, dtype, shape)
    except (ValueError, OverflowError) as error:  # shapes that no array can have
        raise DamagedFileError(f"its tensor {name[:200]!r} is no array: {error}.") from error


def _coding(contents: Contents, name: str) -> dict[str, Any] | None:
    if contents.record["version"] == 1:
        return None
    coding = contents.record["tensors"][name].get("coding")
    if not isinstance(coding, dict | None):
        raise DamagedFileError(f"its tensor {name[:200]!r} has a coding that is none.")
    return coding


def _parts(file: BinaryIO, contents: Contents, name: str) -> Iterator[bytes]:
    begin, end = contents.places[name]
    file.seek(begin)
    while begin < end and (part := file.read(min(_AT_ONCE, end - begin))):
        begin += len(part)
        yield part


def _form(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype[:20]}{list(shape)}"
