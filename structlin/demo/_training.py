"""Training and evaluating the demo's language models."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from structlin import train
from structlin.demo._model import CharLM, apply

__all__ = ["DivergedError", "bits_per_character", "fit"]

CLIP = 1.0
WARM_UP = 50
REPORT_EVERY = 10

Report = Callable[[int, float], None]


class DivergedError(RuntimeError):
    """A training whose loss is no longer a number."""


def fit(
    model: CharLM,
    params: dict[str, Any],
    batches: np.ndarray,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    prune_until: float = 0.0,
    dropout: float = 0.0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Trains for ``steps`` steps; the state of the LSTM is carried from window to window.

    Args:
        model: The language model.
        params: Where to start, dense or structured.
        batches: Windows of character numbers, ``(windows, steps + 1, streams)``.
        steps: How many updates.
        learning_rate: The peak of a cosine schedule with a short warm-up; Adam, clipped by norm.
        seed: For co-matrix dropout.
        prune_until: The share of the steps after which sparse matrices have their density; 0 when
            there are none.
        dropout: The rate of co-matrix dropout at the start; it falls to 0 as pruning ends.
        report: Called with the step and its loss every few steps and after the last.

    Returns:
        The trained parameters, of the form of ``params``.

    Raises:
        DivergedError: The loss is not finite.
    """
    warm = min(WARM_UP, steps // 4)
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, warm, steps, learning_rate / 20
    )
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(schedule))
    pruned = int(prune_until * steps)
    if pruned:
        optimiser = train.sparsify(optimiser, train.targets(params), end=pruned)

    def loss(params: Any, window: jax.Array, carry: Any, key: jax.Array, step: jax.Array):
        if dropout:
            rate = dropout * jnp.clip(1 - step / max(pruned, 1), 0, 1)
            params = train.co_matrix_dropout(params, key, rate)
        return _loss(model, params, window, carry)

    @jax.jit
    def update(params: Any, state: Any, window: jax.Array, carry: Any, step: jax.Array):
        key = jax.random.fold_in(jax.random.key(seed), step)
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        (value, carry), grads = value_and_grad(params, window, carry, key, step)
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state, carry, value

    state, carry = optimiser.init(params), model.zero_carry(batches.shape[-1])
    for step in range(steps):
        place = step % len(batches)
        if place == 0:
            carry = model.zero_carry(batches.shape[-1])
        params, state, carry, value = update(
            params, state, batches[place], carry, jnp.asarray(step)
        )
        if step % REPORT_EVERY == 0 or step == steps - 1:
            if not math.isfinite(value):
                raise DivergedError(f"The loss is {float(value)} at step {step}: lower the rate.")
            if report is not None:
                report(step + 1, float(value) / math.log(2))
    return params


def bits_per_character(model: CharLM, params: dict[str, Any], batches: np.ndarray) -> float:
    """The mean bits to encode a character of ``batches``, state carried from window to window."""
    carry = model.zero_carry(batches.shape[-1])
    nats = _evaluate(model, params, jnp.asarray(batches), carry)
    return float(nats) / math.log(2)


def _loss(model: CharLM, params: Any, window: jax.Array, carry: Any) -> tuple[jax.Array, Any]:
    carry, logits = apply(model, params, window[:-1], carry)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, window[1:])
    return losses.mean(), carry


@functools.partial(jax.jit, static_argnums=0)
def _evaluate(model: CharLM, params: Any, batches: jax.Array, carry: Any) -> jax.Array:
    def window(carry: Any, batch: jax.Array):
        loss, carry = _loss(model, params, batch, carry)
        return carry, loss

    return jax.lax.scan(window, carry, batches)[1].mean()
