"""Small unsigned integers in a stream of bytes: eight of ``bits`` bits each in ``bits`` bytes."""

import jax
import jax.numpy as jnp

from structlin.kernels._gather import gather_rows

__all__ = ["pack_bits", "stream_bytes", "unpack_bits", "unpack_bits_at"]


def stream_bytes(count: int, bits: int) -> int:
    """The bytes that ``count`` codes of ``bits`` bits take."""
    return -(-count * bits // 8)


def pack_bits(codes: jax.Array, bits: int) -> jax.Array:
    """Packs codes along the last axis, the first in the lowest bits.

    Args:
        codes: ``(..., count)``, integers in ``0 .. 2**bits - 1``.
        bits: The bits of each, 1 to 8.

    Returns:
        ``(..., ceil(count * bits / 8))`` bytes.
    """
    *lead, count = codes.shape
    filled = jnp.pad(codes.astype(jnp.uint16), [(0, 0)] * len(lead) + [(0, -count % 8)])
    groups = filled.reshape(*lead, -1, 8)
    packed: list[jax.Array] = [jnp.zeros(groups.shape[:-1], jnp.uint16)] * (bits + 1)
    for i in range(8):
        byte, shift = divmod(i * bits, 8)
        moved = groups[..., i] << shift
        packed[byte] = packed[byte] | (moved & 255)
        packed[byte + 1] = packed[byte + 1] | (moved >> 8)
    stream = jnp.stack(packed[:bits], axis=-1).astype(jnp.uint8).reshape(*lead, -1)
    return stream[..., : stream_bytes(count, bits)]


def unpack_bits(stream: jax.Array, bits: int, count: int) -> jax.Array:
    """The first ``count`` codes of each stream: the inverse of `pack_bits`.

    Args:
        stream: ``(..., ceil(count * bits / 8))`` bytes.
        bits: The bits of each code, 1 to 8.
        count: How many codes.

    Returns:
        ``(..., count)`` bytes.
    """
    if bits == 8:
        return jnp.asarray(stream)
    *lead, size = stream.shape
    filled = jnp.pad(stream, [(0, 0)] * len(lead) + [(0, -size % bits)])
    groups = filled.reshape(*lead, -1, bits).astype(jnp.uint16)
    codes = []
    for i in range(8):
        byte, shift = divmod(i * bits, 8)
        code = groups[..., byte] >> shift
        if shift + bits > 8:
            code = code | (groups[..., byte + 1] << (8 - shift))
        codes.append(code & (2**bits - 1))
    return jnp.stack(codes, axis=-1).astype(jnp.uint8).reshape(*lead, -1)[..., :count]


def unpack_bits_at(
    stream: jax.Array, bits: int, places: jax.Array, start: jax.Array | int = 0
) -> jax.Array:
    """Single codes of a stream, without unpacking the others.

    Args:
        stream: ``(size,)`` bytes.
        bits: The bits of each code, 1 to 8.
        places: Which codes, integers of any shape.
        start: The byte at which the stream of each begins, where several stand in a row.

    Returns:
        The codes, bytes of the shape of ``places``.
    """
    size = stream.shape[-1]
    # Eight places at a time, so that no bit is numbered beyond what an int32 can count.
    group, inside = places // 8, places % 8 * bits
    byte, shift = start + group * bits + inside // 8, (inside % 8).astype(jnp.uint16)
    low = gather_rows(stream, byte).astype(jnp.uint16)
    high = gather_rows(stream, jnp.minimum(byte + 1, size - 1)).astype(jnp.uint16)
    word = low | (high << 8)
    return ((word >> shift) & (2**bits - 1)).astype(jnp.uint8)
