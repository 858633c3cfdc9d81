"""Language models of several structures, trained in one program: for an accelerator.

A step of an LSTM is a small product, and each waits for the one before: one model leaves most of an
accelerator idle. Here the kernels of all models are formed, so that they have one shape, and a step
of the scan is one batched product. Each model has its own embedding, output layer, loss, clipping
and optimiser, so its gradients do not depend on the others; its dropout depends on its place.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _data import Streams, Text
from _experiments import Row, found_by
from _language import Carry, LanguageModel, Settings, drawn, size
from _recipes import Recipe, Schedule, prepared
from _trainer import train

import structlin as sl
from structlin.demo._corpus import windows
from structlin.functional import LSTM
from structlin.matrices import Matrix

__all__ = ["Member", "at_rest", "logits_of", "side_by_side_rows"]

PARTS = ("valid", "test")
PRECISION = "tensorfloat32"
"""Of all products: on GPUs that have it, several times faster than single precision."""
CHECKPOINTS = 3
"""Few: a checkpoint has all models and their optimisers' moments."""


class Member(NamedTuple):
    """One of the models.

    Attributes:
        name: Of its row.
        recipe: Its structure, and how it trains.
        asked: The compression of all kernels of its LSTMs, in bytes.
    """

    name: str
    recipe: Recipe
    asked: float


def at_rest(models: int, batch: int, settings: Settings) -> Carry:
    """The states of all models before the first word, each ``(models, batch, hidden)``."""
    zeros = jnp.zeros((models, batch, settings.hidden))
    return ((zeros, zeros),) * settings.layers


def logits_of(
    params: Sequence[Any], tokens: jax.Array, carry: Carry, rate: float = 0.0, key: Any = None
) -> tuple[Carry, list[jax.Array]]:
    """The logits of every model.

    Args:
        params: As `LanguageModel` has them, one tree for each model, all of the same sizes.
        tokens: ``(time, batch)``.
        carry: As of `at_rest`.
        rate: Of dropout.
        key: Of dropout; there is none without it.

    Returns:
        The carry after them, and logits ``(time, batch, vocabulary)`` of each model.
    """

    def drop(x: jax.Array, place: int) -> jax.Array:
        if key is None or not rate:
            return x
        kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    x = jnp.stack([own["embed"]["embedding"][tokens] for own in params])
    after = []
    for i, before in enumerate(carry):
        formed = [_formed(own[f"cell{i}"]) for own in params]
        kernels = jax.tree.map(lambda *same: jnp.stack(same), *formed)
        state, x = jax.vmap(LSTM().sequence)(kernels, before, drop(x, i))
        after.append(state)
    x = drop(x, len(carry))
    outs = [own["out"] for own in params]
    return tuple(after), [h @ out["kernel"] + out["bias"] for h, out in zip(x, outs, strict=True)]


def _formed(cell: Any) -> Any:
    """The weights of a cell, as arrays."""
    weights = LSTM().weights(cell)
    formed = (m.to_dense() if isinstance(m, Matrix) else m for m in weights[:2])
    return weights._replace(**dict(zip(("input", "recurrent"), formed, strict=True)))


def side_by_side_rows(
    title: str,
    text: Text,
    settings: Settings,
    members: Sequence[Member],
    seed: int,
    *,
    keep: bool = True,
) -> list[Row]:
    """A row for every model, of which the first that is measured trains all.

    Args:
        title: Of the training.
        text: What they read.
        settings: Their sizes.
        members: The models.
        seed: Of parameters, batches and dropout.
        keep: Whether checkpoints are written; one of many models takes as long as
            many steps.
    """
    shared = {"text": text.name, "vocabulary": len(text.vocabulary), "seed": seed}
    shared |= {"precision": PRECISION} | dataclasses.asdict(settings)
    own = {m.name: {"asked": m.asked} | m.recipe.described(m.asked) for m in members}

    def measure_all(folder: Path) -> dict[str, Any]:
        with jax.default_matmul_precision(PRECISION):
            return _measured(folder, text, settings, members, seed, keep)

    together = Row(title, shared | own, measure_all)

    def row(name: str) -> Row:
        def measure(folder: Path) -> dict[str, Any]:
            return found_by(together, folder.parent)[name]

        return Row(name, shared | own[name] | {"beside": list(own)}, measure)

    return [row(member.name) for member in members]


def _measured(
    folder: Path, text: Text, settings: Settings, members: Any, seed: int, keep: bool
) -> dict[str, Any]:
    first = []
    with jax.default_device(jax.devices("cpu")[0]):  # an accelerator compiles every operation
        for _, recipe, asked in members:
            model = LanguageModel(len(text.vocabulary), settings, recipe.spec(asked))
            first.append(recipe.started(drawn(model, seed)))
    names = [member.name for member in members]
    streams = Streams(text.train, settings.batch, settings.time)
    optimisers = [
        m.recipe.optimiser(own, Schedule(settings.steps, m.recipe.learning_rate))
        for m, own in zip(members, first, strict=True)
    ]

    def batch(seed: int, step: int) -> tuple[Any, list[np.float32]]:
        left = [np.float32(m.recipe.to_go(step, settings.steps)) for m in members]
        return streams(seed, step), left

    trained = train(
        _loss([m.recipe for m in members], settings.dropout),
        first,
        _each(optimisers),
        batch,
        steps=settings.steps,
        seed=seed,
        folder=folder,
        carry=at_rest(len(members), settings.batch, settings),
        evaluate=lambda params: dict(zip(names, _bits(params, text.valid, settings), strict=True)),
        save_every=math.ceil(settings.steps / CHECKPOINTS),
        keep=keep,
        title=folder.name,
    )
    bits = {part: _bits(trained.params, getattr(text, part), settings) for part in PARTS}
    costs = map(size, trained.params)
    return {
        member.name: {
            "figures": {part: bits[part][i] for part in PARTS},
            "params": cost.params,
            "bytes": cost.bytes,
            "compression": round(cost.compression, 3),
            "compression_params": round(cost.compression_params, 3),
            "seconds_of_all": round(trained.seconds, 1),
        }
        for i, (member, cost) in enumerate(zip(members, costs, strict=True))
    }


def _loss(recipes: Sequence[Recipe], rate: float) -> Callable[..., Any]:
    """The sum of all losses, in nats: the gradient of each model is that of its own."""

    def loss(params: Any, batch: tuple[Any, Any], key: jax.Array, carry: Carry) -> Any:
        window, to_go = batch
        drop_key, *keys = jax.random.split(key, 1 + len(recipes))
        each = zip(recipes, params, keys, to_go, strict=True)
        used = [prepared(recipe, own, k, jnp.asarray(left)) for recipe, own, k, left in each]
        carry = jax.tree.map(lambda x: jnp.where(window.fresh, 0, x), carry)
        tokens = jnp.asarray(window.tokens).T
        carry, logits = logits_of(used, tokens[:-1], carry, rate, drop_key)
        return jnp.stack([_nats(own, tokens[1:]) for own in logits]).sum(), carry

    return loss


def _nats(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def _each(optimisers: Sequence[Any]) -> optax.GradientTransformation:
    """An optimiser for each model, which sees nothing of the others."""

    def init(params: Any) -> Any:
        return [tx.init(own) for tx, own in zip(optimisers, params, strict=True)]

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        each = zip(optimisers, updates, state, params, strict=True)
        updated = [tx.update(grad, before, own) for tx, grad, before, own in each]
        return [u for u, _ in updated], [s for _, s in updated]

    return optax.GradientTransformation(init, update)


def _bits(params: Sequence[Any], ids: np.ndarray, settings: Settings) -> list[float]:
    """Mean bits of a text's words, for every model; `_language.bits` says how it is read."""
    batches = windows(ids, settings.batch, settings.time, "held out")
    params, carry = sl.densify(params), at_rest(len(params), settings.batch, settings)
    nats = []
    for tokens in batches:
        carry, losses = _read(params, jnp.asarray(tokens), carry)
        nats.append(losses)
    return [round(float(x), 5) for x in np.mean(nats, axis=0) / math.log(2)]


@jax.jit
def _read(params: Any, tokens: jax.Array, carry: Carry) -> tuple[Carry, jax.Array]:
    carry, logits = logits_of(params, tokens[:-1], carry)
    return carry, jnp.stack([_nats(own, tokens[1:]) for own in logits])
