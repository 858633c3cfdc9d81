"""Recurrent classifiers of sequences, of any structure: parameters, loss and training."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from _data import Batches, Labelled, Sequences
from _experiments import Row, finished
from _recipes import Recipe, Schedule, prepared
from _sizes import Asked, Shape, kernel_specs, sizes
from _trainer import train

import structlin as sl
from structlin import specs

__all__ = [
    "Classifier",
    "Settings",
    "Task",
    "accuracy",
    "classifier_row",
    "drawn",
    "loss_of",
    "narrowed",
]

CELLS: dict[str, Callable[..., Any]] = {"LSTM": sl.LSTMCell, "FastGRNN": sl.FastGRNNCell}
TEMPERATURE = 2.0
AT_ONCE = 1000
"""How many sequences are classified together where there is no gradient."""

Batch = tuple[Labelled, np.float32]
"""Sequences, and how far the pruning has yet to go, from 1 to 0."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a classifier is, and how long it trains.

    Attributes:
        cell: Which of `CELLS`.
        hidden: Its width.
        together: How many samples of a sequence are read in one step.
        read: Whether the output layer sees the last state or the mean of all.
        batch: Sequences of an update.
        epochs: How often each is seen.
        dropout: Of the inputs of the output layer.
        noise: The standard deviation of what is added to the inputs while it trains.
    """

    cell: str
    hidden: int
    together: int = 1
    read: Literal["last", "mean"] = "last"
    batch: int = 100
    epochs: int = 10
    dropout: float = 0.0
    noise: float = 0.0

    def shapes(self, features: int) -> tuple[Shape, Shape]:
        """Of the input kernel and the recurrent kernel."""
        columns = len(CELLS[self.cell](self.hidden).arithmetic().gates) * self.hidden
        return (features * self.together, columns), (self.hidden, columns)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is classified, and by what.

    Attributes:
        name: Of the data.
        data: Reads it; the same arrays whenever it is asked.
        settings: Of the classifier.
    """

    name: str
    data: Callable[[], Sequences]
    settings: Settings


class Classifier(nn.Module):
    """A recurrent layer, and the logits of the classes.

    Attributes:
        classes: How many there are.
        settings: Its sizes.
        kernels: How the input kernel and the recurrent kernel are drawn; once they are, what is
            held decides.
    """

    classes: int
    settings: Settings
    kernels: tuple[specs.Spec | None, specs.Spec | None] = (None, None)

    @nn.compact
    def __call__(self, x: jax.Array, training: bool = False) -> jax.Array:
        """Logits ``(batch, classes)`` for sequences ``(batch, time, features)``."""
        made, (first, second) = self.settings, self.kernels
        cell = CELLS[made.cell](made.hidden, input=first, recurrent=second, name="cell")
        steps = x.reshape(x.shape[0], -1, made.together * x.shape[-1])
        states: Any = sl.RNN(cell, name="rnn")(steps)
        seen = states[:, -1] if made.read == "last" else states.mean(1)
        seen = nn.Dropout(made.dropout, deterministic=not training)(seen)
        return nn.Dense(self.classes, name="out")(seen)


def drawn(model: Classifier, features: int, seed: int) -> dict[str, Any]:
    """Random parameters; forget gates of an LSTM start open (Jozefowicz et al., 2015)."""
    made = model.settings
    x = jnp.zeros((1, 2 * made.together, features))
    params: Any = model.init(jax.random.key(seed), x)["params"]
    cell = params["cell"]
    if made.cell == "LSTM" and model.kernels[1] is None:
        cell["hf"]["bias"] = jnp.ones(made.hidden)
    elif made.cell == "LSTM":
        forget = slice(made.hidden, 2 * made.hidden)  # the gates stand in the order i, f, g, o
        cell["h"]["bias"] = cell["h"]["bias"].at[forget].set(1.0)
    return params


def loss_of(recipe: Recipe, model: Classifier, teacher: Any = None) -> Callable[..., jax.Array]:
    """The loss that the trainer asks for, in nats.

    Args:
        recipe: What is dropped, and how much of the loss is the teacher's.
        model: The classifier.
        teacher: Parameters of a classifier of the same settings, if there is one.
    """

    def loss(params: Any, batch: Batch, key: jax.Array) -> jax.Array:
        given, to_go = batch
        mask_key, drop_key, noise_key = jax.random.split(key, 3)
        x = jnp.asarray(given.x)
        if model.settings.noise:
            x += model.settings.noise * jax.random.normal(noise_key, x.shape)
        # One product, of a dense matrix, takes less time than a structured one at each step.
        params = sl.densify(prepared(recipe, params, mask_key, jnp.asarray(to_go)))
        rngs = {"dropout": drop_key}
        logits: Any = model.apply({"params": params}, x, training=True, rngs=rngs)
        soft: Any = logits if teacher is None else model.apply({"params": teacher}, x)
        weights = 0.0, recipe.distilled, 1 - recipe.distilled
        y = jnp.asarray(given.y)
        values = sl.train.distill(logits, soft, y, weights=weights, temperature=TEMPERATURE)
        return values.mean()

    return loss


def accuracy(model: Classifier, params: Any, data: Labelled) -> float:
    """The share of sequences that are classified right, in percent."""
    dense = sl.densify(params)
    right = sum(
        int(_right(model, dense, data.x[at : at + AT_ONCE], data.y[at : at + AT_ONCE]))
        for at in range(0, len(data.y), AT_ONCE)
    )
    return round(100 * right / len(data.y), 3)


@functools.partial(jax.jit, static_argnums=0)
def _right(model: Classifier, params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    logits: Any = model.apply({"params": params}, x)
    return (logits.argmax(-1) == y).sum()


def classifier_row(
    name: str,
    task: Task,
    recipe: Recipe,
    asked: float,
    seed: int,
    *,
    small: bool = False,
    teacher: Row | None = None,
) -> Row:
    """A classifier of one structure, trained from scratch and measured.

    Args:
        name: Of the row.
        task: What it classifies.
        recipe: Its structure, and how it trains.
        asked: The compression of both kernels together, in bytes.
        seed: Of its parameters, batches, noise and dropout.
        small: Whether it is dense, and as narrow as its kernels need to be that small.
        teacher: The dense model to learn from, if the recipe distils; it is trained if it was not.
    """
    about = {"data": task.name, "asked": asked, "seed": seed, "small": small}
    about |= dataclasses.asdict(task.settings) | recipe.described(asked)
    if teacher is not None:
        about["teacher"] = teacher.recipe

    def measure(folder: Path) -> dict[str, Any]:
        data, made = task.data(), task.settings
        features, kernels = data.train.x.shape[-1], (None, None)
        full = Classifier(len(data.classes), made)
        try:
            if small:
                made = narrowed(made, features, asked)
            elif recipe.spec(asked) is not None:
                spec = cast(Asked, recipe.spec)
                kernels = kernel_specs(spec, made.shapes(features), asked)
        except ValueError as error:
            return {"refused": str(error)}
        model = Classifier(len(data.classes), made, kernels)
        taught = None if teacher is None else finished(teacher, folder.parent)
        params, seconds = _trained(folder, data, model, recipe, seed, taught)
        sl.save(folder / "model.slin", sl.pack(params))
        return {
            "figures": {p: accuracy(model, params, getattr(data, p)) for p in ("valid", "test")},
            "hidden": made.hidden,
            "sizes": sizes(params, jax.eval_shape(lambda: drawn(full, features, 0))),
            "seconds": round(seconds, 1),
        }

    return Row(name, about, measure)


def narrowed(settings: Settings, features: int, asked: float) -> Settings:
    """The widest dense classifier whose kernels are as small as asked.

    Raises:
        ValueError: Even those of a single unit are larger.
    """
    most = sum(m * n for m, n in settings.shapes(features)) / asked
    for hidden in range(settings.hidden, 0, -1):
        made = dataclasses.replace(settings, hidden=hidden)
        if sum(m * n for m, n in made.shapes(features)) <= most:
            return made
    raise ValueError(
        f"A single unit has kernels of more than {most:g} numbers: ask for less compression than "
        f"{asked:g}."
    )


def _trained(
    folder: Path, data: Sequences, model: Classifier, recipe: Recipe, seed: int, teacher: Any
) -> tuple[Any, float]:
    settings, features = model.settings, data.train.x.shape[-1]
    batches = Batches(data.train, settings.batch)
    steps = settings.epochs * (len(data.train.y) // settings.batch)
    start = recipe.started(drawn(model, features, seed))
    trained = train(
        loss_of(recipe, model, teacher),
        start,
        recipe.optimiser(start, Schedule(steps, recipe.learning_rate)),
        lambda seed, step: (batches(seed, step), np.float32(recipe.to_go(step, steps))),
        steps=steps,
        seed=seed,
        folder=folder,
        evaluate=lambda params: {"valid": accuracy(model, params, data.valid)},
        title=folder.name,
    )
    return trained.params, trained.seconds
