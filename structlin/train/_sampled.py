"""Softmax losses that look at a sample of a large vocabulary."""

import jax
import jax.numpy as jnp

from structlin import functional
from structlin.functional import Kernel
from structlin.train._vocabulary import check, score_of, wide

__all__ = ["log_uniform_candidates", "log_uniform_expected", "sampled_softmax_cross_entropy"]


def log_uniform_candidates(key: jax.Array, samples: int, words: int) -> jax.Array:
    """Words drawn by Zipf's law, with repetitions: word ``k`` with ``log((k + 2) / (k + 1))``.

    Args:
        key: A random key.
        samples: How many to draw.
        words: The size of a vocabulary whose frequent words come first.

    Returns:
        ``(samples,)`` integers.
    """
    uniform = jax.random.uniform(key, (samples,), maxval=jnp.log(words + 1.0))
    return jnp.clip(jnp.exp(uniform).astype(jnp.int32) - 1, 0, words - 1)


def log_uniform_expected(ids: jax.Array, samples: int, words: int) -> jax.Array:
    """The logarithm of how often ``samples`` draws of `log_uniform_candidates` name each word."""
    chance = jnp.log1p(1 / (ids + 1.0)) / jnp.log(words + 1.0)
    return jnp.log(samples * chance)


def sampled_softmax_cross_entropy(
    hidden: jax.Array,
    embedding: Kernel,
    labels: jax.Array,
    key: jax.Array,
    *,
    samples: int,
    bias: jax.Array | None = None,
) -> jax.Array:
    """The cross-entropy of each label against a sample of the words, for training.

    Each logit is lowered by the logarithm of how often its word is expected in the sample, so that
    the sum over the sample stands for that over the vocabulary. All hidden states share the sample;
    a candidate that is the label is left out.

    Args:
        hidden: ``(..., features)``.
        embedding: ``(words, features)``, an array or a matrix, the frequent words first; only the
            rows of labels and candidates are formed.
        labels: The right words, integers ``(...)``.
        key: A random key, another one for each step.
        samples: How many candidates.
        bias: ``(words,)``.

    Returns:
        ``(...)``, in single precision or wider. It is no estimate of the loss over all words:
        measure that by `chunked_cross_entropy`.

    Raises:
        ValueError: The shapes do not fit, or ``samples`` is less than one.

    Reference:
        Bengio and Senecal (2008), "Adaptive importance sampling to accelerate training of a neural
        probabilistic language model"; Jean et al. (2015), "On using very large target vocabulary
        for neural machine translation", eq. 8-11. Candidates are drawn with repetitions here.
    """
    check(hidden, embedding, labels)
    if samples < 1:
        raise ValueError(f"A sampled softmax needs samples >= 1; given samples={samples}.")
    words = embedding.shape[0]
    ids = log_uniform_candidates(key, samples, words)
    rows = functional.embed(ids, embedding)
    kind = jnp.result_type(hidden, rows)
    scores = wide(hidden.astype(kind) @ rows.astype(kind).T)
    scores = scores if bias is None else scores + wide(bias)[ids]
    scores = scores - log_uniform_expected(ids, samples, words).astype(scores.dtype)
    scores = jnp.where(ids == labels[..., None], -jnp.inf, scores)
    own = score_of(hidden, embedding, labels, bias)
    own = own - log_uniform_expected(labels, samples, words).astype(own.dtype)
    return jnp.logaddexp(own, jax.nn.logsumexp(scores, axis=-1)) - own
