"""A structured matrix plus a very sparse one, fitted in turns."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.decompose._magnitude import magnitude_mask

__all__ = ["structured_plus_sparse"]

T = TypeVar("T")

ENOUGH = 1e-3
"""The rounds stop when one takes less than this share off the error."""


def structured_plus_sparse(
    dense: jax.Array,
    fit: Callable[[jax.Array], T],
    to_dense: Callable[[T], jax.Array],
    density: float,
    rounds: int = 5,
    *,
    weights: jax.Array | None = None,
    mask: Callable[[jax.Array], jax.Array] | None = None,
) -> tuple[T, jax.Array]:
    """Splits ``dense`` into a structured matrix and the largest entries of what it misses.

    Each half-step is the best answer to the other where ``fit`` is the optimum. Where it is not, a
    round that makes the error grow is dropped and ends the fit, so the error never grows.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        fit: The best structured fit to a dense matrix, under the same weights.
        to_dense: Forms a fit's matrix, ``(m, n)``.
        density: The share of entries of each column that the sparse part holds, in 0 to 1.
        rounds: How often at most the two are fitted to each other.
        weights: Non-negative importance of each entry, ``(m, n)``, or of each row, ``(m, 1)``: the
            sparse part holds the entries that lower ``sum(weights * |error|^2)`` most.
        mask: Marks what the sparse part keeps of a dense score; the ``density`` largest entries of
            each column if not given.

    Returns:
        The structured fit and the sparse part as a dense array with exact zeros, ``(m, n)``.

    Reference:
        Thakker et al. (2021), "Doped structures", trains the sum; fitting it by alternation follows
        robust principal components (Candes et al., 2011) with a count of entries in place of a
        norm.
    """
    choose = mask or (lambda score: magnitude_mask(score, density))
    root = None if weights is None else jnp.sqrt(weights).astype(dense.real.dtype)

    def sparse_step(structured: T) -> tuple[jax.Array, jax.Array]:
        rest = dense - to_dense(structured)
        score = jnp.abs(rest) if root is None else jnp.abs(rest) * root
        kept = choose(score)
        return jnp.where(kept, rest, 0), jnp.sum(jnp.where(kept, 0, score) ** 2)

    structured = fit(dense)
    sparse, error = sparse_step(structured)
    for _ in range(rounds):
        found = fit(dense - sparse)
        found_sparse, found_error = sparse_step(found)
        better = found_error < error
        if isinstance(better, Tracer):
            new, old = (found, found_sparse, found_error), (structured, sparse, error)
            structured, sparse, error = jax.tree.map(
                lambda a, b, better=better: jnp.where(better, a, b), new, old
            )
            continue
        if not better:
            break
        slow = found_error > (1 - ENOUGH) * error
        structured, sparse, error = found, found_sparse, found_error
        if slow:
            break
    return structured, sparse
