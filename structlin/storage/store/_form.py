"""What a store is asked to be, and what that makes of its rows: levels, their range, their code."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from structlin import decompose
from structlin.storage.store._codes import Codec, Codes, codec_of
from structlin.storage.store._format import BITS, Header, coded_rows, rows_per_block
from structlin.storage.store._huffman import code_lengths, grouped, symbol_count

__all__ = ["Form"]

CODEBOOKS = ("uniform", "kmeans")
CODINGS = ("huffman",)

_TRIES = 128
"""Ranges that are tried for an error, the widest first."""

_ENOUGH = 2**17
"""Numbers on which they are tried."""


@dataclasses.dataclass(frozen=True)
class Form:
    """The options of `EmbeddingStore.build`, which says what they are."""

    bits: int
    codebook: str
    coding: str | None
    clip: float | None
    error: float | None

    def check(self) -> None:
        """Raises what is wrong with the options."""
        bits, levels = self.bits, self.codebook
        if isinstance(bits, bool) or bits not in BITS:
            raise ValueError(f"A number takes 1 to 8, 16 or 32 bits; given {bits!r}.")
        if levels not in CODEBOOKS:
            raise ValueError(f"A codebook is one of {', '.join(CODEBOOKS)}; given {levels!r}.")
        if levels == "kmeans" and bits > 8:
            raise ValueError(f"A codebook has 1 to 8 bits; given {bits}, which is floating point.")
        if self.coding is not None and self.coding not in CODINGS:
            raise ValueError(f"coding is 'huffman' or None; given {self.coding!r}.")
        if self.coding is not None and bits > 8:
            raise ValueError(
                f"coding is for codes of 1 to 8 bits; given {bits}, which is floating point."
            )
        self._check_range()

    def _check_range(self) -> None:
        for name in ("clip", "error"):
            given: Any = getattr(self, name)
            if given is None:
                continue
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise TypeError(f"{name} is a number or None; given {given!r}.")
            if not 0 < given < math.inf:
                raise ValueError(f"{name} is more than 0; given {given!r}.")
            if self.bits > 8 or self.codebook != "uniform":
                raise ValueError(
                    f"{name} is for evenly spaced levels of 1 to 8 bits; given {self.bits} bits, "
                    f"{self.codebook!r}."
                )
        if self.error is None:
            return
        if self.clip is not None:
            raise ValueError("error chooses the clip: give one of the two.")
        if self.coding is None:
            raise ValueError("A larger error makes coded rows smaller, and no others: give coding.")

    def of(self, dim: int, sample: Callable[[], np.ndarray]) -> tuple[Header, Codec]:
        """The header of rows of ``dim`` numbers, and what makes bytes of them.

        Raises:
            ValueError: The bits do not reach the error.
        """
        if self.codebook == "uniform" and self.coding is None:
            codec = codec_of(dim, self.bits, (), self.clip)
            return Header(dim, self.bits, (), rows_per_block(codec.row_bytes)), codec
        some = sample()
        levels = _levels(some, self.bits) if self.codebook == "kmeans" else ()
        clip = self.clip if self.error is None else self._widest(some)
        codec = codec_of(dim, self.bits, levels, clip)
        if self.coding is None or not isinstance(codec, Codes):
            return Header(dim, self.bits, levels, rows_per_block(codec.row_bytes)), codec
        symbols = grouped(codec.split(some)[1], self.bits)
        counts = np.bincount(symbols.ravel(), minlength=symbol_count(self.bits))
        code = code_lengths(counts)
        row_bytes = codec.head_bytes + float(np.dot(counts, code)) / 8 / len(some)
        return Header(dim, self.bits, levels, coded_rows(row_bytes), code=code), codec

    def _widest(self, sample: np.ndarray) -> float | None:
        """The widest range whose error is within bounds: the wider, the fewer bits codes take."""
        some = sample[:: max(1, sample.size // _ENOUGH)]
        wide, least = some.astype(np.float64), math.inf
        whole = float(np.square(wide).sum())
        for clip in (*np.geomspace(2.0 ** (self.bits + 1), 0.5, _TRIES).tolist(), None):
            codec = codec_of(some.shape[1], self.bits, (), clip)
            assert isinstance(codec, Codes)
            missed = float(np.square(codec.join(*codec.split(some)) - wide).sum())
            found = (missed / whole) ** 0.5 if whole else 0.0
            if self.error is None or found <= self.error:
                return clip
            least = min(least, found)
        raise ValueError(
            f"Codes of {self.bits} bits err by {least:.3g} at least; given error={self.error}. "
            "Take more bits or a larger error."
        )


def _levels(sample: np.ndarray, bits: int) -> tuple[float, ...]:
    table = decompose.table_of(jnp.asarray(sample, jnp.float32), bits, "kmeans")
    return tuple(np.asarray(table, np.float32).tolist())
