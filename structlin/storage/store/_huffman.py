"""A Huffman code that all rows of a store share, so that any of them is read by itself.

What is coded is groups of a row's codes, as many as fit a byte: two of three bits and so on. Coded
one by one a code takes a bit at least, and half a tenth of a bit too much where there are few. A
row is then whole bytes, lowest bits first.

Reference:
    Huffman (1952), "A method for the construction of minimum-redundancy codes"; the canonical form
    is that of Schwartz and Kallick (1964), "Generating a canonical prefix encoding".
"""

import functools
import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["LONGEST", "Huffman", "code_lengths", "grouped", "symbol_count", "symbols_of"]

LONGEST = 12
"""Bits of the longest word of a code; a table of all windows of so many bits decodes."""

_FEW = 100
"""Fewer rows are decoded one by one, more side by side."""

_STEP = 4  # symbols that one look into the table gives at most


def symbol_count(bits: int) -> int:
    """How many groups of codes of ``bits`` bits there are."""
    return 2 ** (bits * _group(bits))


def symbols_of(count: int, bits: int) -> int:
    """How many groups ``count`` codes make."""
    return -(-count // _group(bits))


def grouped(codes: np.ndarray, bits: int) -> np.ndarray:
    """The symbols ``(n, symbols)`` of codes ``(n, count)``, bytes; the last one is filled up."""
    short = -codes.shape[1] % _group(bits)
    codes = np.pad(codes, [(0, 0), (0, short)], constant_values=2 ** (bits - 1))
    parts = codes.reshape(len(codes), -1, _group(bits))
    return np.bitwise_or.reduce(parts << _shifts(bits), axis=-1)


def code_lengths(counts: Any) -> tuple[int, ...]:
    """The bits of the word of each symbol, `LONGEST` at most, for symbols that occur so often.

    A symbol that did not occur has a word too. Where a word would be too long, rare symbols are
    taken for more frequent ones until none is.
    """
    shares = np.asarray(counts, np.float64) / np.sum(counts)
    least = 2.0**-LONGEST / 2
    while max(found := _unlimited(np.maximum(shares, least).tolist())) > LONGEST:
        least *= 1.25
    return tuple(found)


def _unlimited(shares: list[float]) -> list[int]:
    heap = [(share, i, [i]) for i, share in enumerate(shares)]
    heapq.heapify(heap)
    lengths = [0] * len(shares)
    for number in range(len(shares), 2 * len(shares) - 1):
        (a, _, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for i in left + right:
            lengths[i] += 1
        heapq.heappush(heap, (a + b, number, left + right))
    return lengths


class Huffman:
    """The canonical code whose words have these lengths, for codes of ``bits`` bits."""

    def __init__(self, lengths: Sequence[int], bits: int) -> None:
        self._bits = bits
        self._lengths = np.array(lengths, np.uint8)
        order = np.argsort(self._lengths, kind="stable")
        ends = np.cumsum(2 ** (LONGEST - self._lengths[order].astype(np.int64)))
        starts = ends - 2 ** (LONGEST - self._lengths[order].astype(np.int64))
        self._words = np.zeros(len(order), np.int64)
        self._words[order] = _reversed(starts)
        windows = _reversed(np.arange(2**LONGEST))
        self._first = order[np.searchsorted(starts, windows, "right") - 1].astype(np.uint8)

    def encode(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of all rows ``(n, count)`` one after the other, and how many each takes."""
        symbols = grouped(codes, self._bits)
        lengths = self._lengths[symbols].astype(np.int64)
        ends = np.cumsum(lengths, axis=1)
        sizes = -(-ends[:, -1] // 8)
        first = np.cumsum(sizes) - sizes
        places = 8 * first[:, None] + ends - lengths
        # Words that begin in one byte have bits of their own, so a sum puts them together.
        shifted = self._words[symbols] << (places & 7)
        sums = np.bincount((places >> 3).ravel(), shifted.ravel(), int(sizes.sum()))
        sums = np.pad(sums.astype(np.int64), (2, 0))
        stream = sums[2:] | sums[1:-1] >> 8 | sums[:-2] >> 16
        return stream.astype(np.uint8), sizes

    def decode(self, rows: Sequence[Any], count: int) -> np.ndarray:
        """The codes ``(n, count)`` of rows of bytes; of other bytes some codes, and never more."""
        symbols = symbols_of(count, self._bits)
        way = self._one_by_one if len(rows) < _FEW else self._side_by_side
        found = way(rows, symbols)[..., None] >> _shifts(self._bits)
        codes = (found & np.uint8(2**self._bits - 1)).reshape(len(rows), -1)
        return codes[:, :count]

    def _one_by_one(self, rows: Sequence[Any], count: int) -> np.ndarray:
        taken, bits = self._runs
        decoded = []
        for row in rows:
            left, parts, missing = int.from_bytes(row, "little"), [], count
            while missing > 0:
                window = left & (2**LONGEST - 1)
                parts.append(taken[window])
                missing -= len(taken[window])
                left >>= bits[window]
            decoded.append(b"".join(parts)[:count])
        return np.frombuffer(b"".join(decoded), np.uint8).reshape(len(rows), count)

    def _side_by_side(self, rows: Sequence[Any], count: int) -> np.ndarray:
        symbols, taken, bits = self._table
        data = b"".join([*rows, bytes(8)])
        words = np.ndarray(len(data) - 4, "<u4", data, strides=(1,))  # one at each byte
        ends = np.cumsum([len(row) for row in rows])
        place = 8 * np.concatenate([[0], ends[:-1]])
        stop = np.full(len(rows), 8 * int(ends[-1]))
        out = np.zeros((len(rows), count + _STEP), np.uint8)
        to = np.ndarray(out.size - _STEP + 1, "<u4", out, strides=(1,))
        start = np.arange(len(rows)) * out.shape[1]
        at, end = start.copy(), start + count
        while (at < end).any():
            window = words[place >> 3] >> (place & 7).astype(np.uint32) & (2**LONGEST - 1)
            to[at] = symbols[window]
            at = np.minimum(at + taken[window], end)
            place = np.minimum(place + bits[window], stop)
        return out[:, :count]

    @functools.cached_property
    def _table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each window its first symbols, a byte each, how many these are, and their bits."""
        windows = np.arange(2**LONGEST)
        found, taken, bits = (np.zeros(2**LONGEST, np.int64) for _ in range(3))
        for step in range(_STEP):
            symbol = self._first[windows >> bits]
            after = bits + self._lengths[symbol]
            more = (after <= LONGEST) & (taken == step)
            found += np.where(more, symbol.astype(np.int64) << 8 * step, 0)
            taken += more
            bits = np.where(more, after, bits)
        return found.astype("<u4"), taken, bits

    @functools.cached_property
    def _runs(self) -> tuple[list[bytes], list[int]]:
        """The same as bytes and numbers of Python's."""
        found, taken, bits = self._table
        data = found.tobytes()
        runs = [data[4 * i : 4 * i + n] for i, n in enumerate(taken.tolist())]
        return runs, bits.tolist()


def _group(bits: int) -> int:
    return 8 // bits


def _shifts(bits: int) -> np.ndarray:
    return np.arange(_group(bits), dtype=np.uint8) * np.uint8(bits)


def _reversed(words: np.ndarray) -> np.ndarray:
    """Words of `LONGEST` bits, their first bit last."""
    each = words[:, None] >> np.arange(LONGEST) & 1
    return each @ (1 << np.arange(LONGEST)[::-1])
