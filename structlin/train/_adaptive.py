"""A softmax in two steps: frequent words at once, rare ones through their cluster."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from structlin import functional
from structlin.functional import Kernel
from structlin.train._vocabulary import wide

__all__ = ["adaptive_log_softmax", "adaptive_softmax_cross_entropy"]


def adaptive_softmax_cross_entropy(
    hidden: jax.Array,
    head: Kernel,
    tails: Sequence[Kernel],
    labels: jax.Array,
    *,
    block: int = 128,
) -> jax.Array:
    """The cross-entropy of each label where rare words are reached through clusters.

    A word of the shortlist has its probability from the head; any other that of its cluster, from
    the head, times that within the cluster. A cluster is run on the hidden states whose label it
    holds, in blocks, and on no other block.

    Args:
        hidden: ``(..., features)``.
        head: The words of the shortlist, then a row for each cluster,
            ``(shortlist + clusters, features)``.
        tails: For each cluster its words, ``(size, features)``, arrays or matrices: those of low
            rank are the projections of the reference.
        labels: Integers ``(...)``: the shortlist first, then the clusters in their order, which is
            that of falling frequency.
        block: How many hidden states a cluster takes at a time.

    Returns:
        ``(...)``, in single precision or wider.

    Raises:
        ValueError: The shapes do not fit.

    Reference:
        Grave et al. (2017), "Efficient softmax approximation for GPUs", sec. 4.
    """
    shortlist = _shortlist(hidden, head, tails)
    if labels.shape != hidden.shape[:-1]:
        raise ValueError(f"Labels need the shape {hidden.shape[:-1]}; given {labels.shape}.")
    flat, words = hidden.reshape(-1, hidden.shape[-1]), labels.reshape(-1)
    cluster, start = words, shortlist
    losses = jnp.zeros(words.shape, jnp.promote_types(hidden.dtype, jnp.float32))
    for k, tail in enumerate(tails):
        own = (words >= start) & (words < start + tail.shape[0])
        cluster = jnp.where(own, shortlist + k, cluster)
        local = jnp.clip(words - start, 0, tail.shape[0] - 1)
        losses = losses + _of_members(flat, tail, local, own, block)
        start += tail.shape[0]
    return (losses + _cross_entropy(flat, head, cluster)).reshape(labels.shape)


def adaptive_log_softmax(hidden: jax.Array, head: Kernel, tails: Sequence[Kernel]) -> jax.Array:
    """The logarithm of the probability of every word, ``(..., words)``.

    Args:
        hidden: ``(..., features)``.
        head: As in `adaptive_softmax_cross_entropy`.
        tails: Likewise.
    """
    shortlist = _shortlist(hidden, head, tails)
    first = jax.nn.log_softmax(wide(functional.attend(hidden, head)), axis=-1)
    rest = [jax.nn.log_softmax(wide(functional.attend(hidden, tail)), axis=-1) for tail in tails]
    clusters = [first[..., shortlist + k, None] + part for k, part in enumerate(rest)]
    return jnp.concatenate([first[..., :shortlist], *clusters], axis=-1)


def _shortlist(hidden: jax.Array, head: Kernel, tails: Sequence[Kernel]) -> int:
    """How many words the head holds itself."""
    shapes = [tuple(part.shape) for part in (head, *tails)]
    if any(shape[1] != hidden.shape[-1] for shape in shapes) or shapes[0][0] < len(tails):
        raise ValueError(
            f"An adaptive softmax of {hidden.shape[-1]} features needs a head and clusters "
            f"(words, {hidden.shape[-1]}), the head with a row for each of the {len(tails)} "
            f"clusters; given {shapes}."
        )
    return shapes[0][0] - len(tails)


def _cross_entropy(hidden: jax.Array, embedding: Kernel, labels: jax.Array) -> jax.Array:
    scores = jax.nn.log_softmax(wide(functional.attend(hidden, embedding)), axis=-1)
    return -jnp.take_along_axis(scores, labels[:, None], axis=-1)[:, 0]


def _of_members(
    hidden: jax.Array, tail: Kernel, labels: jax.Array, own: jax.Array, block: int
) -> jax.Array:
    """The loss within a cluster of those that it holds, zero for the others, ``(batch,)``."""
    batch = len(labels)
    block = min(block, batch)
    order = jnp.argsort(~own)  # members first, so that they fill as few blocks as can be
    order = jnp.concatenate([order, order[: -batch % block]])
    blocks = order.reshape(-1, block)

    def run(rows: jax.Array) -> jax.Array:
        def loss() -> jax.Array:
            return _cross_entropy(hidden[rows], tail, labels[rows])

        return jax.lax.cond(jnp.any(own[rows]), loss, lambda: jnp.zeros_like(none))

    none = jnp.zeros(block, jnp.promote_types(hidden.dtype, jnp.float32))
    found = jax.lax.map(run, blocks).reshape(-1)[:batch]
    return jnp.where(own, jnp.zeros_like(found).at[order[:batch]].set(found), 0)
