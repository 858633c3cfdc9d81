"""The error of a fit as its weights define it, in NumPy."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from structlin.specs import Covariance, Fisher, Rows

__all__ = [
    "by_row",
    "double_dtype",
    "entry_shares",
    "relative_error",
    "squared_error",
    "wide_dtype",
]


def squared_error(dense: Any, fitted: Any, weights: Any) -> float:
    """The squared error that ``weights`` define, in double precision of the sums."""
    error = np.asarray(dense, wide_dtype(dense)) - np.asarray(fitted, wide_dtype(dense))
    if weights is None:
        return _sum_of_squares(error)
    values = np.asarray(weights.values, np.float32)
    if isinstance(weights, Covariance):
        found = np.einsum("ij,ij->", error.conj(), values @ error, dtype=double_dtype(error)).real
        return max(float(found), 0.0)  # rounding may go below, of inputs that span few dimensions
    shares = values[:, None] if isinstance(weights, Rows) else values
    return float(np.sum(shares * np.abs(error) ** 2, dtype=np.float64))


def relative_error(dense: Any, fitted: Any, weights: Any) -> float:
    """Root of the squared error over that of zero; 0 for a weight that is zero and stays so."""
    whole = squared_error(dense, np.zeros(dense.shape, dense.dtype), weights)
    return float(np.sqrt(squared_error(dense, fitted, weights) / (whole or 1.0)))


def _sum_of_squares(x: np.ndarray) -> float:
    return float(np.sum(np.abs(x) ** 2, dtype=np.float64))


def wide_dtype(x: Any) -> Any:
    """The dtype of ``x``, single precision at least."""
    return np.dtype(jnp.promote_types(x.dtype, jnp.float32))


def double_dtype(x: np.ndarray) -> Any:
    """The dtype of ``x``, double precision at least."""
    return np.result_type(x.dtype, np.float64)


def entry_shares(weights: Any) -> np.ndarray | None:
    """The importance of each entry, ``(m, n)`` or ``(m, 1)``."""
    if weights is None:
        return None
    if isinstance(weights, Fisher):
        return np.asarray(weights.values, np.float32)
    return np.asarray(by_row(weights).values, np.float32)[:, None]


def by_row(weights: Any) -> Rows:
    """Weights of any kind as the nearest weights of rows."""
    values = jnp.asarray(weights.values)
    if isinstance(weights, Covariance):
        return Rows(jnp.maximum(jnp.diagonal(values).real, 0))
    return Rows(jnp.mean(values, axis=1)) if isinstance(weights, Fisher) else weights
