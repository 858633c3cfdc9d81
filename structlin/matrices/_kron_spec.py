"""Specs of Kronecker products and of sums of them."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._base import Matrix
from structlin.matrices._kronecker import Kronecker
from structlin.matrices._kronecker_shapes import Shapes, entries, full_rank_shapes, largest_within
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._sum import Sum
from structlin.matrices._weights import Fisher, Rows

__all__ = ["Kron"]


class Kron(Spec):
    """Asks for a Kronecker product, or for a sum of several.

    With no size it is the smallest one of full rank; the shapes ``(m_i, n_i)`` are of full rank
    when ``prod(min(m_i, n_i)) == min(m, n)``. With ``compression`` it is the largest of full rank
    within the budget, and with ``shapes`` exactly what they say. All ``terms`` have the same shapes
    and share the budget.

    Attributes:
        compression: Dense bytes over stored bytes to reach.
        factors: How many factors.
        shapes: The shape of each factor; of any rank.
        terms: How many products are added: any matrix is the sum of enough of them.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Thakker et al. (2019), "Compressing RNNs for IoT devices by 15-38x using Kronecker
        products". There the prime factors of the two sides are merged and paired in opposite order,
        which gives up rank; here every split is tried and full rank is kept.
    """

    weighs = (Rows, Fisher)
    size_field = "shapes"

    compression: float | None = None
    factors: int = 2
    shapes: Shapes | None = None
    terms: int = 1

    def __post_init__(self) -> None:
        if self.shapes is not None:
            pairs = tuple(tuple(int(v) for v in s) for s in self.shapes)
            if any(len(s) != 2 or min(s) < 1 for s in pairs) or not pairs:
                raise ValueError(f"Kron shapes are pairs of positive sizes; given {self.shapes}.")
            object.__setattr__(self, "shapes", pairs)
            object.__setattr__(self, "factors", len(pairs))
        if self.factors < 1:
            raise ValueError(f"Kron needs at least one factor; given factors={self.factors}.")
        if self.terms < 1:
            raise ValueError(f"Kron needs at least one term; given terms={self.terms}.")
        check_size(self, required=False)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "Kron":
        if self.shapes is not None:
            rows, cols = (math.prod(s[i] for s in self.shapes) for i in (0, 1))
            if (rows, cols) != tuple(shape):
                raise ValueError(
                    f"Kron shapes {self.shapes} make a {rows} x {cols} matrix; a "
                    f"{shape[0]} x {shape[1]} one is needed: their rows must multiply to "
                    f"{shape[0]} and their columns to {shape[1]}."
                )
            return self._checked()
        unit = jnp.dtype(dtype).itemsize * self.terms
        choices = full_rank_shapes(*shape, self.factors)  # smallest first
        if self.compression is None:
            return Kron(shapes=choices[0], terms=self.terms)._checked()
        shapes = largest_within(choices, budget(self, shape, dtype) // unit)
        if shapes is None:
            what = f"{choices[0]} of full rank" + f", {self.terms} times" * (self.terms > 1)
            raise too_small(self, shape, dtype, entries(choices[0]) * unit, what)
        return Kron(shapes=shapes, terms=self.terms)._checked()

    def _checked(self) -> "Kron":
        sizes = [m * n for m, n in self.shapes or ()]
        most = math.prod(sizes) // max(sizes)
        if self.terms > most:
            raise ValueError(
                f"{most} terms of shapes {self.shapes} make any matrix; given terms={self.terms}: "
                "ask for fewer."
            )
        return self

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Matrix:
        shapes = self.sized(shape, dtype).shapes or ()
        draw = jax.nn.initializers.lecun_normal()  # variances multiply to 1 / m
        even = jnp.asarray(self.terms**-0.5, dtype)

        def term(key: jax.Array) -> Kronecker:
            keys = jax.random.split(key, len(shapes))
            factors = [draw(k, s, dtype) for k, s in zip(keys, shapes, strict=True)]
            return Kronecker((factors[0] * even, *factors[1:]) if self.terms > 1 else (*factors,))

        if self.terms == 1:
            return term(key)
        return Sum.of(*map(term, jax.random.split(key, self.terms)))

    def _fit(self, dense: jax.Array, weights: Any) -> Matrix:
        shapes = self.sized_for(dense).shapes or ()
        values = None if weights is None else weights.values
        terms = decompose.nearest_kronecker_terms(dense, shapes, self.terms, weights=values)
        return Sum.of(*map(Kronecker, terms))
