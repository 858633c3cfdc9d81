"""How much each entry matters: what competes when some must go."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from structlin.decompose import wide_dtype

__all__ = ["SCORES", "Score"]


class Score(NamedTuple):
    """The importance of an entry; that of a block is the mean over its entries.

    Attributes:
        rate: The importance, of the weights and of the sums.
        gain: What a step adds to the sums, of the weights and their gradients; ``None`` where
            nothing is summed.
        power: The importance is raised to it before the mean of a block is taken.
    """

    rate: Callable[[jax.Array, Any], jax.Array]
    gain: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    power: int = 1

    def units(self, support: Any, weights: list[jax.Array], sums: list[Any]) -> jax.Array:
        """The importance of the units that compete, in the lines of ``support``."""
        rated = [self.rate(_wide(w), s) for w, s in zip(weights, sums, strict=True)]
        if support.block != (1, 1):
            rated = [r**self.power for r in rated]
        return support.lines(rated)

    def first_sum(self, weight: jax.Array) -> jax.Array:
        """The sum before the first step, lying where ``weight`` lies."""
        return jnp.zeros_like(weight, _wide(weight).real.dtype)

    def next_sum(self, total: jax.Array, weight: jax.Array, grad: jax.Array) -> jax.Array:
        """The sum after one more gradient."""
        assert self.gain is not None
        return total + self.gain(_wide(weight), _wide(grad))


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(wide_dtype(x.dtype))


SCORES = {
    "magnitude": Score(lambda weight, _: jnp.abs(weight), power=2),
    "movement": Score(lambda _, total: total, lambda weight, grad: -(weight * grad).real),
    "fisher": Score(
        lambda weight, total: jnp.abs(weight) ** 2 * total,
        lambda _, grad: jnp.abs(grad) ** 2,
    ),
}
"""By the name that `sparsify` takes."""
