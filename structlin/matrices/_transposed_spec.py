"""Asking for the transpose of a kind of matrix."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._spec import Spec
from structlin.matrices._weights import Fisher

__all__ = ["TransposedSpec"]


class TransposedSpec(Spec):
    """Asks for the transpose of a matrix of the inner kind.

    It gives columns what the inner kind gives rows: ``Transposed(GroupReduce(...))`` is for the
    kernel of a softmax, whose columns are words. Frequencies of words are then `Fisher` weights
    that are constant within columns.

    Attributes:
        inner: How the transpose is made, ``(n, m)``.
    """

    weighs = (Fisher,)

    inner: Spec

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "TransposedSpec":
        return TransposedSpec(self.inner.sized((shape[1], shape[0]), dtype))

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        m, n = shape
        drawn = self.inner.init(key, (n, m), dtype)
        # Of a structure without a scaled form, such as codes, the variance stays that of 1 / n.
        scaled = drawn._times_scalar(jnp.asarray((n / m) ** 0.5, dtype))
        return (drawn if scaled is None else scaled).T

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        return self.inner.fit(dense.T, weights and Fisher(weights.values.T)).T
