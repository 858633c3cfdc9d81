"""Networks on a vector for each word: ternary projections, then attention or recurrence."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin.linen import RNN, Dense, GRUCell, QRNNCell
from structlin.networks._arrays import Head
from structlin.networks._read import read
from structlin.specs import Spec
from structlin.text import Grams, TextProjection

__all__ = ["PQRNN", "PRADO", "ProjectionRNN"]


def ternary_words(features: int, limit: int = 128) -> TextProjection:
    """The first words of a text, each as a ternary vector that the hash of its bytes gives."""
    return TextProjection(Grams("words", (1,), limit=limit), features, "ternary", "real", "gram")


class PRADO(nn.Module):
    """Convolutions over projected words, pooled by attention that convolutions give too.

    Every gram, of neighbouring words or of two with one between, has channels of its own; each
    channel is a mean over the text, weighted by the softmax of its own scores.

    Attributes:
        classes: How many logits.
        text: The vectors of words.
        embed: The size of the layers on each vector.
        channels: For each gram.
        widths: The lengths of the grams of neighbours.
        skip: Whether pairs with a word between them count too.
        hidden: The sizes of the layers between the channels and the logits.
        spec: How the dense kernels before the logits are made; ``None`` for dense ones.
        dropout: The rate on projected words, in training.

    Reference:
        Kaliamoorthi et al. (2019), "PRADO: projection attention networks for document
        classification on-device"; without quantisation and the distortion of texts.
    """

    classes: int
    text: TextProjection = ternary_words(512)
    embed: int = 64
    channels: int = 64
    widths: tuple[int, ...] = (1, 2, 3)
    skip: bool = True
    hidden: tuple[int, ...] = ()
    spec: Spec | None = None
    dropout: float = 0.5

    def __call__(self, data: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of UTF-8 ``(..., bytes)`` and lengths ``(...)``."""
        return self.classify(*read(self.text, data, lengths, whole=False), train=train)

    @nn.compact
    def classify(self, vectors: jax.Array, mask: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of vectors ``(..., words, features)`` and their mask."""

        def embedded(name: str) -> jax.Array:
            x = Dense(self.embed, spec=self.spec, name=name)(vectors)
            x = nn.Dropout(self.dropout)(x, deterministic=not train)
            return x * mask[..., None]

        value, score = embedded("value"), embedded("score")
        grams = [(width, 1) for width in self.widths] + [(2, 2)] * self.skip
        found = []
        for width, step in grams:
            conv = functools.partial(
                nn.Conv,
                self.channels,
                (width,),
                kernel_dilation=step,
                padding=[(0, (width - 1) * step)],
            )
            name = f"{width}_apart" if step > 1 else str(width)
            values = conv(name=f"value_{name}")(value)
            found.append(pooled(values, conv(name=f"score_{name}")(score), mask))
        head = Head(self.classes, self.hidden, self.spec, name="head")
        return head(jnp.concatenate(found, axis=-1), train=train)


class ProjectionRNN(nn.Module):
    """Recurrent layers over projected words, pooled by attention.

    Attributes:
        classes: How many logits.
        text: The vectors of words.
        cell: What makes a cell of a number of features; ``functools.partial`` gives it structures.
        features: Of each cell.
        layers: How many recurrent layers.
        bidirectional: Whether each runs both ways, with a cell for each.
        embed: The size of the layer on each vector.
        spec: How the kernel of that layer is made; ``None`` for a dense one.
        dropout: The rate before each recurrent layer, in training.
    """

    classes: int
    text: TextProjection = ternary_words(256)
    cell: Callable[..., Any] = GRUCell
    features: int = 64
    layers: int = 1
    bidirectional: bool = False
    embed: int = 64
    spec: Spec | None = None
    dropout: float = 0.0

    def __call__(self, data: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of UTF-8 ``(..., bytes)`` and lengths ``(...)``."""
        return self.classify(*read(self.text, data, lengths, whole=False), train=train)

    @nn.compact
    def classify(self, vectors: jax.Array, mask: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of vectors ``(..., words, features)`` and their mask."""
        lengths = mask.sum(axis=-1)
        x = nn.relu(Dense(self.embed, spec=self.spec, name="embed")(vectors))
        for i in range(self.layers):
            x = nn.Dropout(self.dropout)(x, deterministic=not train)
            both = [RNN(self.cell(self.features, name=f"forward_{i}"))(x)]
            if self.bidirectional:
                back = RNN(
                    self.cell(self.features, name=f"backward_{i}"), reverse=True, keep_order=True
                )
                both.append(back(x, seq_lengths=lengths))
            x = jnp.concatenate(both, axis=-1)
        return Dense(self.classes, name="head")(pooled(x, Dense(1, name="score")(x), mask))


class PQRNN(ProjectionRNN):
    """Quasi-recurrent layers, both ways, over projected words: a `ProjectionRNN` of `QRNNCell`.

    Reference:
        Kaliamoorthi et al. (2021), "Distilling large language models into tiny and effective
        students using pQRNN"; without quantisation and zoneout.
    """

    text: TextProjection = ternary_words(512)
    cell: Callable[..., Any] = functools.partial(QRNNCell, width=3)  # pyright: ignore[reportCallIssue]
    layers: int = 2
    bidirectional: bool = True


def pooled(values: jax.Array, scores: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean of ``values`` over words, weighted by the softmax of ``scores``; 0 without words.

    Args:
        values: ``(..., words, channels)``.
        scores: ``(..., words, channels)``, or one channel for all.
        mask: Which words there are, bool ``(..., words)``.

    Returns:
        ``(..., channels)``.
    """
    there = mask[..., None]
    weights = nn.softmax(jnp.where(there, scores, jnp.finfo(scores.dtype).min), axis=-2)
    return jnp.sum(jnp.where(there, weights * values, 0), axis=-2)
