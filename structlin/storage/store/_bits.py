"""Codes of few bits and floating point cut short, in NumPy: reading a row compiles nothing."""

import numpy as np

__all__ = ["cut", "pack", "stream_bytes", "uncut", "unpack"]


def stream_bytes(count: int, bits: int) -> int:
    """The bytes that ``count`` codes of ``bits`` bits take."""
    return -(-count * bits // 8)


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """The bytes that `structlin.kernels.pack_bits` makes.

    Args:
        codes: ``(n, count)``, below ``2**bits``.
        bits: The bits of each, 1 to 8.

    Returns:
        ``(n, stream_bytes(count, bits))`` bytes.
    """
    n, count = codes.shape
    eights = np.pad(codes.astype("<u8"), [(0, 0), (0, -count % 8)]).reshape(n, -1, 8)
    words = np.bitwise_or.reduce(eights << _shifts(bits), axis=-1).astype("<u8", copy=False)
    stream = words[..., None].view(np.uint8)[..., :bits].reshape(n, -1)
    return stream[:, : stream_bytes(count, bits)]


def unpack(stream: np.ndarray, bits: int, count: int) -> np.ndarray:
    """The first ``count`` codes of each row of bytes: the inverse of `pack`."""
    if bits == 8:
        return stream
    n, size = stream.shape
    words = np.zeros((n, -(-size // bits), 8), np.uint8)
    if short := -size % bits:
        stream = np.pad(stream, [(0, 0), (0, short)])
    words[..., :bits] = stream.reshape(n, -1, bits)
    codes = words.view("<u8") >> _shifts(bits) & np.uint64(2**bits - 1)
    return codes.astype(np.uint8).reshape(n, -1)[:, :count]


def cut(numbers: np.ndarray, width: int, *, up: bool) -> np.ndarray:
    """The upper bytes of float32 numbers, rounded up or down to what these can say.

    Args:
        numbers: ``(n, 1)``.
        width: How many bytes to keep, 2 or 3.
        up: Whether what `uncut` gives is never less; otherwise it is never more.

    Returns:
        ``(n, width)`` bytes.
    """
    lost = 32 - 8 * width
    whole = numbers.astype("<f4").view("<u4")
    away = (whole >> np.uint32(31) == 0) == up  # from zero
    whole = whole + away.astype("<u4") * np.uint32(2**lost - 1)
    return whole.astype("<u4", copy=False).view(np.uint8)[:, 4 - width :]


def uncut(data: np.ndarray) -> np.ndarray:
    """The float32 numbers ``(n, 1)`` whose upper bytes are ``data``."""
    whole = np.zeros((len(data), 4), np.uint8)
    whole[:, 4 - data.shape[1] :] = data
    return whole.view("<f4")


def _shifts(bits: int) -> np.ndarray:
    return np.arange(8, dtype="<u8") * np.uint64(bits)
