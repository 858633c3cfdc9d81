"""The dense forms that structures are compared with: plain JAX, written by hand, and Flax's."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["RATE", "dense_product", "empty", "flax_lstm", "flax_params", "hoisted_lstm", "trained"]

RATE = 1e-3
"""Of the training step."""


def empty(weights: Any, x: jax.Array) -> jax.Array:  # noqa: ARG001
    """Nothing."""
    return x


def dense_product(weights: tuple[jax.Array], x: jax.Array) -> jax.Array:
    """``x @ weights``."""
    return x @ weights[0]


def hoisted_lstm(weights: tuple[jax.Array, jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    """A dense LSTM that multiplies all inputs before it scans.

    Args:
        weights: The input kernel ``(in, 4 h)``, the recurrent one ``(h, 4 h)`` and the bias, gates
            in the order i, f, g, o.
        x: ``(time, batch, in)``.

    Returns:
        The states ``(time, batch, h)``, from zeros.
    """
    kernel, recurrent, bias = weights
    time, batch, width = x.shape
    projected = (x.reshape(time * batch, width) @ kernel + bias).reshape(time, batch, -1)

    def step(carry: Any, z: jax.Array) -> tuple[Any, jax.Array]:
        c, h = carry
        i, f, g, o = jnp.split(z + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    zeros = jnp.zeros((batch, recurrent.shape[0]))
    return jax.lax.scan(step, (zeros, zeros), projected)[1]


def flax_lstm(params: Any, x: jax.Array) -> jax.Array:
    """The same by Flax's ``nn.RNN`` of an ``nn.OptimizedLSTMCell``, of `flax_params`."""
    features = params["hi"]["kernel"].shape[0]
    rnn = nn.RNN(nn.OptimizedLSTMCell(features), time_major=True)
    return jnp.asarray(rnn.apply({"params": {"cell": params}}, x))


def flax_params(weights: tuple[jax.Array, jax.Array, jax.Array]) -> dict[str, Any]:
    """The weights of `hoisted_lstm` as Flax's cell has them."""
    parts = zip("ifgo", *(jnp.split(w, 4, axis=-1) for w in weights), strict=True)
    params: dict[str, Any] = {}
    for gate, kernel, recurrent, bias in parts:
        params[f"i{gate}"] = {"kernel": kernel}
        params[f"h{gate}"] = {"kernel": recurrent, "bias": bias}
    return params


def trained(run: Any, weights: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    """A step of gradient descent on the mean square of ``run(weights, x)``: loss and weights."""

    def loss(weights: Any) -> jax.Array:
        return (run(weights, x) ** 2).mean()

    value, gradient = jax.value_and_grad(loss)(weights)
    return value, jax.tree.map(lambda w, g: w - RATE * g, weights, gradient)
