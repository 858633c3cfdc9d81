"""A block of coded rows: how many bytes each takes, their heads, their words.

It begins with how many rows it has, the fewest bytes that one takes, four bytes each, and in a byte
how many bytes say what each takes beyond these. Those follow, then the heads of all rows, then the
words of their codes, row by row. It stands under the number of its first row.
"""

import dataclasses
import struct

import numpy as np

from structlin.storage._errors import DamagedFileError

__all__ = ["CodedBlock"]

_START = struct.Struct("<IIB")


@dataclasses.dataclass(frozen=True)
class CodedBlock:
    """Some rows, one after the other.

    Attributes:
        heads: ``(rows, head_bytes)``, bytes.
        sizes: The bytes of each row's words, ``(rows,)``.
        stream: The words of all of them, bytes.
    """

    heads: np.ndarray
    sizes: np.ndarray
    stream: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def ends(self) -> np.ndarray:
        """The bytes that the first, the first two ... rows take, block and all."""
        each = self.heads.shape[1] + self._width
        return _START.size + np.cumsum(self.sizes + each)

    def followed(self, other: "CodedBlock") -> "CodedBlock":
        """These rows and then others."""
        return CodedBlock(
            np.concatenate([self.heads, other.heads]),
            np.concatenate([self.sizes, other.sizes]),
            np.concatenate([self.stream, other.stream]),
        )

    def halves(self, count: int) -> tuple["CodedBlock", "CodedBlock"]:
        """The first ``count`` rows, and the others."""
        cut = int(self.sizes[:count].sum())
        first = CodedBlock(self.heads[:count], self.sizes[:count], self.stream[:cut])
        return first, CodedBlock(self.heads[count:], self.sizes[count:], self.stream[cut:])

    def words(self, rows: np.ndarray) -> list[memoryview]:
        """The words of rows ``(n,)`` of these."""
        stops = np.cumsum(self.sizes)
        view = self.stream.data
        pairs = zip((stops - self.sizes)[rows].tolist(), stops[rows].tolist(), strict=True)
        return [view[start:stop] for start, stop in pairs]

    def to_bytes(self) -> bytes:
        """What stands in the database."""
        least, width = int(self.sizes.min()), self._width
        start = _START.pack(len(self), least, width)
        beyond = (self.sizes - least).astype("<u8")[:, None].view(np.uint8)[:, :width]
        return b"".join([start, *(x.tobytes() for x in (beyond, self.heads, self.stream))])

    @classmethod
    def from_bytes(cls, data: memoryview, head_bytes: int, least: int) -> "CodedBlock":
        """Reads what `to_bytes` made, or somebody else.

        Args:
            data: The bytes.
            head_bytes: Those of the head of a row.
            least: The fewest bytes that the words of a row can take.

        Raises:
            DamagedFileError: It is no block of such rows.
        """
        if len(data) >= _START.size:
            count, fewest, width = _START.unpack(data[: _START.size])
            rest = np.frombuffer(data, np.uint8, offset=_START.size)
            if width <= 4 and 0 < count * (width + head_bytes + least) <= len(rest):
                beyond = np.zeros((count, 8), np.uint8)
                beyond[:, :width] = rest[: count * width].reshape(count, width)
                sizes = beyond.view("<i8")[:, 0] + fewest
                heads = rest[count * width :][: count * head_bytes].reshape(count, head_bytes)
                stream = rest[count * (width + head_bytes) :]
                if sizes.min() >= least and sizes.sum() == len(stream):
                    return cls(heads, sizes, stream)
        raise DamagedFileError("a block of its rows does not hold such coded rows.")

    @property
    def _width(self) -> int:
        spread = int(self.sizes.max() - self.sizes.min())
        return -(-spread.bit_length() // 8)
