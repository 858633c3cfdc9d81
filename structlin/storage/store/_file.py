"""The database of a store, opened for reading; nothing in it is trusted."""

import collections
import contextlib
import os
import sqlite3
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from structlin.storage._errors import (
    DamagedFileError,
    ForeignFileError,
    NewerVersionError,
    StorageError,
)
from structlin.storage.store._coded import CodedBlock
from structlin.storage.store._codes import Codes
from structlin.storage.store._format import APPLICATION, SCHEMA, VERSION, Header, unseal
from structlin.storage.store._huffman import symbols_of

__all__ = ["StoreFile"]

_MAGIC = b"SQLite format 3\0"
_PLAIN = b"\x01\x01\x00\x40\x20\x20"  # a rollback journal, no reserved bytes, SQLite's fractions
_SETTINGS = (
    "query_only = 1",
    "trusted_schema = 0",
    "cell_size_check = 1",
    "mmap_size = 0",  # a file that shrinks under a map ends the process
    "cache_size = -512",  # KiB
)


_LONGEST = 2**22
"""Bytes of a header, or of any block but those of rows, so that no made-up size asks for more."""


class StoreFile:
    """The blocks of a store, from any thread and in any process.

    A thread that reads has a connection of its own for that time; a process that was forked makes
    new ones. The file is taken to stay as it is, which `EmbeddingStore.build` sees to by writing
    another.

    Attributes:
        path: Where it is.
        header: What it says of itself.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._open, self._longest = True, _LONGEST
        self._start()
        with self.explained():
            self._identity = self._seen()
            _check_start(self.path)
            with self._connection() as connection:
                self.header = head = _header(connection)
                self._longest += head.block_bytes
                self._limit(connection)
            if head.code:
                first, block = self.read_coded(head.rows - 1)
                if first + len(block) != head.rows:
                    raise DamagedFileError("its last block of rows has others than its last.")
            else:
                last, rest = divmod(head.rows - 1, head.rows_per_block)
                self.read("rows", last, (rest + 1) * head.codec.row_bytes)

    def read(self, table: str, block: int, size: int | None = None) -> memoryview:
        """The bytes of one block.

        Raises:
            DamagedFileError: They are not there, not as they were written, or not ``size``.
            ValueError: The store was closed.
        """
        statement = f"SELECT data FROM {table} WHERE id = ?"
        (data,) = self._found(statement, block) or (None,)
        place = (table, self.header.buckets if table == "buckets" else 0, self.header.form, block)
        return unseal(data, place, size)

    def read_coded(self, row: int) -> tuple[int, CodedBlock]:
        """The block of coded rows that has row number ``row``, and the number of its first.

        Raises:
            DamagedFileError: It is not there, or not as it was written.
            ValueError: The store was closed.
        """
        statement = "SELECT id, data FROM rows WHERE id <= ? ORDER BY id DESC LIMIT 1"
        first, data = self._found(statement, row) or (row, None)
        head = self.header
        codec = head.codec
        assert isinstance(codec, Codes)  # the header was checked
        sealed = unseal(data, ("rows", 0, head.form, first))
        least = -(-symbols_of(head.dim, head.bits) // 8)  # a bit at least for each
        block = CodedBlock.from_bytes(sealed, codec.head_bytes, least)
        if not first <= row < first + len(block):
            raise DamagedFileError(f"block {row} of its rows, or one before it, is missing.")
        return first, block

    def _found(self, statement: str, key: int) -> Any:
        with self._connection() as connection:
            return connection.execute(statement, (key,)).fetchone()

    def close(self) -> None:
        """Gives the file back. Reading goes on in no thread by then."""
        self._open = False
        _close(self._idle)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Errors with the name of the file, which nobody knows below here."""
        try:
            yield
        except StorageError as error:
            raise type(error)(f"Cannot read {str(self.path)!r}: {error}") from error.__cause__

    def _start(self) -> None:
        # A child keeps its parent's connections, and neither uses nor closes them.
        self._inherited = getattr(self, "_idle", None)
        self._process = os.getpid()
        self._idle: collections.deque[sqlite3.Connection] = collections.deque()
        weakref.finalize(self, _close, self._idle)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        if not self._open:
            raise ValueError(f"The store {str(self.path)!r} is closed: open it again.")
        if os.getpid() != self._process:
            self._start()
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                self._idle.append(connection)
        except (sqlite3.Error, UnicodeDecodeError) as error:  # its messages quote the file
            text = " ".join(str(error).split())[:200]
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CANTOPEN:
                raise OSError(f"Cannot open {str(self.path)!r}: {text}.") from error
            raise DamagedFileError(f"SQLite cannot read it: {text}.") from error

    def _connect(self) -> sqlite3.Connection:
        # Immutable: no locks, no journal, and a folder that cannot be written will do.
        address = f"{self.path.as_uri()}?immutable=1"
        connection = sqlite3.connect(
            address, uri=True, check_same_thread=False, isolation_level=None
        )
        try:
            self._limit(connection)
            for setting in _SETTINGS:
                connection.execute(f"PRAGMA {setting}")
            if self._seen() != self._identity:
                raise StorageError("it was replaced since it was opened: open it again.")
        except BaseException:
            connection.close()
            raise
        return connection

    def _limit(self, connection: sqlite3.Connection) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(self._longest, 2**31 - 1))

    def _seen(self) -> tuple[int, ...]:
        found = self.path.stat()
        return found.st_dev, found.st_ino, found.st_size


def _close(idle: collections.deque[Any]) -> None:
    while idle:
        idle.pop().close()


def _check_start(path: Path) -> None:
    """Raises unless the file begins as a store does and has all of its bytes."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(100)
    if not start:
        raise DamagedFileError("it is empty.")
    if not start.startswith(_MAGIC[: len(start)]):
        raise ForeignFileError("it is no SQLite database, and so no store of embeddings.")
    if len(start) < 100:
        raise DamagedFileError(f"it is cut short: {size:,} bytes.")
    if _number(start[68:72]) != APPLICATION:
        raise ForeignFileError("it is a SQLite database, but no store of embeddings.")
    if (version := _number(start[60:64])) > VERSION:
        raise NewerVersionError(
            f"it is in version {version} of the format, and this structlin reads versions up to "
            f"{VERSION}: update structlin."
        )
    page = _number(start[16:18])
    wanted = (65536 if page == 1 else page) * _number(start[28:32])
    if size != wanted:
        kind = "cut short" if size < wanted else "too long"
        raise DamagedFileError(f"it is {kind}: {size:,} bytes where its header says {wanted:,}.")
    if start[18:24] != _PLAIN or version < 1:
        raise DamagedFileError("its header was altered.")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _header(connection: sqlite3.Connection) -> Header:
    """The header, in a database that has our tables and nothing else: no view, no trigger."""
    found = connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid")
    if tuple(sql for (sql,) in found.fetchmany(len(SCHEMA) + 1)) != SCHEMA:
        raise DamagedFileError("its tables are not those of a store.")
    row = connection.execute("SELECT json, crc32 FROM header").fetchone()
    if row is None or not isinstance(row[0], str):
        raise DamagedFileError("its header is missing.")
    return Header.from_json(*row)
