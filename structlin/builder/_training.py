"""One network trained, alone, after a teacher's logits or together with the teacher."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from structlin import storage, train
from structlin.builder._errors import DivergedError
from structlin.builder._networks import Network

__all__ = ["Plan", "Progress", "fit"]

RATE, CLIP, WARM = 4e-3, 1.0, 0.05
TEMPERATURE = 2.0
AFTER, TOGETHER = (0.0, 0.5, 0.5), (1.0, 0.1, 1.0)
"""The weights of `structlin.train.distill` for a teacher that was trained before, and for one that
learns at the same time."""

EVERY = 2.0
"""The seconds between two checkpoints, which are written between epochs."""

TOLD = 10
"""The steps between two calls of a progress function."""

Progress = Callable[[str, int, int, float], None]
"""Called with what is trained, the steps done, all steps and the loss."""

Arrays = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long and on what a network is trained.

    Attributes:
        epochs: How often every example is seen.
        batch: Examples of a step.
        seed: Of the parameters, the order and the dropout.
    """

    epochs: int
    batch: int
    seed: int

    def steps(self, count: int) -> int:
        """The steps of an epoch of ``count`` examples; what is left over waits for the next."""
        return max(1, count // self.batch)

    def order(self, epoch: int, count: int) -> np.ndarray:
        """The examples of each step of an epoch, ``(steps, batch)``."""
        rows = np.random.default_rng((self.seed, epoch)).permutation(count)
        return np.resize(rows, (self.steps(count), min(self.batch, count))).astype(np.int32)


def fit(
    network: Network,
    examples: tuple[Arrays, np.ndarray, np.ndarray, np.ndarray | None],
    plan: Plan,
    *,
    teacher: tuple[Network, Arrays] | None = None,
    checkpoint: Path,
    mark: str,
    progress: Callable[[int, int, float], None],
) -> Any:
    """The parameters of a network after training.

    A training that was interrupted goes on from its checkpoint, and ends with the numbers of one
    that was not.

    Args:
        network: What is trained.
        examples: What `Network.arrays` made of them; their classes, int32 ``(examples,)``; what
            each counts, ``(examples,)``; and the logits of a teacher, ``(examples, classes)``, or
            ``None``.
        plan: How long.
        teacher: A larger network that learns together with this one, and its arrays.
        checkpoint: Where the state is kept between epochs; the file is gone at the end.
        mark: What the training depends on: a checkpoint of another is not read.
        progress: Called with the steps done, all steps and the loss.

    Raises:
        DivergedError: The loss is not finite.
    """
    count, steps = len(examples[1]), plan.steps(len(examples[1]))
    data = jax.tree.map(jnp.asarray, (*examples, teacher[1] if teacher else ()))
    key, other = jax.random.split(jax.random.key(plan.seed))
    params = {"student": _drawn(network, key, data[0])}
    if teacher is not None:
        params["teacher"] = _drawn(teacher[0], other, data[-1])
    total = plan.epochs * steps
    rate = optax.warmup_cosine_decay_schedule(0, RATE, max(1, int(WARM * total)), total, RATE / 50)
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(rate))
    step = _step(network, teacher[0] if teacher else None, optimiser, plan.seed)
    state, begin = _resumed(checkpoint, mark, (params, optimiser.init(params)))
    saved = time.monotonic()
    for epoch in range(begin, plan.epochs):
        value = jnp.zeros(())
        for i, rows in enumerate(plan.order(epoch, count)):
            done = epoch * steps + i
            state, value = step(state, data, rows, done)
            if i % TOLD == 0 or i == steps - 1:
                progress(done + 1, total, float(value))
        if not math.isfinite(value):
            raise DivergedError(
                f"The loss is {float(value)} after {epoch + 1} epochs: scale the inputs, or train "
                "with another seed."
            )
        if time.monotonic() - saved >= EVERY and epoch + 1 < plan.epochs:
            leaves = jax.tree.leaves(state)
            storage.save(checkpoint, leaves, {"mark": mark, "epochs": epoch + 1})
            saved = time.monotonic()
    checkpoint.unlink(missing_ok=True)
    return state[0]["student"]


def _drawn(network: Network, key: jax.Array, arrays: Arrays) -> Any:
    return jax.jit(network.init)(key, jax.tree.map(lambda x: x[:1], arrays))


def _step(network: Network, teacher: Network | None, optimiser: Any, seed: int) -> Any:
    """The compiled step: state, data, rows and number to the new state and the loss."""

    def loss(params: Any, data: Any, key: jax.Array) -> jax.Array:
        arrays, targets, weights, soft, others = data
        logits = network.logits(params["student"], arrays, key)
        how: dict[str, Any] = {"weights": (0.0, 0.0, 1.0)}
        if teacher is not None:
            soft = teacher.logits(params["teacher"], others, jax.random.fold_in(key, 1))
            how = {"weights": TOGETHER}
        elif soft is not None:
            how = {"weights": AFTER, "temperature": TEMPERATURE}
        found = train.distill(logits, logits if soft is None else soft, targets, **how)
        return jnp.sum(found * weights) / jnp.sum(weights)

    @jax.jit
    def step(state: Any, data: Any, rows: jax.Array, number: jax.Array) -> Any:
        params, inner = state
        key = jax.random.fold_in(jax.random.key(seed), number)
        some = jax.tree.map(lambda x: x[rows], data)
        value, grads = jax.value_and_grad(loss)(params, some, key)
        updates, inner = optimiser.update(grads, inner, params)
        return (optax.apply_updates(params, updates), inner), value

    return step


def _resumed(checkpoint: Path, mark: str, start: Any) -> tuple[Any, int]:
    """The state in a checkpoint and its epoch; else the start and 0."""
    with contextlib.suppress(OSError, storage.StorageError):
        facts = storage.read_metadata(checkpoint)
        if facts.get("mark") == mark:
            leaves = storage.load(checkpoint)
            return jax.tree.unflatten(jax.tree.structure(start), leaves), facts["epochs"]
    return start, 0
