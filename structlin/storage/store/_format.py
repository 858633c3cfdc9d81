"""What a store of embeddings says of itself, and how its blocks are guarded.

A store is a SQLite database. Its application id is `APPLICATION`, its user version the version of
the format, and its tables are `SCHEMA`:

- ``header`` has one row: `Header` as JSON, and the CRC-32 of that text.
- ``rows`` has the embeddings in blocks: the bytes of ``rows_per_block`` rows, one after the other,
  as `structlin.storage.store._codes` makes them; or coded rows, which
  `structlin.storage.store._coded` makes. A block fills pages of the database.
- ``names`` has the words of 128 rows at a time, and ``buckets`` leads from a word to its row;
  `structlin.storage.store._names` makes both. They are empty where rows have numbers only.

A block ends with a CRC-32 that covers its place and the form of the store too, so that no block and
no header passes for another, nor for that of another store.
"""

import dataclasses
import functools
import json
import math
import struct
import zlib
from typing import Any

from structlin.storage._decode import field
from structlin.storage._errors import DamagedFileError
from structlin.storage.store._codes import Codec, codec_of
from structlin.storage.store._huffman import LONGEST, symbol_count

__all__ = [
    "APPLICATION",
    "BITS",
    "PAGE",
    "SCHEMA",
    "VERSION",
    "Header",
    "coded_room",
    "coded_rows",
    "rows_per_block",
    "seal",
    "unseal",
]

APPLICATION = 0x736C656D
"""The application id of the database: ``slem``."""

VERSION = 2
"""The latest version of the format; all up to it are read.

Version 2 has coded rows. A store without them is of version 1, for older readers.
"""

BITS = (*range(1, 9), 16, 32)
"""Bits of a number: codes, float16, float32."""

PAGE = 8192
"""Bytes of a page of the database."""

SCHEMA = (
    "CREATE TABLE header (json TEXT NOT NULL, crc32 INTEGER NOT NULL)",
    "CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE names (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "CREATE TABLE buckets (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
)
"""The tables, in this order. A database that has anything else is none of ours."""

_SEAL = struct.Struct("<I")
_RECORD = 40  # bytes that SQLite needs beside one blob: headers, sizes, the key
_CHAIN = 4  # and in each page that the blob goes on in
_MOST_PAGES = 8


def rows_per_block(row_bytes: int) -> int:
    """How many rows fill one page of the database or the fewest that are 99 % full, of eight."""
    found = []
    for pages in range(1, _MOST_PAGES + 1):
        rows = room(pages) // row_bytes
        found.append((min(rows * row_bytes / (pages * PAGE), 0.99), -pages, rows))
    return max(1, max(found)[2])  # a row beyond eight pages has as many as it takes


def room(pages: int) -> int:
    """How many bytes a block has that fills so many pages."""
    return pages * (PAGE - _CHAIN) - _RECORD - _SEAL.size


def coded_room(row_bytes: float) -> int:
    """How many bytes a block of coded rows has that leaves half a percent or less unused."""
    return room(min(_MOST_PAGES, math.ceil(100 * row_bytes / PAGE)))


def coded_rows(row_bytes: float) -> int:
    """How many coded rows of so many bytes on average are in a block."""
    return max(1, int(coded_room(row_bytes) / row_bytes))


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of all rows.

    Attributes:
        dim: The numbers in a row.
        bits: The bits of a number, one of `BITS`.
        levels: The ``2**bits`` levels that all rows share, ascending; none where each row has its
            own, and for floating point.
        rows_per_block: The rows in each block but the last; of coded rows about as many.
        origin: A checksum of the first block of rows, so that stores differ.
        rows: How many there are.
        buckets: How many buckets lead from words to rows; 0 where there are no words.
        code: The bits of the word of each symbol of the Huffman code of all rows; none where rows
            are not coded.
        error: The root of the squared error over that of zeros; ``None`` if it was not noted.
    """

    dim: int
    bits: int
    levels: tuple[float, ...]
    rows_per_block: int
    origin: int = 0
    rows: int = 0
    buckets: int = 0
    code: tuple[int, ...] = ()
    error: float | None = None

    @property
    def version(self) -> int:
        """The version of the format that can say this."""
        return 2 if self.code else 1

    @property
    def block_bytes(self) -> int:
        """More than the bytes of any block of rows."""
        if not self.code:
            return self.rows_per_block * self.codec.row_bytes
        return _MOST_PAGES * PAGE + self.codec.row_bytes + self.dim * LONGEST // 8

    @property
    def codec(self) -> Codec:
        """What turns rows into bytes."""
        return codec_of(self.dim, self.bits, self.levels)

    @functools.cached_property
    def form(self) -> int:
        """A checksum of what is known before other blocks are, which all are sealed with."""
        form: Any = self.dim, self.bits, self.levels, self.rows_per_block, self.origin
        form += (self.code,) if self.code else ()
        return zlib.crc32(repr(form).encode())

    def to_json(self) -> str:
        """The text that stands in the database."""
        known = dataclasses.asdict(self)
        if not self.code:
            del known["code"]
        return json.dumps(known, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, crc32: Any) -> "Header":
        """Reads what `to_json` wrote, or somebody else.

        Raises:
            DamagedFileError: It describes no store, or its checksum is another.
        """
        if zlib.crc32(text.encode("utf-8", "surrogatepass")) != crc32:
            raise DamagedFileError("its header was altered: the checksum does not match.")
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"its header cannot be read: {str(error)[:200]}.") from error
        if not isinstance(record, dict):
            raise DamagedFileError("its header is not a JSON object.")
        kinds: dict[str, type] = {f.name: int for f in dataclasses.fields(cls)}
        kinds |= {"levels": list, "code": list, "error": float}
        there = [name for name in kinds if name in record or name not in ("code", "error")]
        given: Any = {name: field(record, name, kinds[name]) for name in there}
        given |= {name: tuple(given[name]) for name in ("levels", "code") if name in given}
        header = cls(**given)
        if problem := header._problem():
            raise DamagedFileError(f"its header is none of a store: {problem}.")
        return header

    def _problem(self) -> str:
        """What is wrong with the numbers, if anything."""
        if self.bits not in BITS:
            return f"numbers of {self.bits} bits"
        if min(self.dim, self.rows_per_block, self.rows) < 1 or self.buckets < 0:
            return "it has no rows, or rows without numbers"
        if max(self.rows, self.dim, self.rows_per_block, self.buckets) >= 2**40:
            return "it has more rows, numbers or buckets than any store"
        if self.levels and (self.bits > 8 or len(self.levels) != 2**self.bits):
            return f"{len(self.levels)} levels for {self.bits} bits"
        if not all(type(x) is float and math.isfinite(x) for x in self.levels):
            return "levels that are no numbers"
        if self.code and not self._is_code():
            return "a code that is none"
        if self.error is not None and not 0 <= self.error < math.inf:
            return "an error that is none"
        return ""

    def _is_code(self) -> bool:
        """Whether every sequence of bits is one of words of these lengths (Kraft, 1949)."""
        return (
            self.bits <= 8
            and len(self.code) == symbol_count(self.bits)
            and all(type(x) is int and 1 <= x <= LONGEST for x in self.code)
            and sum(2 ** (LONGEST - x) for x in self.code) == 2**LONGEST
        )


def seal(data: bytes, place: tuple[Any, ...]) -> bytes:
    """``data`` with the checksum of itself and of where it stands."""
    return data + _SEAL.pack(_checksum(data, place))


def unseal(data: Any, place: tuple[Any, ...], size: int | None = None) -> memoryview:
    """What `seal` was given, if that is what stands there now.

    Raises:
        DamagedFileError: It is not, or does not have ``size`` bytes.
    """
    where = f"block {place[-1]} of its {place[0]}"
    if not isinstance(data, bytes):
        raise DamagedFileError(f"{where} is missing." if data is None else f"{where} is no blob.")
    given = len(data) - _SEAL.size
    if given < 0 or (size is not None and size != given):
        raise DamagedFileError(f"{where} has {len(data):,} bytes, which is not what rows take.")
    view = memoryview(data)
    if _SEAL.unpack(view[given:])[0] != _checksum(view[:given], place):
        raise DamagedFileError(f"{where} was altered: the checksum does not match.")
    return view[:given]


def _checksum(data: bytes | memoryview, place: tuple[Any, ...]) -> int:
    return zlib.crc32(data, zlib.crc32(repr(place).encode()))
