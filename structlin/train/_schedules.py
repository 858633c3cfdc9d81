"""How the share of pruned entries, or the size below which they are pruned, grows with the steps.

Each is an ``optax.Schedule``: a function of the step, traced or not.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

__all__ = [
    "constant_sparsity",
    "cosine_share",
    "cubic_sparsity",
    "one_shot_sparsity",
    "threshold_ramp",
]

Schedule = Callable[[Any], jax.Array]


def constant_sparsity(final: float = 1.0) -> Schedule:
    """The sparsity ``final`` at every step: what is pruned is pruned at once."""
    return lambda count: jnp.full_like(count, final, jnp.result_type(float))


def one_shot_sparsity(final: float, step: int) -> Schedule:
    """No sparsity before ``step`` and ``final`` from it on."""
    return lambda count: jnp.where(count >= step, final, 0.0)


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


def threshold_ramp(q: float, begin: int, ramp: int, end: int, boost: float = 1.5) -> Schedule:
    """A size below which entries are pruned: it rises slowly until ``ramp``, faster until ``end``.

    Args:
        q: The threshold to end at, about: the 90th percentile of the magnitudes that the weights
            have after an earlier, dense run, ``jnp.quantile(jnp.abs(w), 0.9)``.
        begin: The step at which it leaves zero.
        ramp: The step from which it rises ``boost`` times as fast.
        end: The step after which it is constant.
        boost: The second slope over the first, 1.5 to 2 in the paper.

    Returns:
        A function from the step to the threshold, for `Support`.

    Raises:
        ValueError: ``begin``, ``ramp`` and ``end`` are not in this order, or ``q`` is not positive.

    Reference:
        Narang et al. (2017), "Exploring sparsity in recurrent neural networks", sec. 3; its
        ``freq`` cancels. The first slope does not depend on ``boost``, so that one above 1.5 ends
        above ``q``.
    """
    if not 0 <= begin <= ramp <= end or begin == end or q <= 0:
        raise ValueError(
            "threshold_ramp needs 0 <= begin <= ramp <= end, begin < end and q > 0; given "
            f"{begin=}, {ramp=}, {end=}, {q=}."
        )
    slope = 2 * q / (2 * (ramp - begin) + 3 * (end - ramp))

    def schedule(count: jax.Array) -> jax.Array:
        step = jnp.minimum(count, end)
        early = step - begin + 1
        late = ramp - begin + 1 + boost * (step - ramp + 1)
        return jnp.where(step < begin, 0.0, slope * jnp.where(step < ramp, early, late))

    return schedule


def cosine_share(first: float, begin: int, end: int) -> Schedule:
    """A share that falls from ``first`` at ``begin`` to 0 at ``end`` along half a cosine.

    Reference:
        Evci et al. (2020), "Rigging the lottery", sec. 3, ``f_decay``.
    """

    def schedule(count: jax.Array) -> jax.Array:
        progress = jnp.clip((count - begin) / max(end - begin, 1), 0.0, 1.0)
        return first / 2 * (1 + jnp.cos(jnp.pi * progress))

    return schedule
