"""Numbers that are computed from their place rather than stored.

Each is a function of a row, a column and a seed, in 32-bit integer arithmetic alone, so the bits
are the same on every device and with every release of JAX.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

__all__ = [
    "HASH_ENTRIES",
    "hash_normal",
    "hash_sign",
    "hash_ternary",
    "hash_uniform",
    "hash_words",
]


def hash_words(rows: jax.Array, columns: jax.Array, seed: int) -> jax.Array:
    """A uniform 32-bit word for each pair of a row and a column.

    Rows and columns are numbered anew by two permutations of all 32-bit words that the seed
    chooses; their difference by bits is then mixed twice, with another word of the seed between.

    Args:
        rows: Integers below ``2**32``, of a shape that broadcasts against ``columns``.
        columns: Likewise.
        seed: An integer; its lowest 64 bits count.

    Returns:
        ``uint32`` of the common shape.

    Reference:
        Appleby (2011), MurmurHash3: the finaliser of its 32-bit form is the permutation used here;
        the way in which row, column and seed are joined is our own.
    """
    low, high = jnp.uint32(seed & 0xFFFFFFFF), jnp.uint32(seed >> 32 & 0xFFFFFFFF)
    first = _mix(low + jnp.uint32(0x9E3779B9))
    second = _mix(first ^ (high + jnp.uint32(0x7F4A7C15)))
    third = _mix(second + jnp.uint32(0x9E3779B9))
    of_rows = _mix(rows.astype(jnp.uint32) + first)
    of_columns = _mix(columns.astype(jnp.uint32) + second)
    return _mix(_mix(of_rows ^ of_columns) + third)


def hash_sign(words: jax.Array) -> jax.Array:
    """``1`` or ``-1`` with equal chances, float32, by the highest bit."""
    return 1 - 2 * (words >> 31).astype(jnp.float32)


def hash_ternary(words: jax.Array) -> jax.Array:
    """``0`` with chance 1/2, ``1`` and ``-1`` with 1/4 each, float32, by the two highest bits."""
    bits = words >> 30
    return (bits == 1).astype(jnp.float32) - (bits == 2).astype(jnp.float32)


def hash_uniform(words: jax.Array) -> jax.Array:
    """One of the 256 odd multiples of 1/256 between -1 and 1, float32, by the eight highest bits.

    So coarse because sums of a few thousand are then exact, and the same in any order.
    """
    return (2 * (words >> 24).astype(jnp.float32) - 255) / 256


def hash_normal(words: jax.Array) -> jax.Array:
    """A standard normal number below 5.9 in size, float32, from each word and a second made of it.

    Reference:
        Box and Muller (1958), "A note on the generation of random normal deviates".
    """
    radius = jnp.sqrt(-2 * jnp.log(_uniform(words)))
    other = _uniform(_mix(words + jnp.uint32(0x3C6EF372)))
    return radius * jnp.cos(2 * jnp.pi * other)


HASH_ENTRIES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sign": hash_sign,
    "ternary": hash_ternary,
    "uniform": hash_uniform,
    "normal": hash_normal,
}
"""Kind -> how an entry comes from a word of 32 random bits."""


def _uniform(words: jax.Array) -> jax.Array:
    """In the open interval from 0 to 1, by the 23 highest bits and a half."""
    return ((words >> 9).astype(jnp.float32) + 0.5) * 2.0**-23


def _mix(word: jax.Array) -> jax.Array:
    """A permutation of all 32-bit words in which every bit depends on every other."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
