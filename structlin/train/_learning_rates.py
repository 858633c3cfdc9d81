"""Learning rates and initial scales that suit the factors of structured matrices."""

import math
import re
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from structlin.train._fans import Fans, fans
from structlin.train._supports import leaf_path

__all__ = [
    "initial_scales",
    "learning_rate_multipliers",
    "spectral_init",
    "structured_learning_rates",
]

_TABLES = (r"(.*/)?embedding(/.*)?",)
_ENTRIES = (r"(.*/)?values",)
"""Those of sparse matrices: alone they are drawn for their density, in doped ones small."""


def structured_learning_rates(
    params: Any, *, leave: Iterable[str] = _TABLES
) -> optax.GradientTransformation:
    """Scales the updates of each factor to what they would be in the dense matrix.

    Under the learning rate of a dense layer the factors of a structured one move too little or too
    much: a comparison at one rate for all compares rates. It goes after the inner optimizer and
    inside `sparsify`: ``optax.chain(optax.adam(1e-3), structured_learning_rates(params))``. Its
    numbers are `learning_rate_multipliers`, constants of the shapes.

    Args:
        params: As in `learning_rate_multipliers`; values do not matter.
        leave: As there.

    Returns:
        A transformation without state, for updates of the form of ``params`` or of the state of the
        NNX model that they come from.

    Raises:
        ValueError: There is no structured matrix; on ``init``, some of its arrays are missing.
    """
    multipliers = learning_rate_multipliers(params, leave=leave)

    def init(params: Any) -> optax.EmptyState:
        paths = {leaf_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)}
        if missing := sorted(set(multipliers) - paths):
            raise ValueError(f"These parameters lack {missing}; there are {sorted(paths)}.")
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params

        def one(path: Any, x: jax.Array) -> jax.Array:
            return x * multipliers.get(leaf_path(path), 1.0)

        return jax.tree_util.tree_map_with_path(one, updates), state

    return optax.GradientTransformation(init, update)


def learning_rate_multipliers(params: Any, *, leave: Iterable[str] = _TABLES) -> dict[str, float]:
    """What multiplies the learning rate of each factor, that of a dense matrix being 1.

    Args:
        params: A tree of arrays and matrices; of an NNX model ``structlin.nnx.params(model)``.
        leave: Patterns of paths that keep their rate: tables of embeddings, of which rows are taken
            and not summed.

    Returns:
        For each floating array of each structured matrix its path and ``rows / fan_in / factors``,
        and 1 for a single number.

    Raises:
        ValueError: There is no structured matrix, or one is a stack of several.

    Reference:
        Qiu et al. (2024), "Compute better spent: replacing dense layers with structured matrices",
        for Adam and others whose updates have the size of the learning rate. It was tried
        on feed-forward layers; in recurrent ones take it for a start, and sweep a factor of 4
        around it.
    """
    return {
        path: 1.0 if _left(path, leave) or size == 1 else fan.rows / fan.fan_in / fan.factors
        for path, fan, size in _sized(params)
    }


def initial_scales(params: Any) -> dict[str, float]:
    """How large each factor is, over what is advised for a start.

    Args:
        params: A tree of arrays and matrices; of an NNX model ``structlin.nnx.params(model)``.

    Returns:
        For each floating array of each structured matrix its path and its root mean square over
        ``min(1, sqrt(fan_out / fan_in)) / sqrt(fan_in)``. Far from 1 a learning rate that suits
        other layers does not suit this one. Co-matrices of doped ones start small on purpose.

    Raises:
        ValueError: There is no structured matrix, or one is a stack of several.

    Reference:
        Qiu et al. (2024); the spectral condition of Yang et al. (2023), "A spectral
        condition for feature learning".
    """
    leaves = {leaf_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}

    def scale(fan: Fans) -> float:
        return min(1.0, math.sqrt(fan.fan_out / fan.fan_in)) / math.sqrt(fan.fan_in)

    def size(leaf: jax.Array) -> float:
        wide = jnp.abs(leaf).astype(jnp.promote_types(leaf.real.dtype, jnp.float32))
        return float(jnp.sqrt(jnp.mean(jnp.square(wide))))

    return {path: size(leaves[path]) / scale(fan) for path, fan, _ in _sized(params)}


def spectral_init(params: Any, *, leave: Iterable[str] = _TABLES + _ENTRIES) -> Any:
    """Scales each factor to what is advised for a start, so that `initial_scales` are 1.

    The specs draw factors whose product has the variance of a dense kernel; which of the factors is
    the large one then follows from their shapes alone. It goes with `structured_learning_rates`.

    Args:
        params: Random parameters: a tree of arrays and matrices; of an NNX model
            ``structlin.nnx.params(model)``.
        leave: Patterns of paths that stay as they are; those of embeddings and of the entries of
            sparse matrices if not given. Single numbers and zeros stay too.

    Returns:
        ``params``, scaled.

    Raises:
        ValueError: There is no structured matrix, or one is a stack of several.

    Reference:
        As for `initial_scales`.
    """
    scales, leave = initial_scales(params), tuple(leave)

    def one(path: Any, x: jax.Array) -> jax.Array:
        scale = scales.get(leaf_path(path), 1.0)
        if x.size == 1 or scale == 0 or _left(leaf_path(path), leave):
            return x
        return (x / scale).astype(x.dtype)

    return jax.tree_util.tree_map_with_path(one, params)


def _sized(params: Any) -> list[tuple[str, Fans, int]]:
    """Path, fans and size of each floating array of each structured matrix."""
    leaves = {leaf_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
    return [(path, fan, leaves[path].size) for path, fan in fans(params).items()]


def _left(path: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in patterns)
