"""A store written: rows and words go in as they come, and the file takes its name at the end."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from structlin.storage._atomic import replacing
from structlin.storage.store._form import Form
from structlin.storage.store._format import APPLICATION, PAGE, SCHEMA
from structlin.storage.store._source import Source
from structlin.storage.store._writer import Writer

__all__ = ["write_store"]


def write_store(
    path: str | os.PathLike[str],
    rows: Any,
    words: Iterable[str] | None,
    *,
    form: Form,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """What `EmbeddingStore.build` does; it says what the arguments are, and what is raised."""
    form.check()
    source = Source.of(rows)
    header, codec = form.of(source.dim, source.sample)
    with replacing(path) as temporary, _database(temporary, header.version) as connection:
        writer = Writer(connection, header, codec, words)
        for block in source.blocks:
            writer.add(block)
            if progress is not None:
                progress(writer.rows, source.count)
        writer.finish()


@contextlib.contextmanager
def _database(path: str, version: int) -> Iterator[sqlite3.Connection]:
    """An empty database at ``path``, all of it in one transaction; errors are those of a file."""
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # The file has no name yet, so it needs no journal; it reaches the disk as a whole.
            for setting in (
                *(f"page_size = {PAGE}", "journal_mode = OFF", "synchronous = OFF"),
                *("locking_mode = EXCLUSIVE", "cache_size = -2048"),
                *(f"application_id = {APPLICATION}", f"user_version = {version}"),
            ):
                connection.execute(f"PRAGMA {setting}")
            connection.execute("BEGIN")
            for table in SCHEMA:
                connection.execute(table)
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        number = errno.ENOSPC if full else errno.EIO
        raise OSError(number, f"{os.strerror(number)} (SQLite: {error})") from error
