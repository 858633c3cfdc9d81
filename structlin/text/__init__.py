"""From bytes to arrays: hashed features of text, with no vocabulary, on the host or inside jit."""

from structlin.text._bytes import encode, split
from structlin.text._grams import Grams
from structlin.text._projection import TextProjection

__all__ = ["Grams", "TextProjection", "encode", "split"]
