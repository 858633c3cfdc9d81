"""Cross-entropy over a large vocabulary, a chunk of words at a time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import functional
from structlin.functional import Kernel
from structlin.matrices import combine, partition

__all__ = ["chunked_cross_entropy", "log_normalizer", "score_of", "wide"]


def chunked_cross_entropy(
    hidden: jax.Array,
    embedding: Kernel,
    labels: jax.Array,
    *,
    bias: jax.Array | None = None,
    chunk: int = 4096,
) -> jax.Array:
    """The cross-entropy of each label under the softmax over all words.

    Its numbers and gradients are those of the loss on ``hidden @ embedding.T + bias``; of the
    logits, and of their gradient, a chunk of words is in memory at a time.

    Args:
        hidden: ``(..., features)``.
        embedding: The output embedding, an array or a matrix, a word a row: ``(words, features)``.
            Of a kernel ``(features, words)`` give the transpose, ``kernel.T``.
        labels: The right words, integers ``(...)``.
        bias: ``(words,)``.
        chunk: How many words at a time. Their rows are formed, once for the loss and once for its
            gradient: few hidden states at a time are better off with all logits of a structured
            product.

    Returns:
        ``(...)``, in single precision or wider.

    Raises:
        ValueError: The shapes do not fit.
    """
    check(hidden, embedding, labels)
    normalizer = log_normalizer(hidden, embedding, bias, chunk=chunk)
    return normalizer - score_of(hidden, embedding, labels, bias)


def log_normalizer(
    hidden: jax.Array, embedding: Kernel, bias: jax.Array | None = None, *, chunk: int = 4096
) -> jax.Array:
    """``log(sum(exp(hidden @ embedding.T + bias)))`` over the words, a chunk at a time.

    Args:
        hidden: ``(..., features)``.
        embedding: ``(words, features)``.
        bias: ``(words,)``.
        chunk: How many words at a time.

    Returns:
        ``(...)``, in single precision or wider.

    Raises:
        ValueError: ``chunk`` is less than one.
    """
    if chunk < 1:
        raise ValueError(f"A chunk needs one word or more; given chunk={chunk}.")
    words, features = embedding.shape
    bias = jnp.zeros(words, hidden.dtype) if bias is None else bias
    found = _normalizer(hidden.reshape(-1, features), embedding, bias, min(chunk, words))
    return found.reshape(hidden.shape[:-1])


def score_of(
    hidden: jax.Array, embedding: Kernel, words: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """The logit of one word for each hidden state, ``(...)``."""
    rows = functional.embed(words, embedding)
    score = wide(jnp.sum(hidden * rows.astype(jnp.result_type(hidden, rows)), axis=-1))
    return score if bias is None else score + wide(bias)[words]


def check(hidden: jax.Array, embedding: Kernel, labels: jax.Array) -> None:
    """That hidden states, embedding and labels fit."""
    fits = hidden.shape[-1:] == tuple(embedding.shape[1:]) and labels.shape == hidden.shape[:-1]
    if not fits:
        raise ValueError(
            "A softmax loss needs hidden (..., features), an embedding (words, features) and "
            f"labels (...); given {hidden.shape}, {tuple(embedding.shape)} and {labels.shape}. Of "
            "a kernel (features, words) give the transpose."
        )


def wide(x: jax.Array) -> jax.Array:
    """``x`` in single precision or wider, in which sums of probabilities are taken."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _summed(hidden: jax.Array, embedding: Any, bias: jax.Array, chunk: int) -> jax.Array:
    def step(state: tuple[jax.Array, jax.Array], ids: jax.Array) -> tuple[Any, None]:
        most, total = state
        scores = _scores(hidden, _rows(embedding, ids), bias, ids)
        higher = jnp.maximum(most, jnp.max(scores, axis=-1))
        added = jnp.sum(jnp.exp(scores - higher[:, None]), axis=-1)
        return (higher, total * jnp.exp(most - higher) + added), None

    kind = jnp.result_type(hidden.dtype, embedding.dtype, bias.dtype, jnp.float32)
    start = jnp.full(hidden.shape[:1], -jnp.inf, kind), jnp.zeros(hidden.shape[:1], kind)
    (most, total), _ = jax.lax.scan(step, start, _chunks(len(bias), chunk))
    return most + jnp.log(total)


def _forward(hidden: jax.Array, embedding: Any, bias: jax.Array, chunk: int) -> tuple[Any, Any]:
    found = _summed(hidden, embedding, bias, chunk)
    return found, (hidden, embedding, bias, found)


def _backward(chunk: int, kept: Any, slope: jax.Array) -> tuple[Any, Any, Any]:
    hidden, embedding, bias, found = kept
    trained, fixed = partition(embedding)

    def step(sums: Any, ids: jax.Array) -> tuple[Any, None]:
        rows, pull = jax.vjp(lambda part: _rows(combine(part, fixed), ids), trained)
        scores = _scores(hidden, rows, bias, ids)
        shares = slope[:, None] * jnp.exp(scores - found[:, None])  # zero beyond the last word
        kind = jnp.result_type(hidden, rows)
        by_hidden = shares.astype(kind) @ rows.astype(kind)
        by_rows = shares.astype(kind).T @ hidden.astype(kind)
        (by_trained,) = pull(by_rows.astype(rows.dtype))
        by_bias = jnp.zeros_like(bias, shares.dtype).at[ids].add(shares.sum(0), mode="drop")
        return jax.tree.map(jnp.add, sums, (by_hidden, by_trained, by_bias)), None

    kind = jnp.result_type(hidden.dtype, embedding.dtype)
    start = jnp.zeros(hidden.shape, kind), jax.tree.map(jnp.zeros_like, trained)
    sums = (*start, jnp.zeros(bias.shape, found.dtype))
    (by_hidden, by_trained, by_bias), _ = jax.lax.scan(step, sums, _chunks(len(bias), chunk))
    none = jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0), fixed)
    by_embedding = combine(by_trained, none)
    return by_hidden.astype(hidden.dtype), by_embedding, by_bias.astype(bias.dtype)


_normalizer: Any = jax.custom_vjp(_summed, nondiff_argnums=(3,))
_normalizer.defvjp(_forward, _backward)


def _chunks(words: int, chunk: int) -> jax.Array:
    """The words of each chunk, ``(chunks, chunk)``; those of the last may not exist."""
    return jnp.arange(-(-words // chunk) * chunk, dtype=jnp.int32).reshape(-1, chunk)


def _rows(embedding: Kernel, ids: jax.Array) -> jax.Array:
    return functional.embed(jnp.minimum(ids, embedding.shape[0] - 1), embedding)


def _scores(hidden: jax.Array, rows: jax.Array, bias: jax.Array, ids: jax.Array) -> jax.Array:
    """The logits of the words of a chunk, ``(batch, chunk)``; minus infinity for none."""
    kind = jnp.result_type(hidden, rows)
    scores = wide(hidden.astype(kind) @ rows.astype(kind).T)
    offsets = wide(bias).at[ids].get(mode="fill", fill_value=-jnp.inf)
    return scores + offsets
