"""How a network comes by the vectors of a text."""

import jax

from structlin.text import TextProjection

__all__ = ["read"]


def read(
    text: TextProjection, data: jax.Array, lengths: jax.Array, *, whole: bool
) -> tuple[jax.Array, jax.Array]:
    """The vectors of texts and their mask, as `structlin.text.TextProjection` makes them.

    Args:
        text: What makes them.
        data: UTF-8, uint8 ``(..., bytes)``.
        lengths: The bytes that count, integers ``(...)``.
        whole: Whether the network takes one vector for each text, or a sequence.

    Raises:
        TypeError: The data are not bytes.
        ValueError: The projection gives the other of the two.
    """
    if whole != (text.per == "text"):
        raise ValueError(
            f"This network takes a vector per {'text' if whole else 'word or gram'}; given a "
            f"TextProjection with per={text.per!r}."
        )
    return text(data, lengths)
