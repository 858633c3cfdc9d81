"""Text from a language model."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from structlin.demo._corpus import Corpus
from structlin.demo._model import CharLM, apply

__all__ = ["sample"]

TEMPERATURE = 0.6


def sample(model: CharLM, params: Any, corpus: Corpus, length: int, seed: int) -> str:
    """``length`` characters drawn after the first line break of the test text."""
    start = max(corpus.vocabulary.find("\n"), 0)
    ids = _draw(model, length, params, jnp.asarray(start), jax.random.key(seed))
    return corpus.decode(ids)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _draw(model: CharLM, length: int, params: Any, start: jax.Array, key: jax.Array) -> jax.Array:
    def step(state: Any, key: jax.Array):
        token, carry = state
        carry, logits = apply(model, params, token[None, None], carry)
        token = jax.random.categorical(key, logits[0, 0] / TEMPERATURE)
        return (token, carry), token

    state = start, model.zero_carry(1)
    return jax.lax.scan(step, state, jax.random.split(key, length))[1]
