"""Entropy coding of integers by Huffman's codes or asymmetric numeral systems.

Both coders are those of `constriction`. What is coded is bytes of its own: the shares of the
symbols, then the coder's words, as ``docs/file-format.md`` has it.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from structlin.storage._decode import field
from structlin.storage._errors import DamagedFileError
from structlin.storage._header import digest
from structlin.storage._symbols import MOST, Symbols, symbols_of, views

__all__ = [
    "CODERS",
    "Coded",
    "bound",
    "check_coder",
    "counted",
    "entropy_code",
    "expand",
    "is_codable",
]

CODERS = ("ans", "huffman")
"""The names of the coders."""

EXPANSION = 64
"""How many times its own size something coded may become; what codes better is filled up."""

_AT_ONCE = 1 << 20  # symbols, a multiple of eight


@dataclasses.dataclass(frozen=True)
class Coded:
    """An array of integers as an entropy coder wrote it.

    Attributes:
        payload: The bytes ``(bytes,)``, a table of the symbols' shares among them.
        coder: ``"ans"`` or ``"huffman"``.
        view: What a symbol is: a code of ``bits`` bits in a stream (``"codes"``), a number
            (``"values"``), or its distance from the one above (``"gaps"``).
        bits: The bits of a code; 0 of the other views.
        symbols: How many symbols may differ.
        words: How many words of 32 bits the coder wrote.
        count: How many symbols there are.
        bound: Shannon's bound in bytes: the entropy of the symbols, one by one, times their number.
        sha256: That of the array's own bytes.
    """

    payload: np.ndarray
    coder: str
    view: str
    bits: int
    symbols: int
    words: int
    count: int
    bound: float
    sha256: str

    @property
    def bytes(self) -> int:
        """What is stored."""
        return self.payload.size

    def record(self) -> dict[str, Any]:
        """All but the bytes, for a file's header."""
        names = ("coder", "view", "bits", "symbols", "words", "bound", "sha256")
        return {name: getattr(self, name) for name in names}


def check_coder(coder: str) -> None:
    """Raises what keeps ``coder`` from working: there is none, or its library is missing."""
    if coder not in CODERS:
        raise ValueError(f"coding is {' or '.join(map(repr, CODERS))}; given {coder!r}.")
    _constriction()


def is_codable(array: np.ndarray) -> bool:
    """Whether ``array`` holds integers, and enough of them for a table to pay."""
    return array.dtype.kind in "iu" and array.nbytes >= 64


def entropy_code(array: np.ndarray, coder: str = "ans", width: int | None = None) -> Coded:
    """An array of integers in few bytes.

    Args:
        array: Integers of any shape, at least one. Bytes may be a stream of codes, as
            `structlin.matrices.Quantized` has them; sorted indices code by their gaps.
        coder: ``"ans"``, which gets within a hair of the bound, or ``"huffman"``, which is simpler
            and gives up to a bit of each symbol away.
        width: The bits of a code in a stream of bytes; the best view is chosen if not given.

    Raises:
        ImportError: ``constriction`` is not installed.
        TypeError: ``array`` holds no integers.
        ValueError: There is no such coder, or nothing to code in such a width.

    Examples:
        >>> import numpy as np
        >>> coded = entropy_code(np.repeat(np.arange(4, dtype=np.uint8), [900, 60, 30, 10]))
        >>> coded.bytes < 150, coded.bytes >= coded.bound
        (True, True)
    """
    check_coder(coder)
    symbols, counts = counted(array, width)
    shares = np.maximum(np.rint(counts * (65535 / counts.max())), counts > 0).astype("<u2")
    words = _encoders[coder](symbols, shares)
    parts = [shares.tobytes(), bytes(-2 * shares.size % 4), words.astype("<u4").tobytes()]
    payload = np.frombuffer(b"".join(parts), np.uint8)
    payload = np.pad(payload, (0, max(0, -(-array.nbytes // EXPANSION) - payload.size)))
    sizes = shares.size, words.size, len(symbols), bound(counts)
    sha256 = digest([np.ascontiguousarray(array)])
    return Coded(payload, coder, symbols.view, symbols.bits, *sizes, sha256)


def counted(array: np.ndarray, width: int | None = None) -> tuple[Symbols, np.ndarray]:
    """The view of an array that codes best, and how often each of its symbols occurs.

    Raises:
        TypeError: As for `entropy_code`.
        ValueError: There is nothing to code in such a width.
    """
    if array.dtype.kind not in "iu":
        raise TypeError(f"Only integers are entropy coded; given {array.dtype}.")
    found = [(s, _counts(s)) for s in views(array) if width is None or s.bits == width]
    if array.size == 0 or not found:
        asked = "" if width is None else f" as codes of {width} bits"
        raise ValueError(f"There is nothing to code in {array.dtype}{list(array.shape)}{asked}.")
    return min(found, key=lambda pair: bound(pair[1]) + 2 * pair[1].size)


def bound(counts: np.ndarray) -> float:
    """Shannon's bound in bytes for symbols that occur so often, coded one by one."""
    some = counts[counts > 0]
    return float(np.sum(some * np.log2(some.sum() / some)) / 8)


def expand(payload: Any, record: dict[str, Any], dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The array of ``dtype`` and ``shape`` that `entropy_code` was given; nothing is trusted.

    Raises:
        DamagedFileError: The parts contradict each other, or another array was coded.
        ImportError: ``constriction`` is not installed.
    """
    coder, view, bits, symbols, words = _checked(payload, record, dtype, shape)
    head = 2 * symbols + -2 * symbols % 4
    shares = np.frombuffer(payload, "<u2", symbols)
    found = symbols_of(view, bits, dtype, shape)
    try:
        stream = np.frombuffer(payload, "<u4", words, head).astype(np.uint32)
        _decoders[coder](found, shares, stream)
    except (ArithmeticError, ValueError) as error:
        raise DamagedFileError(f"a coded tensor cannot be decoded: {error}") from error
    array = found.array(dtype, shape)
    if digest([array]) != record.get("sha256"):
        raise DamagedFileError("a coded tensor gives other numbers than were coded.")
    return array


def _checked(
    payload: Any, record: dict[str, Any], dtype: Any, shape: tuple[int, ...]
) -> tuple[str, str, int, int, int]:
    coder, view = field(record, "coder", str), field(record, "view", str)
    bits, symbols, words = (field(record, name, int) for name in ("bits", "symbols", "words"))
    dtype = np.dtype(dtype)
    sound = (
        coder in CODERS
        and dtype.kind in "iu"
        and (1 <= bits <= 8 if view == "codes" else bits == 0 and view in ("values", "gaps"))
        and (view != "gaps" or len(shape) > 0)
        and 2 <= symbols <= (2**bits if bits else MOST)
        and 0 <= words <= (len(payload) - 2 * symbols - -2 * symbols % 4) // 4
    )
    if not sound:
        raise DamagedFileError("a coded tensor is described by what is no coding.")
    if math.prod(shape) * dtype.itemsize > EXPANSION * len(payload):
        raise DamagedFileError(
            f"a coded tensor claims {math.prod(shape) * dtype.itemsize:,} bytes of "
            f"{len(payload):,}, more than {EXPANSION} times as many."
        )
    return coder, view, bits, symbols, words


def _counts(symbols: Symbols) -> np.ndarray:
    """How often each symbol occurs, of two at least, as coders want it."""
    counts = np.zeros(2, np.int64)
    for start, stop in _pieces(symbols):
        found = np.bincount(symbols.read(start, stop), minlength=counts.size)
        found[: counts.size] += counts
        counts = found
    return counts


def _pieces(symbols: Symbols) -> Iterator[tuple[int, int]]:
    for start in range(0, len(symbols), _AT_ONCE):
        yield start, min(start + _AT_ONCE, len(symbols))


def _ans(shares: np.ndarray) -> Any:
    categorical = _constriction().stream.model.Categorical
    return categorical(shares.astype(np.float32), perfect=False)


def _encode_ans(symbols: Symbols, shares: np.ndarray) -> np.ndarray:
    model, coder = _ans(shares), _constriction().stream.stack.AnsCoder()
    for start, stop in reversed(list(_pieces(symbols))):  # what comes last is decoded first
        coder.encode_reverse(symbols.read(start, stop), model)
    return coder.get_compressed()


def _decode_ans(symbols: Symbols, shares: np.ndarray, words: np.ndarray) -> None:
    model, coder = _ans(shares), _constriction().stream.stack.AnsCoder(words)
    for start, stop in _pieces(symbols):
        symbols.write(start, coder.decode(model, stop - start))


def _encode_huffman(symbols: Symbols, shares: np.ndarray) -> np.ndarray:
    library = _constriction().symbol
    tree = library.huffman.EncoderHuffmanTree(shares.astype(np.float32))
    coder = library.QueueEncoder()
    for start, stop in _pieces(symbols):
        for symbol in symbols.read(start, stop).tolist():
            coder.encode_symbol(symbol, tree)
    return coder.get_compressed_and_bitrate()[0]


def _decode_huffman(symbols: Symbols, shares: np.ndarray, words: np.ndarray) -> None:
    library = _constriction().symbol
    tree = library.huffman.DecoderHuffmanTree(shares.astype(np.float32))
    coder = library.QueueDecoder(words)
    for start, stop in _pieces(symbols):
        read = [coder.decode_symbol(tree) for _ in range(stop - start)]
        symbols.write(start, np.array(read, np.int32))


_encoders: dict[str, Callable[[Symbols, np.ndarray], np.ndarray]] = {
    "ans": _encode_ans,
    "huffman": _encode_huffman,
}
_decoders: dict[str, Callable[[Symbols, np.ndarray, np.ndarray], None]] = {
    "ans": _decode_ans,
    "huffman": _decode_huffman,
}


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise ImportError(
            "Entropy coding needs constriction: pip install 'structlin[coding]'"
        ) from error
    return constriction
