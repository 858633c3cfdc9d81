"""Trains one model and may be killed at any moment: what is run again goes on to the same bits.

`train` takes a loss, an optax transformation and a batch for every step. All that a step depends on
is in its `State`, which orbax writes as a whole or not at all, so that a run that was killed and
started again ends in the figures of one that was not.
"""

import contextlib
import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

import structlin as sl

__all__ = ["DivergedError", "State", "Trained", "train"]

KEPT = 2
"""How many checkpoints are kept, the last ones."""

Figures = dict[str, float]


class DivergedError(RuntimeError):
    """A training whose loss is no longer a number."""


class State(NamedTuple):
    """What a step depends on, besides its batch.

    Attributes:
        params: A tree of arrays and matrices.
        optimiser: The state of the transformation.
        carry: What the loss hands from one batch to the next; ``None`` if nothing.
        key: From which the keys of the steps to come are split.
        step: Steps taken, ``()``.
        loss: That of the last step, ``()``.
    """

    params: Any
    optimiser: Any
    carry: Any
    key: jax.Array
    step: jax.Array
    loss: jax.Array


class Trained(NamedTuple):
    """What `train` returns.

    Attributes:
        params: After the last step.
        loss: That of the last step.
        seconds: Of all runs together up to the last checkpoint, without what a kill undid.
    """

    params: Any
    loss: float
    seconds: float


def train(
    loss: Callable[..., Any],
    params: Any,
    optimiser: optax.GradientTransformation,
    batch: Callable[[int, int], Any],
    *,
    steps: int,
    seed: int,
    folder: Path,
    carry: Any = None,
    evaluate: Callable[[Any], Figures] | None = None,
    save_every: int = 500,
    keep: bool = True,
    log_every: int = 20,
    title: str = "training",
) -> Trained:
    """Trains to the last step, from the last checkpoint if there is one.

    Args:
        loss: ``loss(params, batch, key)``, a scalar; with a carry
            ``loss(params, batch, key, carry)``, a scalar and the next carry.
        params: Where to start; floating point leaves only (`structlin.partition` splits others
            off).
        optimiser: Clips gradients and decays rates itself.
        batch: ``batch(seed, step)``: arrays that are the same whenever they are asked for.
        steps: How many there are.
        seed: For ``batch`` and for the keys of the loss.
        folder: Of this training alone, for ``checkpoints`` and ``logs``.
        carry: The first carry, for truncated back-propagation through time.
        evaluate: Parameters to figures, logged whenever there is a checkpoint.
        save_every: Steps between two checkpoints; the last step has one too.
        keep: Whether checkpoints are written; without them a kill starts the training again.
        log_every: Steps between two logged losses.
        title: What the progress bar says.

    Raises:
        DivergedError: The loss is not finite; the message has the step and the first parameter, or
            else gradient, that is not.
    """
    params, whole = _without_empty(params)
    loss, evaluate = _after(whole, loss), evaluate and _after(whole, evaluate)
    step = _step(loss, optimiser, with_carry=carry is not None)
    key = jax.random.fold_in(jax.random.key(seed), 1)  # the parameters may be drawn from the first
    zero = jnp.zeros((), jnp.int32)
    state = State(params, optimiser.init(params), carry, key, zero, jnp.full((), jnp.inf))
    options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder.resolve() / "checkpoints", options=options) as manager:
        state, seconds = _restored(manager, state)
        begin, done = time.perf_counter() - seconds, int(state.step)
        with _log(folder / "logs", done) as log, _bar(title, done, steps) as show:
            for number in range(done, steps):
                now = batch(seed, number)
                after = step(state, now)
                value = float(after.loss)
                if not math.isfinite(value):
                    raise DivergedError(_diagnosis(loss, state, now, value, number))
                state, taken = after, number + 1
                show(taken, value)
                if taken == steps or taken % log_every == 0:
                    log(taken, {"loss": value})
                if taken == steps or taken % save_every == 0:
                    log(taken, evaluate(state.params) if evaluate else {})
                    seconds = time.perf_counter() - begin
                    if keep:
                        kept = {"state": state, "seconds": np.float64(seconds)}
                        manager.save(taken, args=ocp.args.StandardSave(kept))
    return Trained(whole(state.params), float(state.loss), seconds)


def _without_empty(params: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Without the arrays of no entries, which no checkpoint takes, and what puts them back."""
    kept = jax.tree.map(lambda x: x if x.size else None, params)
    empty = jax.tree.map(lambda x: None if x.size else x, params)
    return kept, lambda params: sl.combine(params, empty)


def _after(whole: Callable[[Any], Any], function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, *rest: function(whole(params), *rest)


def _step(
    loss: Callable[..., Any], optimiser: optax.GradientTransformation, *, with_carry: bool
) -> Callable[[State, Any], State]:
    @jax.jit
    def step(state: State, batch: Any) -> State:
        key, own = jax.random.split(state.key)
        found = jax.value_and_grad(loss, has_aux=with_carry)
        if with_carry:
            (value, carry), grads = found(state.params, batch, own, state.carry)
        else:
            (value, grads), carry = found(state.params, batch, own), None
        updates, inner = optimiser.update(grads, state.optimiser, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        return State(params, inner, carry, key, state.step + 1, value.astype(state.loss.dtype))

    return step


def _restored(manager: ocp.CheckpointManager, state: State) -> tuple[State, float]:
    """The last state that was written, and the seconds that led to it; ``state`` if none was."""
    last = manager.latest_step()
    if last is None:
        return state, 0.0
    target = {"state": jax.eval_shape(lambda: state), "seconds": np.float64(0)}
    found: Any = manager.restore(last, args=ocp.args.StandardRestore(target))
    return found["state"], float(found["seconds"])


def _diagnosis(loss: Callable[..., Any], state: State, batch: Any, value: float, step: int) -> str:
    """Where the first number that is not finite is: before the step, or in its gradient."""
    path, where = _not_finite(state.params), "the first parameter that is not finite is"
    if path is None:
        own, carry = jax.random.split(state.key)[1], state.carry
        extra = () if carry is None else (carry,)
        grads = jax.grad(loss, has_aux=carry is not None)(state.params, batch, own, *extra)
        path = _not_finite(grads if carry is None else grads[0])
        where = "all parameters are finite, and the first gradient that is not is that of"
    return f"The loss is {value} at step {step}: {where} {path}. Lower the learning rate, or clip."


def _not_finite(tree: Any) -> str | None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not bool(jnp.isfinite(leaf).all()):
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return None


@contextlib.contextmanager
def _log(folder: Path, start: int) -> Iterator[Callable[[int, Figures], None]]:
    """Logs figures at a step: for TensorBoard, or as lines of JSON where tensorboardX is missing.

    After a kill steps come again: TensorBoard is told to forget the old ones, in a file of lines
    the last line of a step counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        board = importlib.import_module("tensorboardX")
    except ImportError:
        name = folder / "figures.jsonl"
        print(f"tensorboardX is not installed: figures go to {name}.", file=sys.stderr)
        with open(name, "a", encoding="utf-8", buffering=1) as file:
            yield lambda step, figures: print(json.dumps({"step": step} | figures), file=file)
        return
    with board.SummaryWriter(str(folder), purge_step=start) as writer:

        def log(step: int, figures: Figures) -> None:
            for name, value in figures.items():
                writer.add_scalar(name, value, step)

        yield log


@contextlib.contextmanager
def _bar(title: str, done: int, steps: int) -> Iterator[Callable[[int, float], None]]:
    """Shows the step and its loss, if somebody watches."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    rich, console = map(importlib.import_module, ("rich.progress", "rich.console"))
    parts = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TimeRemainingColumn())
    columns = ("{task.description}", *parts, "{task.fields[loss]}")
    with rich.Progress(*columns, console=console.Console(stderr=True)) as progress:
        task = progress.add_task(title, total=steps, completed=done, loss="")
        yield lambda step, loss: progress.update(task, completed=step, loss=f"loss {loss:.3f}")
