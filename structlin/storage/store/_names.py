"""Blocks of words in the order of their rows, and buckets that lead from a word to its row.

The words stand in the order of the rows and are deflated, 128 at a time. A word's bucket and its
fingerprint of 16 bits are parts of its hash; a bucket lists the fingerprints and the rows of some
256 words, and the words of the few rows that a fingerprint leaves are compared. That is five bytes
for each word or so, where an index of SQLite's would keep every word a second time.
"""

import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from structlin.storage._errors import DamagedFileError

__all__ = [
    "LONGEST",
    "WORDS_PER_BLOCK",
    "bucket_count",
    "buckets_of",
    "candidates",
    "hash_of",
    "names_block",
    "words_in",
]

WORDS_PER_BLOCK = 128
"""The words that are deflated together."""

LONGEST = 4096
"""Bytes of UTF-8 that a word may have."""

_PER_BUCKET = 256
_MOST = WORDS_PER_BLOCK * (6 * LONGEST + 3)  # bytes of a block, every one of them escaped


def hash_of(word: str) -> int:
    """64 bits of a word."""
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def names_block(words: Sequence[str]) -> bytes:
    """The block of at most `WORDS_PER_BLOCK` words."""
    text = json.dumps(list(words), ensure_ascii=False, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 9, wbits=-15)


def words_in(block: memoryview, count: int) -> list[str]:
    """The ``count`` words of a block.

    Raises:
        DamagedFileError: That is not what it holds.
    """
    try:
        inflater = zlib.decompressobj(wbits=-15)
        text = inflater.decompress(block, _MOST).decode("utf-8", "surrogatepass")
        words = json.loads(text)
    except (zlib.error, ValueError, RecursionError) as error:
        raise DamagedFileError(f"its words cannot be read: {str(error)[:200]}.") from error
    if not isinstance(words, list) or len(words) != count or {type(w) for w in words} != {str}:
        raise DamagedFileError(f"a block of its words does not hold {count} words.")
    return words


def bucket_count(words: int) -> int:
    """How many buckets ``words`` words need."""
    return -(-words // _PER_BUCKET)


def buckets_of(hashes: np.ndarray, count: int) -> Iterator[bytes]:
    """The blocks of all ``count`` buckets for words of these hashes, ``(rows,)``."""
    width = _id_bytes(len(hashes))
    bucket = hashes % np.uint64(count)
    order = np.argsort(bucket, kind="stable")
    ends = np.searchsorted(bucket[order], np.arange(count + 1, dtype=np.uint64))
    for start, stop in itertools.pairwise(ends):
        ids = order[start:stop]
        prints = (hashes[ids] >> np.uint64(48)).astype("<u2")
        low = ids.astype("<u8")[:, None].view(np.uint8)[:, :width]
        yield prints.tobytes() + low.tobytes()


def candidates(block: memoryview, hashed: int, rows: int) -> np.ndarray:
    """The numbers of the words in a bucket that share the fingerprint of ``hashed``.

    Raises:
        DamagedFileError: The bucket is none of a store of ``rows`` rows.
    """
    width = _id_bytes(rows)
    count, rest = divmod(len(block), 2 + width)
    if not count:
        return np.zeros(0, "<u8")
    prints = np.frombuffer(block, "<u2", count)
    low = np.frombuffer(block, np.uint8, offset=2 * count)[: count * width].reshape(count, width)
    low = low[prints == hashed >> 48]
    ids = np.zeros((len(low), 8), np.uint8)
    ids[:, :width] = low
    found = ids.view("<u8")[:, 0]
    if rest or (found >= rows).any():
        raise DamagedFileError("a bucket of its words names rows that there are not.")
    return found


def _id_bytes(rows: int) -> int:
    return max(1, -(-(rows - 1).bit_length() // 8))
