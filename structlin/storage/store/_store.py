"""Embeddings in a file, of which a row is read when it is asked for."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from structlin.storage._errors import MissingRowError
from structlin.storage.store._build import write_store
from structlin.storage.store._file import StoreFile
from structlin.storage.store._form import Form
from structlin.storage.store._rows import Rows, cosine
from structlin.storage.store._words import Words

__all__ = ["EmbeddingStore"]

Pathlike = str | os.PathLike[str]


class EmbeddingStore:
    """A read-only table of embeddings, by number or by word.

    It opens in a moment however large it is: rows stay in the file, a SQLite database, until they
    are asked for. It can be used by many threads, pickled, and carried over a fork; processes
    share the pages that the system keeps.

    Attributes:
        words: The words of all rows, in order, read when asked for; ``None`` without words.

    Examples:
        >>> import os, tempfile, numpy as np
        >>> path = os.path.join(tempfile.mkdtemp(), "words.db")
        >>> rows = np.array([[0.0, 1.0], [0.5, -1.0]], np.float32)
        >>> store = EmbeddingStore.build(path, rows, ["yes", "no"], bits=16)
        >>> store["no"], store[0], "maybe" in store
        (array([ 0.5, -1. ], dtype=float32), array([0., 1.], dtype=float32), False)
        >>> store.take(["no", "no", "yes"]).shape
        (3, 2)
    """

    words: Words | None

    def __init__(self, path: Pathlike, cache: int = 1024) -> None:
        """Opens what `build` wrote.

        Args:
            path: The file.
            cache: How many rows are kept decoded, those that were used last, and how many words
                with their numbers.

        Raises:
            FileNotFoundError: There is no such file.
            StorageError: It is damaged, is no store, or is of a newer version.
        """
        self._file, self._cache = StoreFile(path), cache
        self._header = self._file.header
        self._rows = Rows(self._file, cache)
        self.words = Words(self._file, cache) if self._header.buckets else None

    @classmethod
    def build(
        cls,
        path: Pathlike,
        rows: Any,
        words: Iterable[str] | None = None,
        *,
        bits: int = 3,
        codebook: str = "uniform",
        coding: str | None = None,
        clip: float | None = None,
        error: float | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> "EmbeddingStore":
        """Writes a store, whole or not at all, and opens it.

        Memory holds a small part of the rows at a time.

        Args:
            path: The file; it is replaced when all is written. Its directory must exist.
            rows: ``(n, dim)``: an array, mapped from a file or not, or a structured matrix, whose
                rows are taken some at a time; or an iterable of such arrays, one below the other.
            words: The word of each row, in order.
            bits: The bits of a number: 1 to 8, or 16 or 32 for float16 and float32.
            codebook: What ``2**bits`` levels are. ``"uniform"``: evenly spaced, for each row its
                own, in five bytes more. ``"kmeans"``: one table for all rows, made by
                `structlin.decompose.table_of` of a million numbers or so: from rows all over an
                array, or the first array of an iterable. Floating point has none.
            coding: ``"huffman"``: each row's codes are coded on their own, by one code for all
                rows, made for a million numbers or so as ``"kmeans"`` is. The further apart levels
                are, the fewer bits they take: see ``clip`` and ``error``. Reading takes longer.
            clip: How many standard deviations evenly spaced levels reach from the mean of each
                row. They are placed where they err least if not given.
            error: In place of ``clip``, the error that coded rows may have, relative to their
                length: the clip is the widest that keeps to it on a sample, as it makes them the
                smallest.
            progress: Is told how many rows are done, and of how many, if that is known.

        Raises:
            TypeError: ``rows`` or ``words`` are of a kind that has no form here.
            ValueError: They do not go together, a number is not finite or too large, a word stands
                twice, options are none of these, or so few bits cannot err so little.
            OSError: The file cannot be written. One that was there is as it was, also after any
                other error and if the process ends half-way.
        """
        form = Form(bits, codebook, coding, clip, error)
        write_store(path, rows, words, form=form, progress=progress)
        return cls(path)

    @property
    def path(self) -> str:
        """Where the file is."""
        return str(self._file.path)

    @property
    def dim(self) -> int:
        """The numbers in a row."""
        return self._header.dim

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and the numbers in each."""
        return len(self), self.dim

    @property
    def bits(self) -> int:
        """The bits of a number."""
        return self._header.bits

    @property
    def codebook(self) -> str:
        """Where levels come from: ``"uniform"``, ``"kmeans"``, or ``"float"`` if there are none."""
        return "float" if self.bits > 8 else "kmeans" if self._header.levels else "uniform"

    @property
    def coding(self) -> str | None:
        """``"huffman"`` where rows are coded."""
        return "huffman" if self._header.code else None

    @property
    def error(self) -> float | None:
        """The error of all rows, relative to their length; ``None`` in files of older versions."""
        return self._header.error

    def __len__(self) -> int:
        return self._header.rows

    def __repr__(self) -> str:
        words = "" if self.words is None else ", with words"
        coding = f", {self.coding}" if self.coding else ""
        how = f"{self.bits} bits, {self.codebook}{coding}{words}"
        return f"EmbeddingStore({self.path!r}: {len(self):,} x {self.dim}, {how})"

    def __iter__(self) -> Iterator[Any]:
        """The words of all rows, or their numbers where there are no words."""
        return iter(range(len(self)) if self.words is None else self.words)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str):
            return self.words is not None and key in self.words
        return isinstance(key, int | np.integer) and bool(0 <= key < len(self))

    def __getitem__(self, key: Any) -> np.ndarray:
        """What `take` gives; for one key the row ``(dim,)``."""
        return self.take(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """The row of one key, or ``default`` if there is none."""
        return self.take(key) if key in self else default

    def take(self, keys: Any) -> np.ndarray:
        """Rows by number or by word.

        Args:
            keys: Integers ``(...)`` from 0 on, or strings ``(...)``: an array, a list, or one.

        Returns:
            ``(..., dim)``, float32, an array of its own.

        Raises:
            MissingRowError: A word or a number has no row.
            StorageError: The file is damaged where they stand.
        """
        ids = self.ids(keys)
        if ids.size == 1:
            return self._rows.take(ids.reshape(1)).reshape(*ids.shape, self.dim)
        distinct, places = np.unique(ids, return_inverse=True)
        return self._rows.take(distinct)[places.reshape(ids.shape)]

    def ids(self, keys: Any, unknown: int | None = None) -> np.ndarray:
        """The numbers of rows.

        Args:
            keys: As for `take`.
            unknown: The number to give for words that are not there, instead of an error.

        Returns:
            Integers of the shape of ``keys``.

        Raises:
            MissingRowError: A word or a number has no row.
        """
        given = np.asarray(keys)
        if given.dtype.kind in "OTU":
            given = np.asarray(keys, object)  # U would drop what ends in zeros
            return np.array(self._find(given.ravel(), unknown), np.int64).reshape(given.shape)
        if given.dtype.kind not in "iu" and given.size:
            raise TypeError(f"A row goes by an integer or a string; given {given.dtype}.")
        if given.size and not (given.min() >= 0 and given.max() < len(self)):
            wrong = given[(given < 0) | (given >= len(self))][0]
            raise MissingRowError(f"There is no row {wrong}: rows go from 0 to {len(self) - 1}.")
        return given.astype(np.int64)

    def nearest(self, key: Any, count: int = 10) -> list[tuple[Any, float]]:
        """The rows whose directions are closest to one, found by reading them all.

        Args:
            key: A word, a number, or an array ``(dim,)``.
            count: How many.

        Returns:
            Words, or numbers where there are no words, each with its cosine, the closest first;
            ``key`` is among them.
        """
        known = isinstance(key, str | int | np.integer)
        query = self.take(key) if known else np.asarray(key, np.float32).reshape(self.dim)
        cosines = np.concatenate([cosine(block, query) for block in self.blocks()])
        best = np.argsort(-cosines, kind="stable")[:count].tolist()
        return [(i if self.words is None else self.words[i], float(cosines[i])) for i in best]

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, some at a time: arrays ``(k, dim)``, float32."""
        return self._rows.blocks()

    def close(self) -> None:
        """Gives the file back; nothing can be read from then on."""
        self._file.close()

    def __enter__(self) -> "EmbeddingStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return EmbeddingStore, (self.path, self._cache)

    def _find(self, words: np.ndarray, unknown: int | None) -> list[int]:
        if wrong := [word for word in words if not isinstance(word, str)]:
            raise TypeError(f"Keys are all integers or all strings; given {wrong[0]!r} among them.")
        if self.words is None:
            raise MissingRowError(f"{self.path!r} has no words: rows go by number.")
        found = self.words.find(words)
        if unknown is not None:
            return [found.get(word, unknown) for word in words]
        if missing := [word for word in dict.fromkeys(words) if word not in found]:
            more = f" and for {len(missing) - 1} more" if len(missing) > 1 else ""
            raise MissingRowError(
                f"There is no row for {missing[0]!r}{more}: ask `in` first, or take "
                "ids(words, unknown=row)."
            )
        return [found[word] for word in words]
