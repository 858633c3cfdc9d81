"""The hashes and projections of a text in NumPy, by other ways than inside jit."""

import itertools

import numpy as np

from structlin.functional import projected_columns

__all__ = ["entries", "gram", "hash_words", "mean", "outputs", "units"]

MASK = 0xFFFFFFFF


def hash_words(rows: np.ndarray, columns: np.ndarray, seed: int) -> np.ndarray:
    """The words of `structlin.kernels.hash_words`."""
    first = _mix_int((seed & MASK) + 0x9E3779B9)
    second = _mix_int(first ^ (seed >> 32 & MASK) + 0x7F4A7C15)
    third = _mix_int(second + 0x9E3779B9)
    of_rows = _mix(rows.astype(np.uint32) + np.uint32(first))
    of_columns = _mix(columns.astype(np.uint32) + np.uint32(second))
    return _mix(_mix(of_rows ^ of_columns) + np.uint32(third))


def units(data: bytes, characters: bool, lower: bool) -> np.ndarray:
    """The hashes of the characters of a text, or of its words, uint32 ``(count,)``."""
    words = (data.lower() if lower else data).split()
    if not words:
        return np.zeros(0, np.uint32)
    joined = np.frombuffer(b" ".join([b"", *words, b""]), np.uint8)
    space = joined == 32
    starts = np.append(True, space[:-1])
    if characters:
        starts |= joined & 0xC0 != 0x80
    first = np.flatnonzero(starts)
    offset = np.arange(joined.size) - first[np.cumsum(starts) - 1]
    # The space at the end of a word is left out of its sum, as is the one before the first.
    hashes = np.where(space & ~starts, 0, hash_words(offset, joined, 0))
    sums = np.add.reduceat(hashes, first, dtype=np.uint32)
    return sums if characters else sums[1:]


def gram(units: np.ndarray, pattern: tuple[int, ...]) -> np.ndarray:
    """The hashes of the grams of one pattern, uint32 ``(units - last of pattern,)``."""
    count = max(0, units.size - pattern[-1])
    hashes = units[:count]
    for before, after in itertools.pairwise(pattern):
        hashes = hash_words(hashes, units[after : after + count], after - before)
    return hashes


def entries(ids: np.ndarray, columns: int, seed: int, kind: str) -> np.ndarray:
    """256 times the entries of the random rows of hashed features, int32 ``(ids, columns)``."""
    words = hash_words(ids[:, None], np.arange(columns), seed)
    if kind == "uniform":
        return 2 * (words >> 24).astype(np.int32) - 255
    if kind == "sign":
        return 256 - 512 * (words >> 31).astype(np.int32)
    return np.array([0, 256, -256, 0], np.int32)[words >> 30]


def mean(ids: np.ndarray, features: int, seed: int, kind: str, output: str) -> np.ndarray:
    """The projection of all features of a text, float32 ``(features,)``."""
    ids, counts = np.unique(ids, return_counts=True)
    columns = projected_columns(features, output)
    few = max(1, 1_000_000 // columns)
    total = np.zeros(columns, np.int64)
    for i in range(0, ids.size, few):
        total += counts[i : i + few] @ entries(ids[i : i + few], columns, seed, kind)
    return outputs(total, max(1, int(counts.sum())), output)


def outputs(total: np.ndarray, count: int, output: str) -> np.ndarray:
    """Sums of entries over their count, or the signs of it, float32 ``(..., features)``."""
    if output == "real":
        return total.astype(np.float32) * (np.float32(1) / np.float32(256 * count))
    signs = np.where(total < 0, np.float32(-1), np.float32(1))
    return signs if output == "sign" else (signs[..., ::2] - signs[..., 1::2]) / 2


def _mix(word: np.ndarray) -> np.ndarray:
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return word ^ (word >> 16)


def _mix_int(word: int) -> int:
    return int(_mix(np.array([word & MASK], np.uint32))[0])
