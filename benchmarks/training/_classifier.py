"""Recurrent classifiers of sequences, of any structure: parameters, loss, training and size."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from _data import Batches, Labelled, Sequences
from _experiments import Row
from _recipes import Recipe, Schedule, prepared
from _trainer import train

import structlin as sl
from structlin import specs

__all__ = ["Classifier", "Settings", "accuracy", "classifier_row", "drawn", "kernel_specs", "sizes"]

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

    def shapes(self, features: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of the input kernel and the recurrent kernel."""
        columns = len(CELLS[self.cell](self.hidden).arithmetic().gates) * self.hidden
        return (features * self.together, columns), (self.hidden, columns)


class Classifier(nn.Module):
    """A recurrent layer, and the logits of the classes.

    Attributes:
        classes: How many there are.
        settings: Its sizes.
        kernels: How the input kernel and the recurrent kernel are drawn; once they are, what is held
            decides.
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


def kernel_specs(
    spec: Callable[[float], specs.Spec | None],
    shapes: tuple[tuple[int, int], tuple[int, int]],
    asked: float,
) -> tuple[specs.Spec | None, specs.Spec | None]:
    """Specs of both kernels, which together are as small as asked.

    The input kernel is as small itself or, where its few rows forbid it, as small as can be; the
    recurrent one has the bytes that are left.

    Raises:
        ValueError: They cannot be so small.
    """
    if spec(asked) is None:
        return None, None
    first, second = shapes
    total = sum(4 * m * n for m, n in shapes) / asked
    small = next(_within_reach(spec, first, asked))
    left = total - small.cost(first).bytes
    if left <= 0:
        raise ValueError(
            f"The input kernel {first} takes {small.cost(first).bytes:,} bytes at least, of "
            f"{total:,.0f} for both. Ask for less compression than {asked:g}."
        )
    return small, _asked(spec, 4 * second[0] * second[1] / left).sized(second)


def _within_reach(
    spec: Callable[[float], specs.Spec | None], shape: tuple[int, int], asked: float
) -> Iterator[specs.Spec]:
    """Specs that fit the shape, from the compression asked for down to none."""
    for compression in np.geomspace(asked, 1.0, 100):
        try:
            yield _asked(spec, float(compression)).sized(shape)
        except ValueError:
            continue
    raise ValueError(f"{_asked(spec, 1.0)} is larger than a dense {shape}: use a dense kernel.")


def _asked(spec: Callable[[float], specs.Spec | None], compression: float) -> specs.Spec:
    made = spec(compression)
    assert made is not None
    return made


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
    """The loss that the trainer asks for, in nats."""

    def loss(params: Any, batch: Batch, key: jax.Array) -> jax.Array:
        given, to_go = batch
        mask_key, drop_key, noise_key = jax.random.split(key, 3)
        x = jnp.asarray(given.x)
        x = x + model.settings.noise * jax.random.normal(noise_key, x.shape)
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


def sizes(params: Any, dense: Any) -> dict[str, dict[str, float]]:
    """Of the kernels, of the recurrent layer with its biases, and of the whole model, packed.

    Args:
        params: Of a model.
        dense: Those of the dense one that it is compared with, or their shapes.

    Returns:
        For each, its numbers, its bytes, indices counted, and both as factors of the dense ones.
    """
    small, large = _parts(sl.pack(params)), _parts(dense)
    return {part: _size(small[part], large[part]) for part in small}


def _parts(params: Any) -> dict[str, list[Any]]:
    paths = jax.tree_util.tree_leaves_with_path(params["cell"])
    kernels = [x for path, x in paths if "kernel" in jax.tree_util.keystr(path)]
    layer = [x for _, x in paths]
    return {"kernels": kernels, "layer": layer, "model": layer + jax.tree.leaves(params["out"])}


def _size(small: list[Any], large: list[Any]) -> dict[str, float]:
    def count(leaves: list[Any]) -> tuple[int, int]:
        numbers = sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))
        return numbers, sum(x.size * x.dtype.itemsize for x in leaves)

    (params, size), (dense_params, dense_size) = count(small), count(large)
    return {
        "params": params,
        "bytes": size,
        "compression": round(dense_size / size, 3),
        "compression_params": round(dense_params / params, 3),
    }


def classifier_row(
    name: str,
    data: Callable[[], Sequences],
    settings: Settings,
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
        data: Reads what it classifies.
        settings: Its sizes.
        recipe: Its structure, and how it trains.
        asked: The compression of both kernels together, in bytes.
        seed: Of its parameters, batches, noise and dropout.
        small: Whether it is dense, and as narrow as its kernels need to be that small.
        teacher: The dense model to learn from, if the recipe distils; it is trained if it was not.
    """
    about = {"data": name.split(",")[0], "asked": asked, "seed": seed, "small": small}
    about |= dataclasses.asdict(settings) | recipe.described(asked)

    def measure(folder: Path) -> dict[str, Any]:
        known = data()
        features = known.train.x.shape[-1]
        width = narrowed(settings, features, asked) if small else settings
        try:
            made = kernel_specs(recipe.spec, width.shapes(features), asked)
        except ValueError as error:
            return {"refused": str(error)}
        model = Classifier(len(known.classes), width, made)
        taught = None if teacher is None else _teacher(teacher, folder.parent)
        params, seconds = _trained(folder, known, model, recipe, seed, taught)
        sl.save(folder / "model.slin", sl.pack(params))
        full = Classifier(len(known.classes), settings)
        dense = jax.eval_shape(lambda: drawn(full, features, 0))
        return {
            "figures": {p: accuracy(model, params, getattr(known, p)) for p in ("valid", "test")},
            "hidden": width.hidden,
            "sizes": sizes(params, dense),
            "seconds": round(seconds, 1),
        }

    return Row(name, about, measure)


def narrowed(settings: Settings, features: int, asked: float) -> Settings:
    """The widest dense classifier whose kernels are as small as asked."""
    most = sum(m * n for m, n in settings.shapes(features)) / asked
    widths = (dataclasses.replace(settings, hidden=h) for h in range(settings.hidden, 0, -1))
    return next(s for s in widths if sum(m * n for m, n in s.shapes(features)) <= most)


def _teacher(row: Row, runs: Path) -> Any:
    folder = row.folder(runs)
    if not (folder / "model.slin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        row.measure(folder)
    return sl.load(folder / "model.slin")


def _trained(
    folder: Path, data: Sequences, model: Classifier, recipe: Recipe, seed: int, teacher: Any
) -> tuple[Any, float]:
    settings, features = model.settings, data.train.x.shape[-1]
    batches = Batches(data.train, settings.batch)
    steps = settings.epochs * (len(data.train.y) // settings.batch)
    start = drawn(model, features, seed)
    # A teacher is dense, whatever its pupil's specs are: `apply` takes what it is given.
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
