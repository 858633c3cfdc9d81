"""Rows put into blocks that fill pages: equally many of one width, or as many coded ones as fit."""

from typing import Protocol

import numpy as np

from structlin.storage.store._coded import CodedBlock
from structlin.storage.store._codes import Codec, Codes
from structlin.storage.store._format import Header, coded_room
from structlin.storage.store._huffman import Huffman

__all__ = ["Blocks", "blocks_of"]

Block = tuple[int, bytes]
"""Under which number it stands, and what it holds."""


class Blocks(Protocol):
    """Turns rows into blocks."""

    def add(self, rows: np.ndarray) -> tuple[np.ndarray, list[Block]]:
        """Takes rows ``(k, dim)``; gives what they read as, and the blocks that are full now."""
        ...

    def rest(self) -> list[Block]:
        """The block of the rows that wait for others, if any do."""
        ...


def blocks_of(header: Header, codec: Codec) -> Blocks:
    """The blocks of a store, its rows made by ``codec``."""
    if header.code and isinstance(codec, Codes):
        return _CodedBlocks(codec, Huffman(header.code, header.bits))
    return _EvenBlocks(codec, header.rows_per_block)


class _EvenBlocks:
    def __init__(self, codec: Codec, size: int) -> None:
        self._codec, self._size, self._next = codec, size, 0
        self._waiting = np.empty((0, codec.row_bytes), np.uint8)

    def add(self, rows: np.ndarray) -> tuple[np.ndarray, list[Block]]:
        fresh = self._codec.encode(rows)
        coded, found = np.concatenate([self._waiting, fresh]), []
        full = len(coded) - len(coded) % self._size
        for i in range(0, full, self._size):
            found.append((self._next, coded[i : i + self._size].tobytes()))
            self._next += 1
        self._waiting = coded[full:].copy()
        return self._codec.decode(fresh), found

    def rest(self) -> list[Block]:
        return [(self._next, self._waiting.tobytes())] if len(self._waiting) else []


class _CodedBlocks:
    def __init__(self, codec: Codes, code: Huffman) -> None:
        self._codec, self._code, self._next = codec, code, 0
        self._waiting: CodedBlock | None = None

    def add(self, rows: np.ndarray) -> tuple[np.ndarray, list[Block]]:
        heads, codes = self._codec.split(rows)
        stream, sizes = self._code.encode(codes)
        block, found = CodedBlock(heads, sizes, stream), []
        block = self._waiting.followed(block) if self._waiting else block
        room = coded_room(heads.shape[1] + float(block.sizes.mean()))
        while len(block) and block.ends[-1] > room:
            count = max(1, int(np.searchsorted(block.ends, room, "right")))
            first, block = block.halves(count)
            found.append((self._next, first.to_bytes()))
            self._next += count
        self._waiting = block if len(block) else None
        return self._codec.join(heads, codes), found

    def rest(self) -> list[Block]:
        return [(self._next, self._waiting.to_bytes())] if self._waiting else []
