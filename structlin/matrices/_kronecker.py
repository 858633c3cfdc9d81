"""Kronecker products ``W = F_1 (x) F_2 (x) ... (x) F_k``.

A row of ``prod(m_i)`` numbers is folded into a ``k``-way array and each factor is contracted
against its own axis, in the order that takes the fewest operations.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose, kernels
from structlin.matrices._base import Matrix
from structlin.matrices._kronecker_shapes import Shapes, entries, full_rank_shapes, largest_within
from structlin.matrices._spec import Spec, budget, check_size, too_small

__all__ = ["Kron", "Kronecker"]


class Kronecker(Matrix):
    """The Kronecker product of one or more dense factors.

    Attributes:
        factors: The ``i``-th is ``(m_i, n_i)``; the product is ``(prod m_i, prod n_i)``.
    """

    factors: tuple[jax.Array, ...]

    @property
    def _shapes(self) -> Shapes:
        return tuple((f.shape[-2], f.shape[-1]) for f in self.factors)

    @property
    def shape(self) -> tuple[int, int]:
        return math.prod(m for m, _ in self._shapes), math.prod(n for _, n in self._shapes)

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return kernels.kronecker_rmatmul(x, self.factors)

    def _take(self, rows: jax.Array) -> jax.Array:
        index = jnp.unravel_index(rows, [m for m, _ in self._shapes])
        picked = (jnp.asarray(f)[i] for f, i in zip(self.factors, index, strict=True))
        return functools.reduce(_outer_rows, picked)

    def transpose(self) -> "Kronecker":
        return Kronecker(tuple(f.T for f in self.factors))

    def to_dense(self) -> jax.Array:
        return functools.reduce(jnp.kron, self.factors)

    def flops(self) -> int:
        return kernels.kronecker_flops(self._shapes)

    def _solve(self, b: jax.Array) -> jax.Array:
        if any(m != n for m, n in self._shapes):
            return super()._solve(b)
        return Kronecker(tuple(jnp.linalg.inv(f) for f in self.factors)).matmul(b)

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        if any(m != n for m, n in self._shapes):
            return super()._slogdet()
        size, sign, logdet = self.shape[0], jnp.ones((), self.dtype), 0.0
        for f in self.factors:
            power = size // f.shape[0]
            s, d = jnp.linalg.slogdet(f)
            sign, logdet = sign * s**power, logdet + power * d
        return sign, jnp.asarray(logdet)


class Kron(Spec):
    """Asks for a Kronecker product.

    With no size it is the smallest one of full rank; the shapes ``(m_i, n_i)`` are of full rank
    when ``prod(min(m_i, n_i)) == min(m, n)``. With ``compression`` it is the largest of full rank
    within the budget, and with ``shapes`` exactly what they say.

    Attributes:
        compression: Dense bytes over stored bytes to reach.
        factors: How many factors.
        shapes: The shape of each factor; of any rank.

    Raises:
        ValueError: Both sizes are given, or one that makes no sense.

    Reference:
        Thakker et al. (2019), "Compressing RNNs for IoT devices by 15-38x using Kronecker
        products". There the prime factors of the two sides are merged and paired in opposite order,
        which gives up rank; here every split is tried and full rank is kept.
    """

    size_field = "shapes"

    compression: float | None = None
    factors: int = 2
    shapes: Shapes | None = None

    def __post_init__(self) -> None:
        if self.shapes is not None:
            pairs = tuple(tuple(int(v) for v in s) for s in self.shapes)
            if any(len(s) != 2 or min(s) < 1 for s in pairs) or not pairs:
                raise ValueError(f"Kron shapes are pairs of positive sizes; given {self.shapes}.")
            object.__setattr__(self, "shapes", pairs)
            object.__setattr__(self, "factors", len(pairs))
        if self.factors < 1:
            raise ValueError(f"Kron needs at least one factor; given factors={self.factors}.")
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
            return self
        itemsize = jnp.dtype(dtype).itemsize
        choices = full_rank_shapes(*shape, self.factors)  # smallest first
        if self.compression is None:
            return Kron(shapes=choices[0])
        most = budget(self, shape, dtype) // itemsize
        shapes = largest_within(choices, most)
        if shapes is None:
            what = f"{choices[0]} of full rank"
            raise too_small(self, shape, dtype, entries(choices[0]) * itemsize, what)
        return Kron(shapes=shapes)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Kronecker:
        shapes = self.sized(shape, dtype).shapes or ()
        draw = jax.nn.initializers.lecun_normal()  # variances multiply to 1 / m
        keys = jax.random.split(key, len(shapes))
        return Kronecker(tuple(draw(k, s, dtype) for k, s in zip(keys, shapes, strict=True)))

    def _fit(self, dense: jax.Array, weights: Any) -> Kronecker:
        del weights  # none are taken
        shapes = self.sized_for(dense).shapes or ()
        return Kronecker(decompose.nearest_kronecker(dense, shapes))


def _outer_rows(a: jax.Array, b: jax.Array) -> jax.Array:
    product = a[..., :, None] * b[..., None, :]
    return product.reshape(*a.shape[:-1], a.shape[-1] * b.shape[-1])
