"""Weighted fits for structures that have none of their own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.matrices._base import Matrix
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._weights import Covariance, Rows, Weights

__all__ = ["majorized", "weighted_error"]

ENOUGH = 1e-4
"""Known values stop when a round of plain steps takes off less than this share of the error."""


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
    rounds: int = 8,
) -> Any:
    """Improves ``start`` by fits to targets that majorise the weighted error.

    A plain step never makes the error grow where ``fit`` is the optimum. Steps are lengthened while
    that pays, and a round that does not is undone and followed by a plain step.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        weights: What matters more.
        start: A first fit.
        fit: The best unweighted fit to a dense matrix, of the same structure as ``start``.
        rounds: The most fits; known values stop when a plain step no longer pays.

    Returns:
        The fit of least weighted error among ``start`` and all rounds.

    Reference:
        Srebro and Jaakkola (2003), "Weighted low-rank approximations", sec. 3, for any structure;
        with a covariance, the same step by its largest eigenvalue. The longer steps are not theirs.
    """
    weigh, scale = _weighing(weights, dense.dtype)
    best, now = start, start.to_dense()
    pull = weigh(dense - now)  # of the weights on what is missed: half the gradient
    least = _inner(dense - now, pull)
    length = jnp.ones((), least.dtype)
    for _ in range(rounds):
        found = fit(now + (length / scale).astype(dense.dtype) * pull)
        formed = found.to_dense()
        pulled = weigh(dense - formed)
        error = _inner(dense - formed, pulled)
        better = error < least
        if not isinstance(error, Tracer) and float(length) == 1:
            enough = float(least - error) <= ENOUGH * float(least)
        else:
            enough = False
        best = jax.tree.map(lambda a, b, better=better: jnp.where(better, a, b), found, best)
        now, pull = jnp.where(better, formed, now), jnp.where(better, pulled, pull)
        least = jnp.minimum(error, least)
        length = jnp.where(better, 2 * length, 1)
        if enough:
            break
    return best


def _weighing(weights: Weights, dtype: Any) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
    """The weights as a linear map of errors, and a bound on how much it enlarges them."""
    values = weights.values.astype(dtype)
    if isinstance(weights, Covariance):
        largest = _largest_eigenvalue(values.astype(wide_dtype(dtype)))
        return lambda error: values @ error, jnp.where(largest > 0, largest, 1)
    shares = values[:, None] if isinstance(weights, Rows) else values
    return lambda error: shares * error, jnp.max(jnp.abs(values))


def _inner(error: jax.Array, pull: jax.Array) -> jax.Array:
    return jnp.sum((error.conj() * pull).real)


def _largest_eigenvalue(values: jax.Array) -> jax.Array:
    """An upper estimate of the largest eigenvalue of a positive semi-definite matrix.

    Powers of a block reach it from below; two hundredths cover what is left, and no row sum of
    magnitudes is exceeded, which bounds it from above.
    """
    block = jax.random.normal(jax.random.key(0), (values.shape[0], 4), values.dtype)
    for _ in range(20):
        block = values @ jnp.linalg.qr(block)[0]
    found = 1.02 * jnp.linalg.norm(jnp.linalg.qr(block)[1], 2)
    return jnp.minimum(found, jnp.max(jnp.sum(jnp.abs(values), axis=0)))
