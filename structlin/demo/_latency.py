"""Microseconds a character at batch 1, against the best dense form."""

import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from structlin.demo._model import CharLM
from structlin.functional import LSTM
from structlin.matrices import is_matrix

__all__ = ["Latencies", "measure"]

LENGTH = 256
ROUNDS = 25

Latencies = dict[str, dict[str, float]]
"""For each model, microseconds a character by form."""


def measure(models: dict[str, tuple[CharLM, Any]], tokens: np.ndarray) -> Latencies:
    """Times the forms of each model that read a stream of characters, all in turn.

    A call reads `LENGTH` characters: embedding, LSTM, logits. Every LSTM has its input projection
    hoisted out of the scan, and reads either a vector or one row of a matrix; a dense one is timed
    as Flax's ``nn.RNN`` too. The forms are interleaved, so that all see the same machine.

    Args:
        models: By name, a model and its parameters.
        tokens: Character numbers; repeated if there are fewer than `LENGTH`.

    Returns:
        For each model, the median microseconds a character of each form.
    """
    stream = jnp.asarray(np.resize(tokens, LENGTH))
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, (model, params) in models.items():
        forms = {"vector": _vector, "row": _row}
        if not any(map(is_matrix, jax.tree.leaves(params, is_leaf=is_matrix))):
            forms["nn.RNN"] = _flax_rnn
        for form, run in forms.items():
            compiled = jax.jit(run, static_argnums=0)
            calls[name, form] = lambda c=compiled, m=model, p=params: c(m, p, stream)
    for call in calls.values():
        jax.block_until_ready(call())  # compile, and warm the caches
        jax.block_until_ready(call())
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            seconds[key].append(time.perf_counter() - start)
    result: Latencies = {name: {} for name in models}
    for (name, form), times in seconds.items():
        result[name][form] = float(np.median(times)) / LENGTH * 1e6
    return result


def _vector(model: CharLM, params: Any, tokens: jax.Array) -> jax.Array:
    return _read(params, tokens, model.zero_carry())


def _row(model: CharLM, params: Any, tokens: jax.Array) -> jax.Array:
    return _read(params, tokens[:, None], model.zero_carry(1))


def _read(params: Any, tokens: jax.Array, carry: Any) -> jax.Array:
    inputs = params["embed"]["embedding"][tokens]
    _, outputs = LSTM().sequence(LSTM().weights(params["cell"]), carry, inputs)
    return outputs @ params["out"]["kernel"] + params["out"]["bias"]


def _flax_rnn(model: CharLM, params: Any, tokens: jax.Array) -> jax.Array:
    rnn = nn.RNN(nn.OptimizedLSTMCell(model.hidden), time_major=True)
    inputs = params["embed"]["embedding"][tokens][:, None]
    outputs = rnn.apply({"params": {"cell": params["cell"]}}, inputs)
    return outputs @ params["out"]["kernel"] + params["out"]["bias"]
