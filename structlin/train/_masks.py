"""New masks from old ones: the least important units go, and some may come back."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from structlin.decompose import largest_mask
from structlin.train._supports import Support

__all__ = ["count_of", "exchange", "masks_above", "random_masks", "units_alive"]


def count_of(support: Support, units: int, share: Any = 1.0) -> Any:
    """How many of ``units`` stay when the sparsity has reached ``share`` of the final one.

    One at least, as in `structlin.specs.Sparse`. The last count is taken in Python, since single
    precision cannot count the entries of a large tensor.
    """
    final = max(1, round(support.share * units))
    density = 1.0 - share * (1.0 - support.share)
    falling = jnp.round(density * units).astype(jnp.int32)
    return jnp.where(share >= 1.0, final, jnp.maximum(falling, 1))


def units_alive(support: Support, masks: Sequence[jax.Array]) -> jax.Array:
    """Which of the units that compete live, in the lines of ``support``."""
    return support.lines([m.astype(jnp.float32) for m in masks]) > 0


def exchange(
    alive: jax.Array, score: jax.Array, count: Any, growth: tuple[jax.Array, Any] | None = None
) -> jax.Array:
    """The ``count`` units that live next, along axis -2.

    Args:
        alive: Those that live now, ``(..., units, lines)``.
        score: Their importance.
        count: How many shall live.
        growth: The importance by which units come to life, and the share of ``count`` that does.

    Returns:
        Which units live: the living ones of the largest score, less those to be replaced, and as
        many again of the largest second importance among all others. One that has just been dropped
        may come back.

    Reference:
        Evci et al. (2020), "Rigging the lottery", sec. 3 and algorithm 1.
    """
    living = jnp.where(alive, score, -jnp.inf)
    if growth is None:
        return alive & largest_mask(living, count, -2)
    attraction, share = growth
    replaced = jnp.round(share * count).astype(jnp.int32)
    kept = alive & largest_mask(living, count - replaced, -2)
    others = jnp.where(kept, -jnp.inf, attraction)
    return kept | (~kept & largest_mask(others, replaced, -2))


def masks_above(support: Support, alive: jax.Array, score: jax.Array, step: Any) -> jax.Array:
    """The living units whose magnitude is at least the threshold at ``step``."""
    assert support.threshold is not None
    size = score if support.block == (1, 1) else jnp.sqrt(score)
    return alive & (size >= support.threshold(step))


def random_masks(support: Support, leaves: Sequence[jax.Array], key: jax.Array) -> list[jax.Array]:
    """A random support of the final density for each leaf; what is zero already comes last."""
    filled = support.lines([(x != 0).astype(jnp.float32) for x in leaves]) > 0
    drawn = jnp.where(filled, jax.random.uniform(key, filled.shape), -1.0)
    kept = largest_mask(drawn, count_of(support, drawn.shape[-2]), -2)
    masks = support.from_lines(kept, [x.shape for x in leaves])
    # The order of the operands lets a mask lie on the devices where its weight lies.
    return [jnp.ones_like(x, bool) & mask for x, mask in zip(leaves, masks, strict=True)]
