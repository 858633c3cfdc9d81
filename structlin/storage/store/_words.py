"""The words of a store, read when they are asked for."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from structlin.storage.store._file import StoreFile
from structlin.storage.store._names import (
    WORDS_PER_BLOCK,
    candidates,
    hash_of,
    words_in,
)
from structlin.storage.store._recent import Recent

__all__ = ["Words"]

_BLOCKS = 16  # of words that are kept: some 100 KB


class Words(Sequence[str]):
    """The words of all rows, in the order of the rows."""

    def __init__(self, file: StoreFile, cache: int) -> None:
        self._file, self._rows = file, file.header.rows
        self._names: Recent[list[str]] = Recent(_BLOCKS)
        self._known: Recent[int] = Recent(cache)

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: slice) -> list[str]: ...
    def __getitem__(self, key: Any) -> Any:
        places = range(self._rows)[key]  # as a list would have it, errors too
        if isinstance(places, range):
            return [self._word(i) for i in places]
        return self._word(places)

    def __iter__(self) -> Iterator[str]:
        return map(self._word, range(self._rows))

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and bool(self.find([word]))

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The row of a word.

        Raises:
            ValueError: It is not there.
        """
        row = self.find([value]).get(value)
        if row is None or row not in range(self._rows)[start:stop]:
            raise ValueError(f"{value!r} is not among these words.")
        return row

    def find(self, words: Iterable[str]) -> dict[str, int]:
        """The rows of those words that are there.

        Raises:
            StorageError: The file is damaged where they stand.
        """
        found = {}
        with self._file.explained():
            for word in dict.fromkeys(words):
                row = self._known.get(word)
                row = self._find(word) if row is None else row
                if row is not None:
                    found[word] = row
                    self._known.put(word, row)
        return found

    def _find(self, word: str) -> int | None:
        hashed = hash_of(word)
        bucket = self._file.read("buckets", hashed % self._file.header.buckets)
        rows = candidates(bucket, hashed, self._rows).tolist()
        return next((row for row in rows if self._word(row) == word), None)

    def _word(self, row: int) -> str:
        block, place = divmod(row, WORDS_PER_BLOCK)
        names = self._names.get(block)
        if names is None:
            with self._file.explained():
                count = min(WORDS_PER_BLOCK, self._rows - block * WORDS_PER_BLOCK)
                names = words_in(self._file.read("names", block), count)
            self._names.put(block, names)
        return names[place]
