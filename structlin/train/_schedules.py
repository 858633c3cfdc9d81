"""How the share of pruned entries grows with the steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

__all__ = ["cubic_sparsity"]

Schedule = Callable[[jax.Array], jax.Array]


def cubic_sparsity(final: float, begin: int, end: int, initial: float = 0.0) -> Schedule:
    """A sparsity that rises fast at first and slowly at the end, as an ``optax.Schedule``.

    Args:
        final: The sparsity from step ``end`` on, in 0 to 1.
        begin: The last step at ``initial``.
        end: The first step at ``final``.
        initial: The sparsity to start from.

    Returns:
        A function from the step to the sparsity.

    Reference:
        Zhu and Gupta (2017), "To prune, or not to prune", eq. 1, without its rounding of steps.
    """

    def schedule(count: jax.Array) -> jax.Array:
        progress = jnp.clip((count - begin) / max(end - begin, 1), 0.0, 1.0)
        done = jnp.where(count >= end, 1.0, progress)  # begin == end prunes at once
        return final + (initial - final) * (1.0 - done) ** 3

    return schedule
