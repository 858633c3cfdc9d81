"""Arrays of integers as the symbols that an entropy coder counts: codes, numbers, or gaps."""

import dataclasses
import math
from typing import Any

import numpy as np

__all__ = ["MOST", "Symbols", "symbols_of", "views"]

MOST = 1 << 16
"""The most symbols that may differ; a view that has more is none."""

WIDTHS = range(1, 9)
"""The bits of codes in a stream."""


@dataclasses.dataclass(frozen=True)
class Symbols:
    """A view of an array of integers as a row of symbols, read and written piece by piece.

    Attributes:
        data: What holds them: bytes ``(size,)`` of a stream of codes, else unsigned numbers.
        view: ``"codes"``, ``"values"``, or ``"gaps"`` to the number above in the first axis.
        bits: The bits of a code; 0 of the other views.
    """

    data: np.ndarray
    view: str
    bits: int = 0

    def __len__(self) -> int:
        return -(-8 * self.data.size // self.bits) if self.bits else self.data.size

    def read(self, start: int, stop: int) -> np.ndarray:
        """Symbols ``start`` to ``stop``, int32; ``start`` is a multiple of eight."""
        if not self.bits:
            return self.data.reshape(-1)[start:stop].astype(np.int32)
        piece = self.data[start * self.bits // 8 : -(-stop * self.bits // 8)]
        each = np.unpackbits(piece, bitorder="little")
        short = -each.size % self.bits
        each = np.pad(each, (0, short)) if short else each
        codes = np.packbits(each.reshape(-1, self.bits), axis=1, bitorder="little")
        return codes[: stop - start, 0].astype(np.int32)

    def write(self, start: int, symbols: np.ndarray) -> None:
        """The inverse of `read`, into ``data``."""
        if not self.bits:
            self.data.reshape(-1)[start : start + symbols.size] = symbols
            return
        each = np.unpackbits(symbols.astype(np.uint8)[:, None], axis=1, bitorder="little")
        stream = np.packbits(each[:, : self.bits], bitorder="little")
        place = self.data[start * self.bits // 8 :][: stream.size]
        place[:] = stream[: place.size]

    def array(self, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
        """The array that this is a view of."""
        numbers = self.data.reshape(shape) if not self.bits else self.data
        if self.view == "gaps":
            np.add.accumulate(numbers, axis=0, out=numbers)
        return numbers.view(dtype).reshape(shape)


def symbols_of(view: str, bits: int, dtype: Any, shape: tuple[int, ...]) -> Symbols:
    """A view of an array that is yet to be written."""
    dtype = np.dtype(dtype)
    if view == "codes":
        return Symbols(np.zeros(math.prod(shape) * dtype.itemsize, np.uint8), view, bits)
    return Symbols(np.zeros(shape, f"u{dtype.itemsize}"), view)


def views(array: np.ndarray) -> list[Symbols]:
    """The views of an array that may code well, streams of codes of every width among them."""
    plain = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    stream = plain.reshape(-1).view(np.uint8)
    if array.dtype.itemsize == 1:
        found = [Symbols(stream, "codes", bits) for bits in WIDTHS]
    else:
        found = [Symbols(stream, "codes", 8), Symbols(plain, "values")]
    if array.ndim > 1:
        gaps = plain.copy()
        gaps[1:] -= plain[:-1]
        found.append(Symbols(gaps, "gaps"))
    return [symbols for symbols in found if symbols.bits or symbols.data.max(initial=0) < MOST]
