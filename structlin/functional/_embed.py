"""The arithmetic of an embedding on an array or a structured matrix."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin.functional._dense import Kernel, promote
from structlin.matrices import Matrix

__all__ = ["attend", "embed"]


def embed(ids: jax.Array, embedding: Kernel, *, dtype: Any = None) -> jax.Array:
    """The rows of ``embedding`` at ``ids``.

    Args:
        ids: Integers of any shape; negative ones count from the end.
        embedding: ``(vocabulary, features)``.
        dtype: The dtype of the rows; that of ``embedding`` if not given.

    Returns:
        ``(*ids.shape, features)``; not a number where an id is out of range. A vocabulary of one
        is that row for every id, as in Flax.

    Raises:
        ValueError: The ids are not integers.
    """
    ids = jnp.asarray(ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"An embedding needs integers; given ids of dtype {ids.dtype}.")
    ids = jnp.zeros_like(ids) if embedding.shape[0] == 1 else ids
    if not isinstance(embedding, Matrix):
        rows = jnp.take(embedding, ids, axis=0)
        return rows if dtype is None else rows.astype(dtype)
    size = embedding.shape[0]
    ids = ids.astype(jnp.promote_types(jnp.int32, ids.dtype))
    ids = jnp.where(ids < 0, ids + size, ids)
    inside = (ids >= 0) & (ids < size)
    rows = embedding.take(jnp.where(inside, ids, 0))
    rows = rows if dtype is None else rows.astype(dtype)
    return jnp.where(inside[..., None], rows, jnp.asarray(jnp.nan, rows.dtype))


def attend(query: jax.Array, embedding: Kernel, *, dtype: Any = None) -> jax.Array:
    """``query @ embedding.T``: the scores of all words, from the embedding that reads them.

    Args:
        query: ``(..., features)``.
        embedding: ``(vocabulary, features)``.
        dtype: The dtype to compute in; by default the one that both promote to.

    Returns:
        ``(..., vocabulary)``.
    """
    query, embedding = promote((query, embedding), dtype)
    return query @ embedding.T
