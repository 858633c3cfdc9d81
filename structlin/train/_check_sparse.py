"""Whether trained parameters have the zeros that were asked for."""

from typing import Any

import jax.numpy as jnp
import jax.tree_util
import numpy as np

from structlin.train._masks import count_of
from structlin.train._supports import Axis, Densities, Support, leaf_path, match_supports

__all__ = ["check_sparse"]


def check_sparse(params: Any, densities: Densities, axis: Axis = 0) -> dict[str, float]:
    """The share of nonzero entries of each leaf that `sparsify` was to prune.

    Args:
        params: The trained parameters, outside ``jit``.
        densities: What `sparsify` was told.
        axis: What `sparsify` was told.

    Returns:
        Each leaf's path and its density.

    Raises:
        ValueError: More entries (blocks, rows, columns) are nonzero than the density at the end
            allows, or a pattern matches nothing.
    """
    leaves = {leaf_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
    wrong = []
    for support, paths in match_supports(densities, params, axis):
        fullest, allowed = _counts(support, [leaves[p] for p in paths])
        if fullest > allowed:
            wrong.append(f"{', '.join(paths)} ({fullest} where {allowed} may stay)")
    if wrong:
        raise ValueError(
            f"Too many nonzero entries or blocks: {'; '.join(wrong)}. Either the schedule of "
            "sparsify has not reached its end, or something outside sparsify changed its updates "
            "or the parameters: let sparsify be the outermost transformation."
        )
    paths = [p for _, group in match_supports(densities, params, axis) for p in group]
    return {p: float(np.count_nonzero(leaves[p]) / leaves[p].size) for p in paths}


def _counts(support: Support, leaves: list[Any]) -> tuple[int, int]:
    """The nonzero units of the fullest line and how many it may have."""
    used = support.lines([jnp.asarray(x != 0, jnp.float32) for x in leaves]) > 0
    total = used.shape[-2]
    allowed = total if support.threshold is not None else int(count_of(support, total))
    return int(used.sum(-2).max(initial=0)), allowed
