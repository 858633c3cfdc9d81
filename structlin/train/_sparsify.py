"""Pruning as an optax transformation: exact zeros after ``apply_updates``, masks in the state."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from structlin.decompose import magnitude_mask
from structlin.matrices import Masked
from structlin.train._schedules import cubic_sparsity

__all__ = ["SparsifyState", "sparsify", "targets"]


class SparsifyState(NamedTuple):
    """The state of `sparsify`.

    Attributes:
        step: Steps taken, ``()``.
        masks: For each pruned leaf, by path, which entries live.
        inner: The state of the inner transformation.
    """

    step: jax.Array
    masks: dict[str, jax.Array]
    inner: Any


def targets(params: Any) -> dict[str, float]:
    """The densities that the sparse matrices of ``params`` ask for, as `sparsify` takes them.

    Args:
        params: A tree with `structlin.matrices.Masked` in it.

    Returns:
        For each, the pattern of its values' path and its density.

    Raises:
        ValueError: There is none.
    """
    found = {
        re.escape(_path(path) + "/values"): node.density
        for path, node in jax.tree_util.tree_leaves_with_path(
            params, is_leaf=lambda x: isinstance(x, Masked)
        )
        if isinstance(node, Masked)
    }
    if not found:
        raise ValueError("No sparse matrix in training form (Masked) is in these parameters.")
    return found


def sparsify(
    inner: optax.GradientTransformation,
    densities: Mapping[str, float],
    *,
    begin: int = 0,
    end: int = 1000,
    every: int = 10,
    axis: int | None = 0,
) -> optax.GradientTransformationExtraArgs:
    """Prunes parameters by magnitude while ``inner`` trains them.

    The updates that it returns land on the constraint: after ``optax.apply_updates`` every pruned
    entry is exactly zero, whatever momentum or weight decay the inner transformation has. Pruned
    entries get no gradient and do not come back. It must be the outermost transformation that
    changes updates; ``optax.MultiSteps`` and ``apply_if_finite`` may be around it.

    Args:
        inner: What trains the parameters.
        densities: Patterns that match a leaf's whole path (``"lstm/h/kernel/sparse/values"``, in
            NNX without the last ``/value``) to the density in (0, 1] at the end; the first match
            counts. `targets` reads them from the parameters.
        begin: The step at which pruning starts.
        end: The step from which the final density holds; the density falls as `cubic_sparsity` has
            it.
        every: Steps between two changes of the masks.
        axis: The axis within which entries compete: ``0``, the entries of a column, so that packing
            needs no padding; ``None``, all entries.

    Returns:
        A transformation whose ``update`` needs ``params``.

    Raises:
        ValueError: On ``init``, when a pattern matches nothing or a density is out of range.

    Reference:
        Zhu and Gupta (2017), "To prune, or not to prune"; there all entries of a tensor compete.
    """
    if not 0 <= begin <= end or every < 1:
        raise ValueError(
            f"sparsify needs 0 <= begin <= end and every >= 1; given {begin=}, {end=}, {every=}."
        )
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> SparsifyState:
        leaves = {_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
        _check(densities, list(leaves))
        masks = {
            path: jnp.ones_like(x, bool) for path, x in leaves.items() if _match(densities, path)
        }
        return SparsifyState(jnp.zeros((), jnp.int32), masks, inner.init(params))

    def update(updates: Any, state: SparsifyState, params: Any = None, **extra: Any):
        if params is None:
            raise ValueError("sparsify needs the parameters: call update(grads, state, params).")
        step = state.step
        due = (step >= begin) & (step <= end) & ((step - begin) % every == 0) | (step == end)

        def new_mask(path: str, weight: jax.Array) -> jax.Array:
            final = 1.0 - (_match(densities, path) or 1.0)
            density = 1.0 - cubic_sparsity(final, begin, end)(step)
            old = state.masks[path]
            return jax.lax.cond(
                due, lambda: old & magnitude_mask(weight, density, axis), lambda: old
            )

        weights = {_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
        masks = {path: new_mask(path, weights[path]) for path in state.masks}
        grads = _where(masks, updates, jax.tree.map(jnp.zeros_like, updates))
        updates, inner_state = inner.update(grads, state.inner, params, **extra)
        updates = _where(masks, updates, jax.tree.map(jnp.negative, params))
        return updates, SparsifyState(jnp.asarray(optax.safe_increment(step)), masks, inner_state)

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def _where(masks: dict[str, jax.Array], tree: Any, other: Any) -> Any:
    """``tree`` where a leaf has no mask or its mask is true, and ``other`` elsewhere."""

    def one(path: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        mask = masks.get(_path(path))
        return x if mask is None else jnp.where(mask, x, y.astype(x.dtype))

    return jax.tree_util.tree_map_with_path(one, tree, other)


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def _match(densities: Mapping[str, float], path: str) -> float | None:
    return next((d for pattern, d in densities.items() if re.fullmatch(pattern, path)), None)


def _check(densities: Mapping[str, float], paths: list[str]) -> None:
    for pattern, density in densities.items():
        if not 0 < density <= 1:
            raise ValueError(f"A density is in (0, 1]; given {density} for {pattern!r}.")
        if not any(re.fullmatch(pattern, path) for path in paths):
            raise ValueError(f"Pattern {pattern!r} matches no parameter; there are: {paths}.")
