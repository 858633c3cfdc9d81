"""Text as bytes: on the host strings to padded arrays, inside jit texts to their words."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["as_bytes", "check_bytes", "encode", "is_space", "split"]


def as_bytes(text: str | bytes) -> bytes:
    """The UTF-8 of a text; a surrogate that stands alone becomes the three bytes it would take."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


def encode(texts: Iterable[str | bytes], size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Texts as the arrays that the functions here and the networks take.

    Args:
        texts: Strings, of any characters, or their UTF-8.
        size: The bytes of a row: longer texts are cut there. By default those of the longest.

    Returns:
        Their UTF-8 filled up with zeros, uint8 ``(texts, size)``, and the bytes that count, int32
        ``(texts,)``.

    Raises:
        ValueError: The size is not positive.
    """
    if size is not None and size < 1:
        raise ValueError(f"A row needs at least one byte; given size={size}.")
    rows = [as_bytes(t) for t in texts]
    size = max([1, *map(len, rows)]) if size is None else size
    joined = b"".join(row[:size].ljust(size, b"\0") for row in rows)
    lengths = np.array([min(len(row), size) for row in rows], np.int32)
    return np.frombuffer(joined, np.uint8).reshape(len(rows), size), lengths


def split(
    data: jax.Array, lengths: jax.Array, words: int, size: int
) -> tuple[jax.Array, jax.Array]:
    """The words of each text as texts of their own; spaces are those of ASCII.

    Args:
        data: UTF-8, uint8 ``(..., bytes)``.
        lengths: The bytes that count, integers ``(...)``.
        words: How many words to keep; there are none where a text has fewer.
        size: How many bytes of each to keep.

    Returns:
        uint8 ``(..., words, size)`` and int32 ``(..., words)``.
    """
    check_bytes(data)

    def one(data: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
        n = data.shape[-1]
        part = (jnp.arange(n) < length) & ~is_space(data)
        edges = jnp.diff(jnp.pad(part, 1).astype(jnp.int32))
        begin = jnp.nonzero(edges == 1, size=words, fill_value=n)[0]
        end = jnp.nonzero(edges == -1, size=words, fill_value=n)[0]
        lengths = jnp.minimum(end - begin, size).astype(jnp.int32)
        place = begin[:, None] + jnp.arange(size)
        rows = jnp.take(data, place, mode="fill", fill_value=0)
        return jnp.where(jnp.arange(size) < lengths[:, None], rows, 0), lengths

    return jnp.vectorize(one, signature="(n),()->(w,s),(w)")(data, lengths)


def is_space(data: jax.Array) -> jax.Array:
    """Which bytes are one of ASCII's six spaces."""
    return (data == 32) | ((data >= 9) & (data <= 13))


def check_bytes(data: jax.Array) -> None:
    """Raises unless ``data`` are bytes.

    Raises:
        TypeError: They are of another dtype.
    """
    if jnp.asarray(data).dtype != jnp.uint8:
        raise TypeError(
            f"Texts are bytes of UTF-8, uint8 (..., bytes); given {jnp.asarray(data).dtype}. "
            "text.encode makes them of strings."
        )
