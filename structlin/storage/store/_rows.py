"""The rows of a store by number, read when they are asked for."""

from collections.abc import Iterator

import numpy as np

from structlin.storage.store._codes import Codes
from structlin.storage.store._file import StoreFile
from structlin.storage.store._huffman import Huffman
from structlin.storage.store._recent import Recent

__all__ = ["AT_ONCE", "Rows", "cosine"]

AT_ONCE = 2**18
"""Numbers that are coded or decoded together: enough for speed, and few megabytes."""


class Rows:
    """The rows of all numbers, and those that were read last."""

    def __init__(self, file: StoreFile, cache: int) -> None:
        self._file, self._header, self._codec = file, file.header, file.header.codec
        self._code = Huffman(file.header.code, file.header.bits) if file.header.code else None
        self._recent: Recent[np.ndarray] = Recent(cache)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Rows ``(n, dim)``, float32, of ascending numbers ``(n,)``, all of which exist.

        Raises:
            StorageError: The file is damaged where they stand.
        """
        rows = np.empty((len(ids), self._header.dim), np.float32)
        fresh = []
        for place, i in enumerate(ids.tolist()):
            kept = self._recent.get(i)
            if kept is None:
                fresh.append(place)
            else:
                rows[place] = kept
        step = max(1, AT_ONCE // self._header.dim)
        for start in range(0, len(fresh), step):
            places = fresh[start : start + step]
            rows[places] = self._read(ids[places])
        for place in fresh:
            self._recent.put(int(ids[place]), rows[place].copy())
        return rows

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in order, arrays ``(k, dim)`` one after the other."""
        step = max(self._header.rows_per_block, AT_ONCE // self._header.dim)
        for start in range(0, self._header.rows, step):
            yield self._read(np.arange(start, min(start + step, self._header.rows)))

    def _read(self, ids: np.ndarray) -> np.ndarray:
        """The rows of ascending ``ids``, from the file."""
        if self._code is not None and isinstance(self._codec, Codes):
            return self._read_coded(ids, self._codec, self._code)
        head, width = self._header, self._codec.row_bytes
        blocks, places = np.divmod(ids, head.rows_per_block)
        needed, starts = np.unique(blocks, return_index=True)
        data = np.empty((len(ids), width), np.uint8)
        with self._file.explained():
            for block, start, stop in zip(
                needed.tolist(), starts.tolist(), [*starts[1:].tolist(), len(ids)], strict=True
            ):
                count = min(head.rows_per_block, head.rows - block * head.rows_per_block)
                read = self._file.read("rows", block, count * width)
                rows = np.frombuffer(read, np.uint8).reshape(count, width)
                data[start:stop] = rows[places[start:stop]]
        return self._codec.decode(data)

    def _read_coded(self, ids: np.ndarray, codec: Codes, code: Huffman) -> np.ndarray:
        heads, words, place = [np.zeros((0, codec.head_bytes), np.uint8)], [], 0
        with self._file.explained():
            while place < len(ids):
                first, block = self._file.read_coded(int(ids[place]))
                stop = int(np.searchsorted(ids, first + len(block)))
                picked = ids[place:stop] - first
                heads.append(block.heads[picked])
                words += block.words(picked)
                place = stop
        return codec.join(np.concatenate(heads), code.decode(words, self._header.dim))


def cosine(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The cosines ``(n,)`` of rows ``(n, dim)`` with one ``(dim,)``; 0 where a row is zero."""
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(query)
    return rows @ query / np.where(lengths > 0, lengths, 1)
