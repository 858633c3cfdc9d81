"""Language models of LSTMs of any structure: parameters, loss, training, bits and size."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _data import Streams, Text, Window
from _experiments import Row, finished
from _recipes import Recipe, Schedule, prepared
from _trainer import train

import structlin as sl
from structlin import functional, kernels, specs
from structlin.demo._corpus import windows

__all__ = ["LanguageModel", "Settings", "bits", "drawn", "language_row", "loss_of", "size"]

Carry = tuple[tuple[jax.Array, jax.Array], ...]
Batch = tuple[Window, np.float32]
"""A window, and how far the pruning has yet to go, from 1 to 0."""

TEMPERATURE = 2.0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a model is, and how long it trains.

    Attributes:
        hidden: The width of the embedding and of each LSTM.
        batch: How many streams are read at once.
        time: Characters or words between two updates.
        steps: Updates.
        layers: How many LSTMs.
        dropout: Of the inputs of each LSTM and of the output layer.
    """

    hidden: int = 256
    batch: int = 16
    time: int = 64
    steps: int = 6000
    layers: int = 1
    dropout: float = 0.0


class LanguageModel(nn.Module):
    """Embedding, LSTMs, and the logits of the next character or word.

    Attributes:
        vocabulary: How many characters or words there are.
        settings: Its sizes.
        spec: How the kernels of the LSTMs are drawn; once they are, what is held decides.
    """

    vocabulary: int
    settings: Settings
    spec: specs.Spec | None = None

    @nn.compact
    def __call__(
        self, tokens: jax.Array, carry: Carry, training: bool = False
    ) -> tuple[Carry, jax.Array]:
        """Logits ``(batch, time, vocabulary)`` for numbers ``(batch, time)``, and the carry."""
        hidden, after = self.settings.hidden, []
        drop = nn.Dropout(self.settings.dropout, deterministic=not training)
        unit = nn.initializers.normal(1.0)  # inputs as large as the state: it trains faster
        x = sl.Embed(self.vocabulary, hidden, embedding_init=unit, name="embed")(tokens)
        for i, before in enumerate(carry):
            cell = sl.LSTMCell(hidden, input=self.spec, recurrent=self.spec, name=f"cell{i}")
            state, x = sl.RNN(cell, return_carry=True, name=f"rnn{i}")(
                drop(x), initial_carry=before
            )
            after.append(state)
        rows = kernels.merge_rows(drop(x))  # the gradient of the kernel is one plain product
        logits = sl.Dense(self.vocabulary, name="out")(rows)
        return tuple(after), logits.reshape(*tokens.shape, self.vocabulary)

    def at_rest(self, batch: int) -> Carry:
        """The state before the first character."""
        zeros = jnp.zeros((batch, self.settings.hidden))
        return ((zeros, zeros),) * self.settings.layers


def drawn(model: LanguageModel, seed: int) -> dict[str, Any]:
    """Random parameters, with forget gates that start open (Jozefowicz et al., 2015).

    Raises:
        ValueError: The spec cannot make kernels of this shape.
    """
    tokens = jnp.zeros((1, 2), jnp.int32)
    variables: Any = model.init(jax.random.key(seed), tokens, model.at_rest(1))
    params, hidden = variables["params"], model.settings.hidden
    for i in range(model.settings.layers):
        cell = params[f"cell{i}"]
        if model.spec is None:
            cell["hf"]["bias"] = jnp.ones(hidden)
        else:
            forget = slice(hidden, 2 * hidden)  # the gates stand in the order i, f, g, o
            cell["h"]["bias"] = cell["h"]["bias"].at[forget].set(1.0)
    return params


def loss_of(recipe: Recipe, model: LanguageModel, teacher: Any = None) -> Callable[..., Any]:
    """The loss that the trainer asks for, in nats; its carry holds the teacher's too, if any."""

    def run(params: Any, window: Window, carry: Carry, key: jax.Array | None) -> Any:
        carry = jax.tree.map(lambda x: jnp.where(window.fresh, 0, x), carry)
        tokens = jnp.asarray(window.tokens[:, :-1])
        rngs = None if key is None else {"dropout": key}
        return model.apply({"params": params}, tokens, carry, key is not None, rngs=rngs)

    def loss(params: Any, batch: Batch, key: jax.Array, carries: Any) -> tuple[jax.Array, Any]:
        window, to_go = batch
        mask_key, drop_key = jax.random.split(key)
        params = prepared(recipe, params, mask_key, jnp.asarray(to_go))
        carry, logits = run(params, window, carries[0], drop_key)
        labels = jnp.asarray(window.tokens[:, 1:])
        value = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        if teacher is None:
            return value, (carry,)
        teachers, soft = run(teacher, window, carries[1], None)
        close = sl.train.soft_targets(logits, soft, TEMPERATURE).mean()
        return (1 - recipe.distilled) * value + recipe.distilled * close, (carry, teachers)

    return loss


def language_row(
    name: str,
    text: Text,
    settings: Settings,
    recipe: Recipe,
    asked: float,
    seed: int,
    teacher: Row | None = None,
    start: Row | None = None,
) -> Row:
    """A model of one structure, trained from scratch and measured.

    Args:
        name: Of the row.
        text: What it reads.
        settings: Its sizes.
        recipe: Its structure, and how it trains.
        asked: The compression of all kernels of the LSTMs, in bytes.
        seed: Of its parameters, batches and dropout.
        teacher: The dense model to learn from, if the recipe distils; it is trained if it was not.
        start: The model whose arrays this one starts with instead of random ones.
    """
    about = {"text": text.name, "vocabulary": len(text.vocabulary), "asked": asked, "seed": seed}
    about |= dataclasses.asdict(settings) | recipe.described(asked)
    about |= {k: row.recipe for k, row in (("teacher", teacher), ("start", start)) if row}

    def measure(folder: Path) -> dict[str, Any]:
        model = LanguageModel(len(text.vocabulary), settings, recipe.spec(asked))
        try:
            first = drawn(model, seed)
        except ValueError as error:
            return {"refused": str(error)}
        first = recipe.started(first)
        if start is not None:
            arrays = jax.tree.leaves(finished(start, folder.parent))
            first = jax.tree.unflatten(jax.tree.structure(first), arrays)
        taught = None if teacher is None else finished(teacher, folder.parent)
        params, seconds = _trained(folder, text, model, recipe, first, seed, taught)
        sl.save(folder / "model.slin", params)
        cost = size(params)
        return {
            "figures": {p: _held_out(model, text, params, p) for p in ("valid", "test")},
            "params": cost.params,
            "bytes": cost.bytes,
            "compression": round(cost.compression, 3),
            "compression_params": round(cost.compression_params, 3),
            "seconds": round(seconds, 1),
        }

    return Row(name, about, measure)


def _trained(
    folder: Path, text: Text, model: Any, recipe: Recipe, first: Any, seed: int, teacher: Any
) -> tuple[Any, float]:
    settings = model.settings
    streams = Streams(text.train, settings.batch, settings.time)

    def batch(seed: int, step: int) -> Batch:
        return streams(seed, step), np.float32(recipe.to_go(step, settings.steps))

    trained = train(
        loss_of(recipe, model, teacher),
        first,
        recipe.optimiser(first, Schedule(settings.steps, recipe.learning_rate)),
        batch,
        steps=settings.steps,
        seed=seed,
        folder=folder,
        carry=(model.at_rest(settings.batch),) * (1 if teacher is None else 2),
        evaluate=lambda params: {"valid": _held_out(model, text, params, "valid")},
        title=folder.name,
    )
    return trained.params, trained.seconds


def _held_out(model: LanguageModel, text: Text, params: Any, part: str) -> float:
    settings = model.settings
    return round(bits(model, params, getattr(text, part), settings.batch, settings.time), 5)


def bits(model: LanguageModel, params: Any, ids: np.ndarray, batch: int, time: int) -> float:
    """Mean bits of a text's characters or words, read in ``batch`` streams.

    Every stream begins at rest; what does not fill a window of all is left out.
    """
    batches = windows(ids, batch, time, "held out").swapaxes(1, 2)
    return float(_bits(model, sl.densify(params), jnp.asarray(batches)))


@functools.partial(jax.jit, static_argnums=0)
def _bits(model: LanguageModel, params: Any, batches: jax.Array) -> jax.Array:
    def window(carry: Carry, tokens: jax.Array) -> tuple[Carry, jax.Array]:
        result: Any = model.apply({"params": params}, tokens[:, :-1], carry)
        carry, logits = result
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return carry, losses.mean()

    start = model.at_rest(batches.shape[1])
    return jax.lax.scan(window, start, batches)[1].mean() / math.log(2)


def size(params: Any) -> sl.matrices.Cost:
    """Of the kernels of the LSTMs, packed."""
    packed = [functional.LSTM().weights(sl.pack(v)) for k, v in params.items() if "cell" in k]
    return sl.matrices.cost([m for w in packed for m in (w.input, w.recurrent)])
