"""A character LSTM of any structure: its parameters, its loss, its bits and its size."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import structlin as sl
from structlin import functional, specs
from structlin.demo._corpus import windows

__all__ = ["Carry", "LanguageModel", "at_rest", "bits", "drawn", "nats", "size"]

Carry = tuple[jax.Array, jax.Array]


class LanguageModel(nn.Module):
    """Embedding, one LSTM layer, and the logits of the next character.

    Attributes:
        vocabulary: How many characters there are.
        hidden: The width of the embedding and of the LSTM.
        spec: How both kernels are drawn; once they are, what is held decides.
    """

    vocabulary: int
    hidden: int
    spec: specs.Spec | None = None

    @nn.compact
    def __call__(self, tokens: jax.Array, carry: Carry) -> tuple[Carry, jax.Array]:
        """Logits ``(batch, time, vocabulary)`` for characters ``(batch, time)``, and the carry."""
        unit = nn.initializers.normal(1.0)  # inputs as large as the state: it trains faster
        x = nn.Embed(self.vocabulary, self.hidden, embedding_init=unit, name="embed")(tokens)
        cell = sl.LSTMCell(self.hidden, input=self.spec, recurrent=self.spec, name="cell")
        carry, y = sl.RNN(cell, return_carry=True, name="rnn")(x, initial_carry=carry)
        return carry, nn.Dense(self.vocabulary, name="out")(y)


def at_rest(hidden: int, batch: int) -> Carry:
    """The state before the first character."""
    return jnp.zeros((batch, hidden)), jnp.zeros((batch, hidden))


def drawn(vocabulary: int, hidden: int, spec: specs.Spec | None, seed: int) -> dict[str, Any]:
    """Random parameters, with forget gates that start open (Jozefowicz et al., 2015).

    Raises:
        ValueError: The spec cannot make kernels of this shape.
    """
    model, start = LanguageModel(vocabulary, hidden, spec), at_rest(hidden, 1)
    variables: Any = model.init(jax.random.key(seed), jnp.zeros((1, 2), jnp.int32), start)
    cell = variables["params"]["cell"]
    if spec is None:
        cell["hf"]["bias"] = jnp.ones(hidden)
    else:
        forget = slice(hidden, 2 * hidden)  # the gates stand in the order i, f, g, o
        cell["h"]["bias"] = cell["h"]["bias"].at[forget].set(1.0)
    return variables["params"]


def nats(
    model: LanguageModel, params: Any, tokens: jax.Array, carry: Carry
) -> tuple[jax.Array, Carry]:
    """The mean loss of a character of ``(batch, time + 1)``, and the carry after them."""
    result: Any = model.apply({"params": params}, tokens[:, :-1], carry)
    carry, logits = result
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
    return losses.mean(), carry


def bits(model: LanguageModel, params: Any, ids: np.ndarray, batch: int, time: int) -> float:
    """Mean bits of a text's characters, read in ``batch`` streams.

    Every stream begins at rest; characters that do not fill a window of all are left out.
    """
    batches = windows(ids, batch, time, "held out").swapaxes(1, 2)
    return float(_bits(model, sl.densify(params), jnp.asarray(batches)))


@functools.partial(jax.jit, static_argnums=0)
def _bits(model: LanguageModel, params: Any, batches: jax.Array) -> jax.Array:
    def window(carry: Carry, tokens: jax.Array) -> tuple[Carry, jax.Array]:
        loss, carry = nats(model, params, tokens, carry)
        return carry, loss

    start = at_rest(model.hidden, batches.shape[1])
    return jax.lax.scan(window, start, batches)[1].mean() / math.log(2)


def size(params: Any) -> sl.matrices.Cost:
    """Of both kernels of the LSTM, packed."""
    weights = functional.LSTM().weights(sl.pack(params["cell"]))
    return sl.matrices.cost([weights.input, weights.recurrent])
