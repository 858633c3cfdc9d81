"""Rows of numbers as bytes, all of one width: codes of few bits, or floating point."""

import dataclasses
from typing import Protocol

import numpy as np

from structlin.storage.store._bits import cut, pack, stream_bytes, uncut, unpack

__all__ = ["Codec", "Codes", "codec_of"]

_STEPS = (1.5956, 0.9957, 0.5860, 0.3352, 0.1881)
"""Steps of least squared error for normal numbers of unit variance, for 1 to 5 bits.

Reference: Max (1960), "Quantizing for minimum distortion", table II. With more bits the extremes of
a row are hardly further out than the levels would be.
"""


class Codec(Protocol):
    """How a row of numbers becomes bytes."""

    @property
    def largest(self) -> float:
        """The magnitude up to which it takes numbers."""
        ...

    @property
    def row_bytes(self) -> int:
        """The bytes of each row."""
        ...

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Bytes ``(n, row_bytes)`` of rows ``(n, dim)``, float32."""
        ...

    def decode(self, data: np.ndarray) -> np.ndarray:
        """Rows ``(n, dim)``, float32, of bytes ``(n, row_bytes)``."""
        ...


def codec_of(
    dim: int, bits: int, levels: tuple[float, ...] = (), clip: float | None = None
) -> Codec:
    """The codec for rows of ``dim`` numbers.

    Args:
        dim: The numbers in a row.
        bits: The bits of each.
        levels: Those of a table that all rows share, if there is one.
        clip: How many standard deviations evenly spaced levels reach from the mean of their row;
            where they err least if not given. Reading does not ask for it.
    """
    if bits > 8:
        return _Floats(dim, np.dtype(f"<f{bits // 8}"))
    return _Codebook(dim, bits, levels) if levels else _Uniform(dim, bits, clip)


@dataclasses.dataclass(frozen=True)
class _Floats:
    dim: int
    dtype: np.dtype

    @property
    def largest(self) -> float:
        return float(np.finfo(self.dtype).max)

    @property
    def row_bytes(self) -> int:
        return self.dim * self.dtype.itemsize

    def encode(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows, self.dtype).view(np.uint8)

    def decode(self, data: np.ndarray) -> np.ndarray:
        return data.view(self.dtype).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Codes:
    """Rows as codes of ``bits`` bits, after ``head_bytes`` that say where their levels are."""

    dim: int
    bits: int

    head_bytes = 0

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return self.head_bytes + stream_bytes(self.dim, self.bits)

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The heads ``(n, head_bytes)`` and the codes ``(n, dim)``, bytes, of rows."""
        raise NotImplementedError("split is written by each kind of codes")

    def join(self, heads: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The rows of heads and codes: the inverse of `split`, but for what is rounded."""
        raise NotImplementedError("join is written by each kind of codes")

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """The bytes ``(n, row_bytes)`` of rows ``(n, dim)``."""
        heads, codes = self.split(rows)
        return np.concatenate([heads, pack(codes, self.bits)], axis=1)

    def decode(self, data: np.ndarray) -> np.ndarray:
        """The rows ``(n, dim)``, float32, of their bytes."""
        head = self.head_bytes
        return self.join(data[:, :head], unpack(data[:, head:], self.bits, self.dim))


@dataclasses.dataclass(frozen=True)
class _Codebook(Codes):
    levels: tuple[float, ...]
    largest: float = float(np.finfo(np.float32).max)

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        levels = np.asarray(self.levels)
        codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, rows)
        return np.zeros((len(rows), 0), np.uint8), codes.astype(np.uint8)

    def join(self, heads: np.ndarray, codes: np.ndarray) -> np.ndarray:
        del heads
        return np.asarray(self.levels, np.float32)[codes]


@dataclasses.dataclass(frozen=True)
class _Uniform(Codes):
    """Evenly spaced levels for each row: three bytes of the lowest, two of the step, the codes."""

    clip: float | None = None

    head_bytes = 5

    @property
    def largest(self) -> float:
        return 1e38 / max(1.0, self.clip or 1.0)  # a range of twice as much is still a float32

    def split(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, low, step, codes = self._fit(rows.astype(np.float64))
        return np.concatenate([cut(low, 3, up=False), cut(step, 2, up=True)], axis=1), codes

    def join(self, heads: np.ndarray, codes: np.ndarray) -> np.ndarray:
        low, step = uncut(heads[:, :3]), uncut(heads[:, 3:])
        return low + step * codes

    def _fit(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """What `_coded` gives for the best levels of each row that are tried.

        They reach from the least number to the largest; or, where that errs less in squares, stand
        closer: as for normal numbers first, then as regression on the codes has it. With a clip
        they reach as far as it says.
        """
        least, top = rows.min(axis=1, keepdims=True), 2**self.bits - 1
        mean, step = (f(rows, axis=1, keepdims=True) for f in (np.mean, np.std))
        if self.clip is not None:
            step *= 2 * self.clip / (top + 1)
            return self._coded(rows, mean - step * top / 2, step)
        best = self._coded(rows, least, (rows.max(axis=1, keepdims=True) - least) / top)
        if self.bits > len(_STEPS):
            return best
        step *= _STEPS[self.bits - 1]
        best = _better(best, self._coded(rows, mean - step * top / 2, step))
        for _ in range(2):
            middle = best[3].mean(axis=1, keepdims=True)
            apart = best[3] - middle
            spread = np.square(apart).sum(axis=1, keepdims=True)
            step = (apart * rows).sum(axis=1, keepdims=True) / np.where(spread > 0, spread, 1)
            best = _better(best, self._coded(rows, mean - step * middle, step))
        return best

    def _coded(self, rows: np.ndarray, low: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, ...]:
        """The squared error; low, step and codes, the first two as they are kept."""
        top = 2**self.bits - 1
        kept = uncut(cut(low, 3, up=False)).astype(np.float64)
        step = uncut(cut(step + (low - kept) / top, 2, up=True)).astype(np.float64)
        codes = np.clip(np.rint((rows - kept) / np.where(step > 0, step, 1)), 0, top)
        error = np.square(kept + step * codes - rows).sum(axis=1, keepdims=True)
        return error, kept, step, codes.astype(np.uint8)


def _better(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """For each row what errs less."""
    closer = other[0] < one[0]
    return tuple(np.where(closer, b, a) for a, b in zip(one, other, strict=True))
