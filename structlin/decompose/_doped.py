"""A structured matrix plus a very sparse one, fitted in turns."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from structlin.decompose._magnitude import magnitude_mask

__all__ = ["structured_plus_sparse"]

T = TypeVar("T")


def structured_plus_sparse(
    dense: jax.Array,
    fit: Callable[[jax.Array], T],
    to_dense: Callable[[T], jax.Array],
    density: float,
    rounds: int = 5,
) -> tuple[T, jax.Array]:
    """Splits ``dense`` into a structured matrix and the largest entries of what it misses.

    Each half-step is the best answer to the other, so the error of the sum never grows.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        fit: The best structured fit to a dense matrix.
        to_dense: Forms a fit's matrix, ``(m, n)``.
        density: The share of entries of each column that the sparse part holds, in 0 to 1.
        rounds: How often the two are fitted to each other.

    Returns:
        The structured fit and the sparse part as a dense array with exact zeros, ``(m, n)``.

    Reference:
        Thakker et al. (2021), "Doped structures", trains the sum; fitting it by alternation follows
        robust principal components (Candes et al., 2011) with a count of entries in place of a
        norm.
    """
    sparse = jnp.zeros_like(dense)
    structured = fit(dense)
    for _ in range(rounds):
        rest = dense - to_dense(structured)
        sparse = jnp.where(magnitude_mask(rest, density), rest, 0)
        structured = fit(dense - sparse)
    rest = dense - to_dense(structured)
    return structured, jnp.where(magnitude_mask(rest, density), rest, 0)
