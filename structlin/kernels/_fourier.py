"""Circular convolutions by fast Fourier transforms, real ones by half of the spectrum.

Half precision is transformed in single precision: XLA has no transform of narrower numbers.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["circular_convolve", "convolve_flops", "fast_length", "from_spectrum", "spectrum"]


def fast_length(least: int) -> int:
    """The smallest length of at least ``least`` with no prime factor above 5."""
    length = max(least, 1)
    while _without_small_factors(length) != 1:
        length += 1
    return length


def spectrum(x: jax.Array, length: int | None = None) -> jax.Array:
    """The Fourier transform of the last axis, in single precision at least.

    Args:
        x: ``(..., n)``.
        length: Zeros are appended up to this length; ``n`` if not given.

    Returns:
        ``(..., length)`` for complex ``x``; the first half, ``(..., length // 2 + 1)``, for real.
    """
    wide = x.astype(_wide(x.dtype))
    complex_input = jnp.issubdtype(wide.dtype, jnp.complexfloating)
    return jnp.fft.fft(wide, length) if complex_input else jnp.fft.rfft(wide, length)


def from_spectrum(values: jax.Array, length: int, dtype: Any) -> jax.Array:
    """What `spectrum` of an array ``(..., length)`` of this dtype gave, turned back."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.fft.ifft(values, length).astype(dtype)
    return jnp.fft.irfft(values, length).astype(dtype)


def circular_convolve(x: jax.Array, y: jax.Array, length: int) -> jax.Array:
    """``z`` with ``z_k = sum_i x_i y_{(k - i) mod length}``.

    Args:
        x: ``(..., k)``, ``k <= length``; zeros are appended.
        y: ``(..., l)``, likewise.
        length: The period.

    Returns:
        ``(..., length)`` in the dtype to which both promote.
    """
    dtype = jnp.result_type(x, y)
    both = spectrum(x.astype(dtype), length) * spectrum(y.astype(dtype), length)
    return from_spectrum(both, length, dtype)


def convolve_flops(length: int) -> int:
    """Operations of one `circular_convolve`: three transforms of ``5 n log2 n`` and a product."""
    return math.ceil(15 * length * math.log2(max(length, 2))) + 6 * length


def _wide(dtype: Any) -> Any:
    narrow = not jnp.issubdtype(dtype, jnp.inexact) or jnp.finfo(dtype).bits < 32
    return jnp.float32 if narrow else dtype


def _without_small_factors(n: int) -> int:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n
