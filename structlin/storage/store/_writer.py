"""What goes into the database of a store while it is written."""

import dataclasses
import itertools
import sqlite3
import zlib
from collections.abc import Iterable

import numpy as np

from structlin.storage.store._blocks import blocks_of
from structlin.storage.store._codes import Codec
from structlin.storage.store._format import Header, seal
from structlin.storage.store._names import (
    LONGEST,
    WORDS_PER_BLOCK,
    bucket_count,
    buckets_of,
    hash_of,
    names_block,
)

__all__ = ["Writer"]


class Writer:
    """Puts rows, and their words if they have any, into an empty database.

    Attributes:
        rows: How many are in it.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        header: Header,
        codec: Codec,
        words: Iterable[str] | None,
    ) -> None:
        self.rows = 0
        self._connection, self._header, self._codec = connection, header, codec
        self._words = None if words is None else iter(words)
        self._blocks = blocks_of(header, codec)
        self._begun = False  # whether the first block is there, which seals are made with
        self._missed = self._whole = 0.0  # the squares of what is lost, and of all numbers
        self._names: list[str] = []  # words that wait for a full block
        self._hashes: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Takes rows ``(k, dim)``, float32, and as many words.

        Raises:
            ValueError: A number is not finite or too large, or there are too few words.
            TypeError: A word is no string.
        """
        largest = self._codec.largest
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(block).max(axis=1) <= largest)
        if wrong.any():
            raise ValueError(
                f"Row {self.rows + int(wrong.argmax())} has a number that is not finite or is "
                f"beyond {largest:.4g}."
            )
        kept, full = self._blocks.add(block)
        wide = block.astype(np.float64)
        self._missed += float(np.square(kept - wide).sum())
        self._whole += float(np.square(wide).sum())
        for place, data in full:
            self._put_rows(place, data)
        if self._words is not None:
            self._add_words(list(itertools.islice(self._words, len(block))), len(block))
        self.rows += len(block)
        if self._begun:
            self._put_names(len(self._names) // WORDS_PER_BLOCK * WORDS_PER_BLOCK)

    def finish(self) -> None:
        """Writes what is left, how the words are found, and the header.

        Raises:
            ValueError: There are more words than rows, or a word stands twice.
        """
        for place, data in self._blocks.rest():
            self._put_rows(place, data)
        buckets = 0
        if self._words is not None:
            if next(self._words, None) is not None:
                raise ValueError(f"There are more words than rows, which are {self.rows:,}.")
            self._put_names(len(self._names))
            hashes = np.concatenate(self._hashes)
            self._check_twice(hashes)
            buckets = bucket_count(self.rows)
            for i, block in enumerate(buckets_of(hashes, buckets)):
                self._put("buckets", i, block, buckets)
        error = (self._missed / self._whole) ** 0.5 if self._whole else 0.0
        known = {"rows": self.rows, "buckets": buckets, "error": error}
        text = dataclasses.replace(self._header, **known).to_json()
        statement = "INSERT INTO header VALUES (?, ?)"
        self._connection.execute(statement, (text, zlib.crc32(text.encode())))

    def _add_words(self, words: list[str], count: int) -> None:
        if len(words) < count:
            raise ValueError(
                f"There are {self.rows + len(words):,} words and more rows: give each row its word."
            )
        for row, word in enumerate(words, self.rows):
            if not isinstance(word, str):
                raise TypeError(f"A word is a string; given {word!r} for row {row}.")
            if len(word.encode("utf-8", "surrogatepass")) > LONGEST:
                raise ValueError(
                    f"A word has {LONGEST:,} bytes of UTF-8 at most; that of row {row} has more: "
                    f"{word[:40]!r}..."
                )
        self._hashes.append(np.fromiter(map(hash_of, words), np.uint64, count))
        self._names += words

    def _check_twice(self, hashes: np.ndarray) -> None:
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
        if same.size:
            one, other = order[same[0]], order[same[0] + 1]
            raise ValueError(f"The words of rows {one} and {other} are the same: leave one out.")

    def _put_rows(self, block: int, data: bytes) -> None:
        if not self._begun:
            self._header = dataclasses.replace(self._header, origin=zlib.crc32(data))
            self._begun = True
        self._put("rows", block, data)

    def _put_names(self, count: int) -> None:
        """Writes the first ``count`` words that wait."""
        start = self.rows - len(self._names)
        for i in range(0, count, WORDS_PER_BLOCK):
            block = names_block(self._names[i : min(i + WORDS_PER_BLOCK, count)])
            self._put("names", (start + i) // WORDS_PER_BLOCK, block)
        self._names = self._names[count:]

    def _put(self, table: str, block: int, data: bytes, buckets: int = 0) -> None:
        sealed = seal(data, (table, buckets, self._header.form, block))
        self._connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (block, sealed))
