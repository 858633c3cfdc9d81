"""What makes some entries of a matrix matter more than others when it is fitted."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = ["Covariance", "Fisher", "Rows", "Weights", "as_weights"]


class Rows(NamedTuple):
    """Importance of each row: the error is ``sum_i values_i * ||W_i - V_i||^2``.

    Attributes:
        values: ``(m,)``, non-negative, such as the frequencies of words.
    """

    values: jax.Array


class Fisher(NamedTuple):
    """Importance of each entry: the error is ``sum_ij values_ij * |W_ij - V_ij|^2``.

    Attributes:
        values: ``(m, n)``, non-negative, such as squared gradients (the Fisher information's
            diagonal).
    """

    values: jax.Array


class Covariance(NamedTuple):
    """How inputs vary together: the error is ``E ||x W - x V||^2 = tr((W - V)^H C (W - V))``.

    Attributes:
        values: ``C = E[x^H x]`` of rows ``x``, ``(m, m)``, Hermitian and positive semi-definite.
    """

    values: jax.Array


Weights = Rows | Fisher | Covariance
"""Any of the three."""


def as_weights(name: str, weights: Any, shape: tuple[int, int]) -> Weights | None:
    """``weights`` of a fit by its kind, checked.

    Args:
        name: The spec that fits, for messages.
        weights: ``None``, one of the three classes, or an array whose shape tells which it is.
        shape: ``(m, n)`` of the matrix to fit.

    Raises:
        ValueError: The shape fits none, or fits two kinds; or an entry is negative or not finite.
    """
    if weights is None:
        return None
    m, n = shape
    if not isinstance(weights, Weights):
        found = jnp.shape(weights)
        kinds = {(m,): Rows, (m, n): Fisher, (m, m): Covariance}
        if m == n and found == (m, m):
            raise ValueError(
                f"{name}.fit: weights of shape {found} for a square matrix may be one for each "
                "entry or a covariance of inputs: wrap them in structlin.specs.Fisher or "
                "structlin.specs.Covariance."
            )
        if found not in kinds:
            raise ValueError(
                f"{name}.fit needs one non-negative weight for each of the {m} rows ({m},), one "
                f"for each entry ({m}, {n}), or a covariance of inputs ({m}, {m}); given shape "
                f"{found}."
            )
        weights = kinds[found](weights)
    weights = type(weights)(jnp.asarray(weights.values))
    _check(name, weights, shape)
    return weights


def _check(name: str, weights: Weights, shape: tuple[int, int]) -> None:
    m, n = shape
    kind, values = type(weights).__name__, weights.values
    needed = {"Rows": (m,), "Fisher": (m, n), "Covariance": (m, m)}[kind]
    if values.shape != needed:
        raise ValueError(
            f"{name}.fit of a {m} x {n} matrix needs {kind} weights of shape {needed}; given "
            f"{values.shape}."
        )
    if isinstance(values, Tracer):
        return
    known = np.asarray(values)
    if isinstance(weights, Covariance):
        if not np.allclose(known, known.conj().T, rtol=1e-3, atol=1e-6 * np.abs(known).max()):
            raise ValueError(
                f"{name}.fit needs a finite covariance that equals its conjugate transpose."
            )
    elif not np.isfinite(known).all() or (known < 0).any() or not known.any():
        each = f"each of the {m} rows" if isinstance(weights, Rows) else "each entry"
        raise ValueError(
            f"{name}.fit needs one non-negative weight for {each}; given some that are negative or "
            "not finite, or only zeros."
        )
