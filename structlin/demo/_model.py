"""A character-level LSTM language model, dense and compressed."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin import functional
from structlin.linen import RNN, LSTMCell
from structlin.specs import Spec

__all__ = ["CharLM", "apply", "compress_lstm", "dense_init", "lstm_kernels"]

Carry = tuple[jax.Array, jax.Array]


class CharLM(nn.Module):
    """Embedding, one LSTM layer, and the logits of the next character.

    Attributes:
        vocabulary: How many characters there are.
        embed: The width of the embedding.
        hidden: The width of the LSTM.
    """

    vocabulary: int
    embed: int = 64
    hidden: int = 256

    @nn.compact
    def __call__(self, tokens: jax.Array, carry: Carry) -> tuple[Carry, jax.Array]:
        """Logits ``(time, ..., vocabulary)`` for characters ``(time, ...)``, and the last carry."""
        unit = nn.initializers.normal(1.0)  # inputs as large as the state: it trains faster
        inputs = nn.Embed(self.vocabulary, self.embed, embedding_init=unit, name="embed")(tokens)
        cell = LSTMCell(self.hidden, name="cell")
        rnn = RNN(cell, time_major=True, return_carry=True, name="rnn")
        carry, outputs = rnn(inputs, initial_carry=carry)
        return carry, nn.Dense(self.vocabulary, name="out")(outputs)

    @nn.nowrap
    def zero_carry(self, *batch: int) -> Carry:
        """The state before the first character."""
        return jnp.zeros((*batch, self.hidden)), jnp.zeros((*batch, self.hidden))


def apply(model: CharLM, params: Any, tokens: jax.Array, carry: Carry) -> tuple[Carry, jax.Array]:
    """`CharLM.__call__` with ``params``."""
    result: Any = model.apply({"params": params}, tokens, carry)
    return result


def dense_init(model: CharLM, key: jax.Array) -> dict[str, Any]:
    """Random dense parameters, with forget gates that start open (Jozefowicz et al., 2015)."""
    variables: Any = model.init(key, jnp.zeros((2, 1), jnp.int32), model.zero_carry(1))
    params = variables["params"]
    params["cell"]["hf"]["bias"] = jnp.ones(model.hidden)
    return params


def lstm_kernels(params: dict[str, Any]) -> tuple[functional.Kernel, functional.Kernel]:
    """The input and the recurrent kernel, ``(embed, 4 hidden)`` and ``(hidden, 4 hidden)``."""
    weights = functional.LSTM().weights(params["cell"])
    assert weights.recurrent is not None  # every LSTM has one
    return weights.input, weights.recurrent


def compress_lstm(params: dict[str, Any], specs: tuple[Spec, Spec]) -> dict[str, Any]:
    """The same parameters with both kernels of the LSTM fitted by ``specs``."""
    weights = functional.LSTM().weights(params["cell"])
    cell = {
        "i": {"kernel": specs[0].fit(jnp.asarray(weights.input))},
        "h": {"kernel": specs[1].fit(jnp.asarray(weights.recurrent)), "bias": weights.bias},
    }
    return {**params, "cell": cell}
