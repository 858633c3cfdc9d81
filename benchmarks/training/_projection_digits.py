"""The projection networks of Ravi (2017) on handwritten digits (MNIST), with and without a teacher.

The signs of a fixed projection never change, so they are made once and kept as bits; what trains is
the dense part. A network of fewer functions sees the first columns of the widest projection, which
are those of its own. No gradient goes from a pupil to its teacher, and Adam takes each number by
itself, so networks that train side by side end as they would alone: one teacher does for all.

The pixels are brought to mean 0 by one number. Networks with hidden layers see every digit at one
of nine places, moved by at most a pixel, another one each time, and without some of their bits; the
plain ones see the digits as they are.
"""

import dataclasses
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _data import Labelled, Sequences
from _digit_batches import SIDE, Batch, batches, digits
from _experiments import Row
from _recipes import Schedule
from _trainer import train

import structlin as sl
from structlin.functional import unpack_signs
from structlin.networks import ProjectionCNN, ProjectionNet
from structlin.networks._arrays import Head

__all__ = ["GROUPS", "WAYS", "digit_row"]

BATCH, RATE, TEACHER_RATE = 100, 3e-3, 1e-3
AT_ONCE = 500
"""How many digits are classified together."""

WAYS = {"self": (0.0, 0.0, 1.0), "joint": (1.0, 0.1, 1.0)}
"""The weights of `structlin.train.distill`: a network alone, or with a teacher that learns too."""


class Convolutions(nn.Module):
    """A teacher for pictures: those of a `ProjectionCNN`, and a dense layer in place of signs."""

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """The logits of pictures ``(batch, height, width, 1)``."""
        x = pixels
        for size in (32, 64):
            x = nn.max_pool(nn.relu(nn.Conv(size, (3, 3))(x)), (2, 2), (2, 2))
        return Head(10, (256,), name="head")(x.reshape(len(x), -1))


class Flat(nn.Module):
    """A network of vectors on pictures."""

    inner: nn.Module

    def __call__(self, pixels: jax.Array) -> jax.Array:
        """The logits of pictures ``(batch, height, width, 1)``."""
        return self.inner(pixels.reshape(len(pixels), -1))


class Net(NamedTuple):
    """A network of the table.

    Attributes:
        make: The network, from pixels to logits, for the seed of its projection.
        params: How many it has by the paper, or ``None`` where the paper does not say.
        right: The percents that the paper has.
    """

    make: Callable[[int], Any]
    params: int | None
    right: float


def _signs(functions: int, bits: int, *hidden: int) -> Callable[[int], Any]:
    return lambda seed: ProjectionNet(10, functions, bits, hidden, seed=seed)


@dataclasses.dataclass(frozen=True)
class Group:
    """Networks that train side by side.

    Attributes:
        nets: By name.
        teacher: What they have as a teacher.
        epochs: How often each digit is seen.
        moved: Whether digits are moved.
        dropout: The share of the bits that is left out in training.
    """

    nets: dict[str, Net]
    teacher: Net
    epochs: int
    moved: bool
    dropout: float = 0.0


DENSE = Net(lambda _: Flat(Head(10, (1000, 1000, 1000))), 2_797_010, 98.9)
GROUPS = {
    "plain": Group(
        {
            "T=8, d=10": Net(_signs(8, 10), 810, 70.6),
            "T=10, d=12": Net(_signs(10, 12), 1_210, 76.9),
            "T=60, d=10": Net(_signs(60, 10), 6_010, 91.1),
            "T=60, d=12": Net(_signs(60, 12), 7_210, 92.3),
        },
        DENSE,
        epochs=15,
        moved=False,
    ),
    "hidden": Group(
        {
            "T=60, d=10, FC 128": Net(_signs(60, 10, 128), 78_218, 96.3),
            "T=60, d=12, FC 256": Net(_signs(60, 12, 256), 187_146, 96.9),
            "T=70, d=12, FC 256": Net(_signs(70, 12, 256), 217_866, 97.1),
        },
        DENSE,
        epochs=30,
        moved=True,
        dropout=0.1,
    ),
    "pictures": Group(
        {"ProjectionCNN": Net(lambda seed: ProjectionCNN(10, seed=seed), None, 99.4)},
        Net(lambda _: Convolutions(), None, 99.6),
        epochs=8,
        moved=True,
    ),
}


def digit_row(name: str, way: str, seed: int, limit: int | None = None) -> Row:
    """A group of networks, trained and measured.

    Args:
        name: One of `GROUPS`.
        way: One of `WAYS`.
        seed: Of the projection, the parameters and the batches.
        limit: How many digits of each part there are, and then one epoch; all if ``None``.
    """
    group = GROUPS[name]
    epochs = group.epochs if limit is None else 1
    nets = group.nets | ({"teacher": group.teacher} if way == "joint" else {})
    modules = {called: net.make(seed) for called, net in nets.items()}
    recipe = {"data": "mnist", "way": way, "weights": WAYS[way], "seed": seed, "epochs": epochs}
    recipe |= {"batch": BATCH, "rates": (RATE, TEACHER_RATE), "limit": limit}
    recipe |= {"moved": group.moved, "dropout": group.dropout}
    recipe["networks"] = list(nets)

    def measure(folder: Path) -> dict[str, Any]:
        data = digits(limit)
        steps = epochs * (len(data.train.y) // BATCH)
        seen = [not isinstance(module, ProjectionNet) for module in modules.values()]
        params = {
            called: jax.jit(module.init)(key, _given(module, data.train.x[:1]))["params"]
            for (called, module), key in zip(
                modules.items(), jax.random.split(jax.random.key(seed), len(nets)), strict=True
            )
        }
        trained = train(
            functools.partial(_loss, modules, WAYS[way], group.dropout),
            params,
            _optimiser(steps),
            batches(
                data.train, BATCH, seed, moved=group.moved, bits=not all(seen), pixels=any(seen)
            ),
            steps=steps,
            seed=seed,
            folder=folder,
            save_every=2000,
            title=folder.name,
        )
        shutil.rmtree(folder / "checkpoints")
        sl.save(folder / "model.slin", trained.params)
        found = {k: _figures(net, modules[k], trained.params[k], data) for k, net in nets.items()}
        return {"figures": found, "seconds": round(trained.seconds, 1)}

    return Row(f"digits, {name}, {way}, seed {seed}", recipe, measure)


def _figures(net: Net, module: Any, params: Any, data: Sequences) -> dict[str, Any]:
    """Percents right of the whole network, from pixels; its size is that of the paper."""
    count = sum(x.size for x in jax.tree.leaves(params))
    if net.params not in (count, None):
        raise AssertionError(f"{module} has {count:,} parameters; by the paper {net.params:,}.")
    run = jax.jit(lambda params, x: module.apply({"params": params}, x).argmax(-1))

    def right(part: Labelled) -> float:
        pieces = range(0, len(part.y), AT_ONCE)
        found = [run(params, _given(module, part.x[i : i + AT_ONCE])) for i in pieces]
        return round(100 * float(np.mean(np.concatenate(found) == part.y)), 3)

    scores = {name: right(getattr(data, name)) for name in ("valid", "test")}
    return {"params": count, "published": net.right} | scores


def _given(module: Any, pixels: Any) -> jax.Array:
    """Digits as a network takes them."""
    flat = isinstance(module, ProjectionNet)
    return jnp.reshape(pixels, (len(pixels), -1) if flat else (len(pixels), SIDE, SIDE, 1))


def _optimiser(steps: int) -> Any:
    """Adam, at a rate of its own for the teacher."""
    rates = {"pupil": RATE, "teacher": TEACHER_RATE}
    each: dict[Any, Any] = {n: optax.adam(Schedule(steps, rate)()) for n, rate in rates.items()}
    return optax.multi_transform(
        each, lambda params: {name: "teacher" if name == "teacher" else "pupil" for name in params}
    )


def _loss(
    modules: dict[str, Any],
    weights: tuple[float, float, float],
    dropout: float,
    params: Any,
    batch: Batch,
    key: jax.Array,
) -> jax.Array:
    """The sum over the networks of what each would have alone; the teacher counts once."""
    y, first = jnp.asarray(batch.y), weights[0]
    bits = unpack_signs(jnp.asarray(batch.bits), 8 * batch.bits.shape[-1])
    if dropout:
        bits *= jax.random.bernoulli(key, 1 - dropout, bits.shape) / (1 - dropout)

    def logits(name: str) -> jax.Array:
        made = modules[name]
        if not isinstance(made, ProjectionNet):
            given = _given(made, jnp.asarray(batch.pixels))
            return jnp.asarray(made.apply({"params": params[name]}, given))
        head: Any = Head(10, made.hidden)
        return head.apply({"params": params[name]["head"]}, bits[:, : made.functions * made.bits])

    found = {name: logits(name) for name in modules}
    soft, total = found.pop("teacher", None), jnp.zeros(())
    if soft is not None:
        total += first * optax.softmax_cross_entropy_with_integer_labels(soft, y).mean()
    for own in found.values():
        taught = own if soft is None else soft
        total += sl.train.distill(own, taught, y, weights=(0.0, *weights[1:])).mean()
    return total
