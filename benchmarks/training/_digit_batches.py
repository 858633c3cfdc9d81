"""Handwritten digits (MNIST) as bits of a fixed projection, computed once, and as pixels."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from _data import Batches, Labelled, Sequences, mnist_rows

from structlin.matrices import Projection

__all__ = ["SIDE", "Batch", "batches", "digits"]

SIDE, WIDEST = 28, 840
PLACES = tuple((down, right) for down in (1, 0, 2) for right in (1, 0, 2))
"""Where in a frame of a pixel a digit can stand; the first is where it is."""

AT_ONCE = 5000
"""How many digits are projected together."""


@functools.cache
def digits(limit: int | None) -> Sequences:
    """The digits, of mean 0 over the training part."""
    data = mnist_rows()
    mean = data.train.x.mean(dtype=np.float64).astype(np.float32)
    parts = {
        part: Labelled(*(a[:limit] for a in (x - mean, lengths, y)))
        for part in ("train", "valid", "test")
        for x, lengths, y in [getattr(data, part)]
    }
    return dataclasses.replace(data, **parts)


class Batch(NamedTuple):
    """The bits of some digits, packed, their pixels, and what they are."""

    bits: np.ndarray
    pixels: np.ndarray
    y: np.ndarray


def batches(
    data: Labelled, size: int, seed: int, *, moved: bool, bits: bool, pixels: bool
) -> Callable[[int, int], Batch]:
    """Batches of (seed, step).

    Args:
        data: The digits.
        size: How many in a batch.
        seed: Of the projection.
        moved: Whether each digit is at one of `PLACES`, another one each time.
        bits: Whether there are bits; none for each digit otherwise.
        pixels: Whether there are pixels.
    """
    framed = np.pad(data.x, [(0, 0), (1, 1), (1, 1)], constant_values=data.x.min())
    places = PLACES[: len(PLACES) if moved else 1]
    signs = [
        _bits(_at(framed, p), seed) if bits else np.zeros((len(data.y), 0), np.uint8)
        for p in places
    ]
    numbers = Batches(Labelled(np.arange(len(data.y)), data.lengths, data.y), size)

    def batch(seed: int, step: int) -> Batch:
        rows, _, y = numbers(seed, step)
        place = np.random.default_rng((seed, 1, step)).integers(len(places), size=len(rows))
        pairs = [*zip(place, rows, strict=True)]
        seen = [_at(framed[r], places[p]) for p, r in pairs if pixels]
        return Batch(np.array([signs[p][r] for p, r in pairs]), np.array(seen), y)

    return batch


def _bits(pixels: np.ndarray, seed: int) -> np.ndarray:
    """The signs of the widest projection in a bit each, ``(n, WIDEST / 8)``."""
    columns = np.asarray(Projection.of((SIDE**2, WIDEST), seed).to_dense())
    pieces = [pixels[i : i + AT_ONCE] for i in range(0, len(pixels), AT_ONCE)]
    signs = (some.reshape(len(some), -1) @ columns < 0 for some in pieces)
    return np.concatenate([np.packbits(some, axis=1, bitorder="little") for some in signs])


def _at(framed: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    down, right = place
    return framed[..., down : down + SIDE, right : right + SIDE]
