"""Flax's recurrent cells as functions of their weights, one step or a whole sequence."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from structlin.functional._cell import CellWeights
from structlin.functional._cells import GRU, LSTM, MGU, Activation, Simple

__all__ = [
    "GATES",
    "LSTMWeights",
    "gru_sequence",
    "gru_step",
    "lstm_sequence",
    "lstm_step",
    "lstm_weights",
    "mgu_sequence",
    "mgu_step",
    "simple_sequence",
    "simple_step",
]

GATES = LSTM.gates
"""The order in which the gates' columns of an LSTM stand side by side: Flax's."""

LSTMWeights = CellWeights
"""The weights of an LSTM: ``input`` ``(in, 4 h)``, ``recurrent`` ``(h, 4 h)``, ``bias``."""

Pair = tuple[jax.Array, jax.Array]


def lstm_weights(params: Mapping[str, Any]) -> CellWeights:
    """The weights in the parameters of an LSTM cell: `Cell.weights` of `LSTM`."""
    return LSTM().weights(params)


def lstm_step(
    weights: CellWeights,
    carry: Pair,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    dtype: Any = None,
) -> tuple[Pair, jax.Array]:
    """One step of an `LSTM`: the carry ``(c, h)`` and inputs to the new carry and ``h``."""
    return LSTM(gate_fn, activation_fn).step(weights, carry, inputs, dtype=dtype)


def lstm_sequence(
    weights: CellWeights,
    carry: Pair,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    dtype: Any = None,
) -> tuple[Pair, jax.Array]:
    """An `LSTM` over a sequence, time first: the last carry, and ``h`` at every step."""
    return LSTM(gate_fn, activation_fn).sequence(weights, carry, inputs, dtype=dtype)


def gru_step(
    weights: CellWeights,
    carry: jax.Array,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    dtype: Any = None,
) -> Pair:
    """One step of a `GRU`: the carry ``h`` and inputs to the new ``h``, twice."""
    return GRU(gate_fn, activation_fn).step(weights, carry, inputs, dtype=dtype)


def gru_sequence(
    weights: CellWeights,
    carry: jax.Array,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    dtype: Any = None,
) -> Pair:
    """A `GRU` over a sequence, time first: the last ``h``, and ``h`` at every step."""
    return GRU(gate_fn, activation_fn).sequence(weights, carry, inputs, dtype=dtype)


def simple_step(
    weights: CellWeights,
    carry: jax.Array,
    inputs: jax.Array,
    *,
    activation_fn: Activation = jnp.tanh,
    residual: bool = False,
    dtype: Any = None,
) -> Pair:
    """One step of a `Simple` cell: the carry ``h`` and inputs to the new ``h``, twice."""
    return Simple(activation_fn, residual).step(weights, carry, inputs, dtype=dtype)


def simple_sequence(
    weights: CellWeights,
    carry: jax.Array,
    inputs: jax.Array,
    *,
    activation_fn: Activation = jnp.tanh,
    residual: bool = False,
    dtype: Any = None,
) -> Pair:
    """A `Simple` cell over a sequence, time first: the last ``h``, and ``h`` at every step."""
    return Simple(activation_fn, residual).sequence(weights, carry, inputs, dtype=dtype)


def mgu_step(
    weights: CellWeights,
    carry: jax.Array,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    reset_gate: bool = True,
    dtype: Any = None,
) -> Pair:
    """One step of an `MGU`: the carry ``h`` and inputs to the new ``h``, twice."""
    return MGU(gate_fn, activation_fn, reset_gate).step(weights, carry, inputs, dtype=dtype)


def mgu_sequence(
    weights: CellWeights,
    carry: jax.Array,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    reset_gate: bool = True,
    dtype: Any = None,
) -> Pair:
    """An `MGU` over a sequence, time first: the last ``h``, and ``h`` at every step."""
    return MGU(gate_fn, activation_fn, reset_gate).sequence(weights, carry, inputs, dtype=dtype)
