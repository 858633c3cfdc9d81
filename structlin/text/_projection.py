"""Texts as vectors: hashed n-grams, projected at random."""

import dataclasses
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from structlin.functional import project_features, projected_columns
from structlin.text import _host
from structlin.text._bytes import as_bytes, split
from structlin.text._grams import Grams

__all__ = ["TextProjection"]


@dataclasses.dataclass(frozen=True)
class TextProjection:
    """What makes vectors of texts, without a vocabulary or a table; equal on the host and in jit.

    Attributes:
        grams: Which n-grams count.
        features: How long a vector is; T functions of d bits give ``T d``.
        kind: The random entries: ``"sign"``, ``"ternary"`` or ``"uniform"``.
        output: ``"sign"``, ``"ternary"`` or ``"real"``, as in `structlin.functional.project`.
        per: What has a vector: the ``"text"``, by the mean of all its grams; every ``"word"``, by
            the grams inside it; or every ``"gram"``.
        words: With ``per="word"``, how many words count, and how many bytes of each.
        seed: Which of the random matrices.

    Raises:
        ValueError: When made, if a name is none of these.
    """

    grams: Grams = Grams()  # noqa: RUF009 (frozen)
    features: int = 1120
    kind: str = "sign"
    output: str = "sign"
    per: str = "text"
    words: tuple[int, int] = (64, 32)
    seed: int = 0

    def __post_init__(self):
        projected_columns(self.features, self.output)  # raises if there is no such output
        if self.kind not in ("sign", "ternary", "uniform"):
            raise ValueError(
                f"Texts are projected by entries of kind sign, ternary or uniform, whose sums are "
                f"exact; given kind={self.kind!r}."
            )
        if self.per not in ("text", "word", "gram"):
            raise ValueError(f"Vectors are per text, word or gram; given per={self.per!r}.")

    def __call__(self, data: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The vectors of texts, in JAX.

        Args:
            data: UTF-8, uint8 ``(..., bytes)``.
            lengths: The bytes that count, integers ``(...)``.

        Returns:
            float32 ``(..., features)``, or ``(..., slots, features)`` of words or grams, zero where
            there is nothing; and whether there is, bool of the shape without its last axis.

        Raises:
            TypeError: The data are not bytes.
        """
        if self.per == "word":
            data, lengths = split(data, lengths, *self.words)
        ids, there = self.grams(data, lengths)
        if self.per == "gram":
            ids, there = ids[..., None], there[..., None]
        how = {"seed": self.seed, "kind": self.kind, "output": self.output}
        vectors = project_features(ids, there, self.features, **how)
        mask = jnp.any(there > 0, axis=-1)
        return jnp.where(mask[..., None], vectors, 0), mask

    def on_host(self, texts: Iterable[str | bytes], size: int) -> tuple[np.ndarray, np.ndarray]:
        """The same arrays in NumPy, of texts cut at ``size`` bytes."""
        cut = [as_bytes(text)[:size] for text in texts]
        slots = self._slots(size)
        vectors = np.zeros((len(cut), slots, self.features), np.float32)
        mask = np.zeros((len(cut), slots), bool)
        for k, text in enumerate(cut):
            for slot, ids in self._bags(text, size):
                vectors[k, slot] = _host.mean(ids, self.features, self.seed, self.kind, self.output)
                mask[k, slot] = True
        return (vectors[:, 0], mask[:, 0]) if self.per == "text" else (vectors, mask)

    def _slots(self, size: int) -> int:
        """How many vectors a text of ``size`` bytes has room for."""
        grams = self.grams.slots(size) * len(self.grams.patterns)
        return {"text": 1, "word": self.words[0], "gram": grams}[self.per]

    def _bags(self, text: bytes, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """The slots that are filled, and the grams of each."""
        if self.per == "gram":
            for first, ids in enumerate(self.grams.by_pattern(text)):
                for i in range(ids.size):
                    yield first * self.grams.slots(size) + i, ids[i : i + 1]
            return
        count, most = (1, None) if self.per == "text" else self.words
        bags = [text] if self.per == "text" else text.split()[:count]
        for slot, bag in enumerate(bags):
            ids = self.grams.on_host(bag[:most])
            if ids.size:
                yield slot, ids
