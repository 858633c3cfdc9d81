"""Networks on a table of the most frequent words, as large as fits into so many bytes."""

import dataclasses
import functools
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from _labelled_texts import Texts

import structlin as sl
from structlin.builder import _model
from structlin.networks import SGNNPlusPlus
from structlin.networks._arrays import Head

__all__ = ["Words", "coded", "held_bytes"]

AT_ONCE = 256
"""How many texts are classified together."""

PAD, UNKNOWN = 0, 1


def coded(params: Any) -> Any:
    """Parameters as a file of `structlin train` holds them: kernels in 8 bits."""
    return jax.tree.map(_model._coded, params, is_leaf=sl.matrices.is_matrix)


def held_bytes(held: Any) -> int:
    """The bytes of all numbers of a tree."""
    return sum(x.nbytes for x in jax.tree.leaves(held))


class Mean(nn.Module):
    """Dense layers on the mean of the vectors of a text."""

    classes: int
    hidden: tuple[int, ...]
    dropout: float

    @nn.compact
    def classify(self, vectors: jax.Array, mask: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(..., classes)`` of vectors ``(..., words, features)`` and their mask."""
        count = jnp.maximum(1, mask.sum(-1, keepdims=True))
        mean = jnp.sum(vectors * mask[..., None], axis=-2) / count
        return Head(self.classes, self.hidden, dropout=self.dropout, name="head")(mean, train=train)


class OnWords(nn.Module):
    """A table of words, and a network on their vectors."""

    vocabulary: int
    features: int
    inner: Any

    @nn.compact
    def __call__(self, ids: jax.Array, *, train: bool = False) -> jax.Array:
        """The logits ``(texts, classes)`` of the numbers of words ``(texts, words)``."""
        vectors = nn.Embed(self.vocabulary, self.features, name="table")(ids)
        return self.inner.classify(vectors, ids != PAD, train=train)


@dataclasses.dataclass(frozen=True)
class Words:
    """A network on a table of words, as `structlin.builder` trains one.

    Attributes:
        module: The network.
        words: Those that it knows.
        limit: How many words of a text count.
    """

    module: OnWords
    words: tuple[str, ...]
    limit: int = 64

    @classmethod
    def within(cls, size: int, against: Any, classes: int, data: Texts) -> "Words":
        """The one with the layers of a projection network that takes ``size`` bytes in all."""
        counts = Counter(w for text in data.train.texts for w in text.lower().split())
        known = tuple(word for word, _ in counts.most_common())
        if isinstance(against, SGNNPlusPlus):
            width = against.block
            inner: Any = Mean(classes, (width, *against.hidden), against.dropout)
        else:
            width, inner = against.embed, against

        def of(count: int) -> Words:
            return cls(OnWords(count + 2, width, inner), known[:count])

        # What an entry of the table takes is known: one byte for each number, and the word.
        rest = held_bytes(coded(of(0).init(jax.random.key(0), (np.ones((1, 1), np.int32),))))
        low, high = 0, len(known)
        while low < high:
            middle = (low + high + 1) // 2
            fits = rest + middle * width + of(middle).list_bytes <= size
            low, high = (middle, high) if fits else (low, middle - 1)
        return of(low)

    @property
    def list_bytes(self) -> int:
        """The bytes of the list of words, compressed."""
        return len(zlib.compress("\n".join(self.words).encode(), 9))

    def arrays(self, given: Sequence[str]) -> tuple[np.ndarray]:
        """The numbers of the words of texts."""
        numbers = {word: i + 2 for i, word in enumerate(self.words)}
        rows = [[numbers.get(w, UNKNOWN) for w in t.lower().split()][: self.limit] for t in given]
        found = np.zeros((len(rows), max([1, *map(len, rows)])), np.int32)
        for to, row in zip(found, rows, strict=True):
            to[: len(row)] = row
        return (found,)

    def init(self, key: jax.Array, arrays: tuple[Any, ...]) -> Any:
        """Random parameters."""
        made: Any = self.module.init(key, *arrays)
        return made["params"]

    def shapes(self) -> Any:
        """The form of the parameters."""
        one = (jnp.ones((1, 1), jnp.int32),)
        return jax.eval_shape(lambda key: self.init(key, one), jax.random.key(0))

    def logits(self, params: Any, arrays: tuple[Any, ...], key: jax.Array | None = None) -> Any:
        """The logits of `arrays`; with a key as in training."""
        options = {} if key is None else {"train": True, "rngs": {"dropout": key}}
        return self.module.apply({"params": params}, *arrays, **options)

    def predict(self, params: Any, given: Sequence[str]) -> np.ndarray:
        """The numbers of the labels of texts."""
        (ids,) = self.arrays(given)
        filled = np.pad(ids, [(0, -len(ids) % AT_ONCE), (0, 0)])
        pieces = [
            _labels(self.module, params, filled[i : i + AT_ONCE])
            for i in range(0, len(filled), AT_ONCE)
        ]
        return np.concatenate(pieces)[: len(given)]


@functools.partial(jax.jit, static_argnums=0)
def _labels(module: OnWords, params: Any, ids: jax.Array) -> jax.Array:
    logits: Any = module.apply({"params": params}, ids)
    return logits.argmax(-1)
