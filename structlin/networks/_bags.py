"""Networks on one vector for each text: projections of all its n-grams at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin.linen import Dense
from structlin.networks._arrays import Head
from structlin.networks._read import read
from structlin.specs import Spec
from structlin.text import Grams, TextProjection

__all__ = ["SGNN", "SGNNPlusPlus"]


class SGNN(nn.Module):
    """Dense layers on the projection of a text's n-grams.

    Attributes:
        classes: How many logits.
        text: The vector of a text; T = 80 functions of d = 14 bits by default.
        hidden: The sizes of the layers between.
        spec: How the kernels of those are made; ``None`` for dense ones.
        dropout: The rate after each of those, in training.

    Reference:
        Ravi and Kozareva (2018), "Self-governing neural networks for on-device short text
        classification".
    """

    classes: int
    text: TextProjection = TextProjection(Grams("characters", (1, 2, 3, 4), skips=2))
    hidden: tuple[int, ...] = (256, 256)
    spec: Spec | None = None
    dropout: float = 0.0

    def __call__(self, data: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of UTF-8 ``(..., bytes)`` and lengths ``(...)``."""
        return self.classify(*read(self.text, data, lengths, whole=True), train=train)

    @nn.compact
    def classify(
        self, vectors: jax.Array, mask: jax.Array | None = None, *, train: bool = False
    ) -> jax.Array:
        """The logits ``(..., classes)`` of what `text` makes, here or on the host."""
        del mask
        head = Head(self.classes, self.hidden, self.spec, self.dropout, name="head")
        return head(vectors, train=train)


def _blocks() -> tuple[TextProjection, ...]:
    words = [Grams("words", (1,)), Grams("words", (2,)), Grams("words", (3,), skips=1)]
    characters = [Grams("characters", (size,)) for size in (2, 3, 4)]
    grams = enumerate([*words, *characters])
    return tuple(TextProjection(g, 210, seed=seed) for seed, g in grams)


class SGNNPlusPlus(nn.Module):
    """An `SGNN` in which words and characters, and grams of each length, have their own projection.

    Each block of the projection has a layer of its own, and those that follow see all blocks.

    Attributes:
        classes: How many logits.
        texts: The blocks: projections per text. Seeds that differ make them independent.
        block: The size of the layer on each block.
        hidden: The sizes of the layers on all of them.
        spec: How the kernels of all these are made; ``None`` for dense ones.
        dropout: The rate after each layer, in training.

    Reference:
        Ravi and Kozareva (2019), "On-device structured and context partitioned projection
        networks", for the idea; which blocks there are, and their sizes, is our own.
    """

    classes: int
    texts: tuple[TextProjection, ...] = _blocks()
    block: int = 64
    hidden: tuple[int, ...] = (256,)
    spec: Spec | None = None
    dropout: float = 0.0

    def __call__(self, data: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of UTF-8 ``(..., bytes)`` and lengths ``(...)``."""
        vectors = [read(text, data, lengths, whole=True)[0] for text in self.texts]
        return self.classify(*vectors, train=train)

    @nn.compact
    def classify(self, *vectors: jax.Array, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of the vectors of each of `texts`."""
        layers = [
            nn.relu(Dense(self.block, spec=self.spec, name=f"block_{i}")(x))
            for i, x in enumerate(vectors)
        ]
        x = nn.Dropout(self.dropout)(jnp.concatenate(layers, axis=-1), deterministic=not train)
        head = Head(self.classes, self.hidden, self.spec, self.dropout, name="head")
        return head(x, train=train)
