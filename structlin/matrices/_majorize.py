"""Weighted fits for structures that have none of their own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._weights import Covariance, Rows, Weights

__all__ = ["majorized", "weighted_error"]


def weighted_error(dense: jax.Array, fitted: jax.Array, weights: Weights | None) -> jax.Array:
    """The squared error that ``weights`` define, ``()``."""
    error = dense - fitted
    if weights is None:
        return jnp.sum(jnp.abs(error) ** 2)
    values = weights.values
    if isinstance(weights, Covariance):
        return jnp.sum((error.conj() * (values.astype(error.dtype) @ error)).real)
    return jnp.sum((values[:, None] if isinstance(weights, Rows) else values) * jnp.abs(error) ** 2)


def majorized(
    dense: jax.Array,
    weights: Weights,
    start: Matrix,
    fit: Callable[[jax.Array], Matrix],
    rounds: int = 12,
) -> Any:
    """Improves ``start`` by fits to targets that majorise the weighted error.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        weights: What matters more.
        start: A first fit.
        fit: The best unweighted fit to a dense matrix, of the same structure as ``start``.
        rounds: How many fits.

    Returns:
        The fit of least weighted error among ``start`` and all rounds; where ``fit`` is the optimum
        the error never grows from round to round.

    Reference:
        Srebro and Jaakkola (2003), "Weighted low-rank approximations", sec. 3, for any structure;
        with a covariance, the same step by its largest eigenvalue.
    """
    step = _step(weights, dense.dtype)
    best, now = start, start.to_dense()
    least = weighted_error(dense, now, weights)
    for _ in range(rounds):
        found = fit(now + step(dense - now))
        now = found.to_dense()
        error = weighted_error(dense, now, weights)
        better = error < least
        best = jax.tree.map(lambda a, b, better=better: jnp.where(better, a, b), found, best)
        least = jnp.minimum(error, least)
    return best


def _step(weights: Weights, dtype: Any) -> Callable[[jax.Array], jax.Array]:
    values = weights.values.astype(dtype)
    if isinstance(weights, Covariance):
        largest = jnp.linalg.norm(values, 2)
        return lambda error: values @ error / largest
    share = values / jnp.max(jnp.abs(values))
    return lambda error: (share[:, None] if isinstance(weights, Rows) else share) * error
