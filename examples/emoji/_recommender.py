"""The recommender: a folder with a model file, and its embeddings there or in a database."""

import functools
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from _tweets import shortest
from _words import known_pieces, words

import structlin as sl
from structlin.storage import EmbeddingStore, StorageError, read_metadata

__all__ = [
    "STORE",
    "MemoryRows",
    "Model",
    "ModelError",
    "Network",
    "logits_of",
    "open_model",
    "write_model",
]

CACHE = 4096
"""How many rows of a store stay decoded, those that were used last."""
KIND, FILE, STORE = "structlin emoji recommender", "model.slin", "words.db"


class ModelError(ValueError):
    """A folder that holds no model."""


class Network(nn.Module):
    """Two recurrent layers over the vectors of a message, and the logits of the emoji.

    Attributes:
        classes: How many emoji there are.
        hidden: The width of both layers.
        dropout: Of the vectors and of the features the logits are made of.
    """

    classes: int
    hidden: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, lengths: jax.Array, train: bool = False) -> jax.Array:
        """Vectors ``(n, time, dim)`` and lengths ``(n,)`` to logits ``(n, classes)``."""
        drop, fused = nn.Dropout(self.dropout, deterministic=not train), sl.specs.Dense()
        x = drop(x)
        for layer in ("first", "second"):
            x = sl.RNN(sl.GRUCell(self.hidden, input=fused, recurrent=fused, name=layer))(x)
        seen = (jnp.arange(x.shape[1]) < lengths[:, None])[..., None]
        mean = jnp.where(seen, x, 0).sum(1) / lengths[:, None]
        most = jnp.where(seen, x, -1).max(1)  # states are above -1
        return nn.Dense(self.classes, name="out")(drop(jnp.concatenate([mean, most], -1)))


@functools.partial(jax.jit, static_argnums=0)
def logits_of(network: Network, params: Any, x: jax.Array, lengths: jax.Array) -> Any:
    """The logits ``(n, classes)``, compiled once for all models of one form."""
    return network.apply({"params": params}, x, lengths)


class MemoryRows(NamedTuple):
    """Embeddings by name in memory, read as an `EmbeddingStore` is.

    Attributes:
        names: Of the rows, in order, each with its number.
        values: ``(n, dim)``: an array or a matrix.
    """

    names: dict[str, int]
    values: Any

    @property
    def dim(self) -> int:
        """The numbers in a row."""
        return self.values.shape[1]

    def ids(self, keys: Sequence[str], unknown: int) -> np.ndarray:
        """The numbers of rows; ``unknown`` where there is none."""
        return np.array([self.names.get(key, unknown) for key in keys], np.int64)

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Rows ``(k, dim)``."""
        if not sl.matrices.is_matrix(self.values):
            return self.values[ids]
        room = max(64, 1 << (len(ids) - 1).bit_length())  # so that few programs do
        return np.asarray(_taken(self.values, np.pad(ids, (0, room - len(ids)))))[: len(ids)]


@jax.jit
def _taken(matrix: Any, ids: jax.Array) -> jax.Array:
    return matrix.take(ids).astype(jnp.float32)


class Model:
    """What a folder holds, as `open_model` reads it.

    Attributes:
        params: Of the `Network`: arrays and matrices.
        rows: The embeddings, of words and then of pieces: `MemoryRows`, or an `EmbeddingStore`.
        labels: The emoji.
        facts: What else stands in the model file.
    """

    def __init__(self, params: Any, rows: Any, labels: Sequence[str], facts: dict[str, Any]):
        self.params, self.rows, self.labels, self.facts = params, rows, tuple(labels), facts
        self.network = Network(len(self.labels), facts["hidden"])
        # Words are found in the store. Of pieces most are unknown, which memory tells at once.
        memory, first = isinstance(rows, MemoryRows), facts["words"]
        names = list(rows.names) if memory else rows.words
        self._pieces = {name: i for i, name in enumerate(names[first:], first)}

    def vectors(self, found: Sequence[str]) -> np.ndarray:
        """The vector of each word: its row, or else the mean of those of its pieces.

        Returns:
            ``(words, dim)``; a word none of whose pieces is known is zeros.
        """
        ids = self.rows.ids(found, unknown=-1)
        made = np.zeros((len(found), self.rows.dim), np.float32)
        known = ids >= 0
        if known.any():
            made[known] = self.rows.take(ids[known])
        unknown = np.flatnonzero(~known).tolist()
        split = [(i, number) for i in unknown for number in known_pieces(found[i], self._pieces)]
        if split:
            places, ids = np.transpose(split)
            np.add.at(made, places, self.rows.take(ids))
            counts = np.bincount(places, minlength=len(found))
            made /= np.maximum(counts, 1)[:, None].astype(np.float32)
        return made

    def suggest(self, message: str, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest emoji of a message, each with its probability; none without words."""
        if not (found := words(message, self.facts["selectors"])):
            return []
        vectors = self.vectors(found)
        x = np.zeros((1, shortest(len(found)), self.rows.dim), np.float32)
        x[0, : len(found)] = vectors
        lengths = np.array([len(found)], np.int32)
        logits = np.asarray(logits_of(self.network, self.params, x, lengths))[0]
        odds = np.exp(logits - logits.max())
        best = np.argsort(-odds, kind="stable")[:count]
        return [(self.labels[i], float(odds[i] / odds.sum())) for i in best]


def write_model(
    folder: Path,
    params: Any,
    labels: Iterable[str],
    facts: dict[str, Any],
    rows: MemoryRows | None = None,
) -> None:
    """Writes ``model.slin`` into a folder.

    Args:
        folder: Is there.
        params: Of the `Network`.
        labels: The emoji.
        facts: ``hidden``, ``selectors``, and in ``words`` how many rows are words.
        rows: The embeddings, unless a store beside the file has them.
    """
    tree = {"params": params}
    if rows is not None:
        names = zlib.compress(json.dumps(list(rows.names), ensure_ascii=False).encode(), 9)
        tree |= {"rows": rows.values, "names": np.frombuffer(names, np.uint8)}
    sl.save(folder / FILE, tree, {"kind": KIND, "labels": tuple(labels), **facts})


def open_model(folder: Path) -> Model:
    """The model in a folder.

    Raises:
        ModelError: There is none, or it is damaged; the message says what to give.
    """
    file = folder / FILE
    if not file.is_file():
        raise ModelError(
            f"There is no {file}: give a folder that train.py made, such as OUT/classic/dense."
        )
    try:
        facts = read_metadata(file)
        if facts.pop("kind", None) != KIND:
            raise ModelError(f"{file} is a model of another kind: give a folder of train.py's.")
        tree, labels = sl.load(file), facts.pop("labels")
        if "rows" in tree:
            names = json.loads(zlib.decompress(np.asarray(tree["names"]).tobytes()))
            values = tree["rows"]
            values = values if sl.matrices.is_matrix(values) else np.asarray(values)
            rows: Any = MemoryRows({name: i for i, name in enumerate(names)}, values)
        else:
            rows = EmbeddingStore(folder / STORE, cache=CACHE)
    except (StorageError, FileNotFoundError) as error:
        raise ModelError(f"{folder} cannot be read: {error}") from error
    return Model(tree["params"], rows, labels, facts)
