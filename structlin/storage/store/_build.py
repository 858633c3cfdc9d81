"""A store written: rows and words go in as they come, and the file takes its name at the end."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from structlin import decompose
from structlin.storage._atomic import replacing
from structlin.storage.store._codes import codec_of
from structlin.storage.store._format import (
    APPLICATION,
    BITS,
    PAGE,
    SCHEMA,
    VERSION,
    Header,
    rows_per_block,
)
from structlin.storage.store._source import Source
from structlin.storage.store._writer import Writer

__all__ = ["write_store"]

CODEBOOKS = ("uniform", "kmeans")


def write_store(
    path: str | os.PathLike[str],
    rows: Any,
    words: Iterable[str] | None,
    *,
    bits: int,
    codebook: str,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    """What `EmbeddingStore.build` does; it says what the arguments are, and what is raised."""
    _check(bits, codebook)
    source = Source.of(rows)
    levels = _levels(source.sample(), bits) if codebook == "kmeans" else ()
    size = rows_per_block(codec_of(source.dim, bits, levels).row_bytes)
    with replacing(path) as temporary, _database(temporary) as connection:
        writer = Writer(connection, Header(source.dim, bits, levels, size), words)
        for block in source.blocks:
            writer.add(block)
            if progress is not None:
                progress(writer.rows, source.count)
        writer.finish()


def _check(bits: Any, codebook: str) -> None:
    if isinstance(bits, bool) or bits not in BITS:
        raise ValueError(f"A number takes 1 to 8, 16 or 32 bits; given {bits!r}.")
    if codebook not in CODEBOOKS:
        raise ValueError(f"A codebook is one of {', '.join(CODEBOOKS)}; given {codebook!r}.")
    if codebook == "kmeans" and bits > 8:
        raise ValueError(f"A codebook has 1 to 8 bits; given {bits}, which is floating point.")


def _levels(sample: np.ndarray, bits: int) -> tuple[float, ...]:
    table = decompose.table_of(jnp.asarray(sample, jnp.float32), bits, "kmeans")
    return tuple(np.asarray(table, np.float32).tolist())


@contextlib.contextmanager
def _database(path: str) -> Iterator[sqlite3.Connection]:
    """An empty database at ``path``, all of it in one transaction; errors are those of a file."""
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            # The file has no name yet, so it needs no journal; it reaches the disk as a whole.
            for setting in (
                *(f"page_size = {PAGE}", "journal_mode = OFF", "synchronous = OFF"),
                *("locking_mode = EXCLUSIVE", "cache_size = -2048"),
                *(f"application_id = {APPLICATION}", f"user_version = {VERSION}"),
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
