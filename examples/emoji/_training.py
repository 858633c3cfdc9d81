"""Trains the network: at first with its embeddings, later on those of a store, pruned."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _recommender import MemoryRows, Network
from _tweets import Batch, Data, batches
from _words import MOST, known_pieces, vocabulary

import structlin as sl

__all__ = ["Settings", "train_all", "train_network"]


class Settings(NamedTuple):
    """How large the model is, and how it trains.

    Attributes:
        dim: The numbers in an embedding.
        hidden: The width of the recurrent layers.
        least: How often a word must occur to have a row of its own.
        pieces: How many pieces of words have rows.
        steps: Updates of the dense model.
        retrain: Updates after every pruning.
        batch: Messages of an update.
        rate: The first learning rate; it falls to zero.
        dropout: As in `Network`.
        forget: How often a word is known by its pieces only.
        balance: Emoji count by this power of one over their frequency.
        smoothing: Of the labels.
        taught: How much the dense model's answers count, beside the labels, after it is there.
        temperature: What its logits are divided by then.
        reduced: How much smaller GroupReduce makes the embeddings.
        doped: How much smaller the recurrent kernels are as doped Kronecker products.
        seed: For all draws.
    """

    dim: int = 192
    hidden: int = 128
    least: int = 3
    pieces: int = 6000
    steps: int = 1400
    retrain: int = 350
    batch: int = 128
    rate: float = 3e-3
    dropout: float = 0.4
    forget: float = 0.2
    balance: float = 0.5
    smoothing: float = 0.1
    taught: float = 0.7
    temperature: float = 2.0
    reduced: float = 16.0
    doped: float = 10.0
    seed: int = 0


Embed = Callable[[Any, Any, jax.Array, Settings], jax.Array]
"""Parameters, what is known of some words, a key and settings, to the vectors of the words."""
Facts = Callable[[Batch], tuple[Any, Any]]
"""What is known of the words of a batch, and what a teacher says of its messages, or `None`."""


def train_all(
    data: Data, settings: Settings, known: dict[str, np.ndarray]
) -> tuple[Any, MemoryRows, int]:
    """The parameters of the network, and its embeddings and how many are of words.

    The vector of a word is its own row, if it has one, and the mean of the rows of its pieces.
    Afterwards the two are added up: only a word without a row is read by its pieces.

    Args:
        data: All parts; only that to train is read.
        settings: Sizes and schedule.
        known: Other embeddings to start from, by word.
    """
    words, pieces = vocabulary(data.messages(data.train), settings.least, settings.pieces)
    names, first = [*words, *pieces], len(words)
    own, split = _members(data.types, names, first)
    x = jnp.zeros((1, 2, settings.dim))
    key = jax.random.key(settings.seed)
    network = Network(len(data.labels), settings.hidden).init(key, x, jnp.ones(1))["params"]
    rows = jnp.asarray(_first_rows(names, settings, known))
    params = {"network": network, "rows": rows}
    rate = optax.cosine_decay_schedule(settings.rate, settings.steps)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    def facts(batch: Batch) -> tuple[Any, None]:
        return (own[batch.types], split[batch.types]), None

    params = _train(params, adam, _of_pieces, facts, data, settings, settings.steps)
    whole = jax.jit(_sum)(params["rows"], *_members(words, names, first))
    rows = np.concatenate([whole, params["rows"][first:]])
    made = MemoryRows({name: i for i, name in enumerate(names)}, rows)
    return sl.densify(params["network"]), made, first


def train_network(
    params: Any,
    vectors: np.ndarray,
    teacher: np.ndarray,
    optimiser: optax.GradientTransformation,
    data: Data,
    settings: Settings,
    steps: int,
) -> Any:
    """The parameters of the network, trained on vectors that stay to say what a teacher says.

    Args:
        params: Where to start.
        vectors: Of each of ``data.types``.
        teacher: The logits of each message of ``data.train``.
        optimiser: Decays its rate itself; what it sees is under ``network``.
        data: All parts; only that to train is read.
        settings: What else the training needs.
        steps: How many updates.
    """

    def facts(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        return vectors[batch.types], teacher[batch.rows]

    start = {"network": params}
    return _train(start, optimiser, _as_given, facts, data, settings, steps)["network"]


def _of_pieces(params: Any, facts: Any, key: jax.Array, settings: Settings) -> jax.Array:
    own, split = facts
    kept = jax.random.bernoulli(key, 1 - settings.forget, own.shape)
    return _sum(params["rows"], jnp.where(kept, own, -1), split)


def _as_given(params: Any, facts: Any, key: jax.Array, settings: Settings) -> jax.Array:
    del params, key, settings
    return facts


def _first_rows(
    names: Sequence[str], settings: Settings, known: dict[str, np.ndarray]
) -> np.ndarray:
    """Rows that begin with those of other embeddings where there are any, and are noise else."""
    rng = np.random.default_rng(settings.seed)
    rows = 0.1 * rng.normal(size=(len(names), settings.dim)).astype(np.float32)
    for i, name in enumerate(names):
        vector = known.get(name.lstrip("#@"))
        if vector is not None:
            rows[i, : len(vector)] = vector[: settings.dim]
    return rows


def _members(
    found: Sequence[str], names: Sequence[str], first: int
) -> tuple[np.ndarray, np.ndarray]:
    """The row of each word, and the rows of its pieces, -1 where there is none."""
    words = {name: i for i, name in enumerate(names[:first])}
    pieces = {name: i for i, name in enumerate(names[first:], first)}
    own = np.array([words.get(word, -1) for word in found], np.int32)
    split = np.full((len(found), MOST), -1, np.int32)
    for row, word in zip(split, found, strict=True):
        numbers = known_pieces(word, pieces)
        row[: len(numbers)] = numbers
    return own, split


def _sum(rows: jax.Array, own: jax.Array, split: jax.Array) -> jax.Array:
    """The row of each word, and the mean of those of its pieces: ``(words, dim)``."""
    whole = jnp.where(own[:, None] >= 0, rows[own], 0)
    parts = jnp.where(split[..., None] >= 0, rows[split], 0).sum(1)
    return whole + parts / jnp.maximum((split >= 0).sum(1, keepdims=True), 1)


def _train(
    params: Any,
    optimiser: optax.GradientTransformation,
    embed: Embed,
    facts: Facts,
    data: Data,
    settings: Settings,
    steps: int,
) -> Any:
    step = _step(len(data.labels), settings, optimiser, embed)
    counts = np.bincount(data.train.y, minlength=len(data.labels))
    weights = (counts.mean() / np.maximum(counts, 1)) ** np.float32(settings.balance)
    state, key = optimiser.init(params), jax.random.key(settings.seed)
    begin, number, epoch = time.perf_counter(), 0, 0
    while number < steps:
        for batch in batches(data.train, settings.batch, settings.seed + epoch):
            own = jax.random.fold_in(key, number)
            params, state, loss = step(params, state, *facts(batch), batch, weights, own)
            number += 1
            if number % 50 == 0 or number == steps:
                seconds = time.perf_counter() - begin
                print(f"  step {number}/{steps}  loss {loss:.3f}  {seconds:.0f} s", flush=True)
            if number == steps:
                break
        epoch += 1
    return params


@functools.cache
def _step(
    classes: int, settings: Settings, optimiser: optax.GradientTransformation, embed: Embed
) -> Callable[..., Any]:
    """One update, compiled once for all trainings of a kind."""
    model = Network(classes, settings.hidden, settings.dropout)

    def loss(
        params: Any, facts: Any, teacher: Any, batch: Batch, weights: jax.Array, key: jax.Array
    ) -> Any:
        first, second = jax.random.split(key)
        x = embed(params, facts, first, settings)[batch.places]
        network = {"params": sl.densify(params["network"])}
        rngs = {"dropout": second}
        logits: Any = model.apply(network, x, batch.lengths, train=True, rngs=rngs)
        wanted = optax.smooth_labels(jax.nn.one_hot(batch.y, classes), settings.smoothing)
        error = weights[batch.y] * optax.softmax_cross_entropy(logits, wanted)
        if teacher is None:
            return error.mean()
        gap = sl.train.soft_targets(logits, teacher, settings.temperature)
        return (settings.taught * gap + (1 - settings.taught) * error).mean()

    @jax.jit
    def step(params: Any, state: Any, *rest: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *rest)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    return step
