"""Pruning as an optax transformation: exact zeros after ``apply_updates``, masks in the state."""

from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from structlin.train._masks import count_of, exchange, masks_above, random_masks, units_alive
from structlin.train._schedules import Schedule, constant_sparsity, cosine_share, cubic_sparsity
from structlin.train._scores import SCORES, Score
from structlin.train._supports import Axis, Densities, Support, leaf_path, match_supports

__all__ = ["SparsifyState", "sparsify"]


class SparsifyState(NamedTuple):
    """The state of `sparsify`.

    Attributes:
        step: Steps taken, ``()``.
        masks: For each pruned leaf, by path, which entries live.
        inner: The state of the inner transformation.
        sums: For each pruned leaf, what its score has summed up; empty for magnitudes.
    """

    step: jax.Array
    masks: dict[str, jax.Array]
    inner: Any
    sums: dict[str, jax.Array]


class _Plan(NamedTuple):
    """When and how the masks change; what `sparsify` was told, as its parts need it."""

    begin: int
    end: int
    every: int
    schedule: Schedule
    score: Score
    regrow: float

    def due(self, step: jax.Array) -> jax.Array:
        """Whether the masks change at ``step``."""
        between = (step >= self.begin) & (step <= self.end)
        return between & ((step - self.begin) % self.every == 0) | (step == self.end)

    def masks(
        self, support: Support, weights: Any, grads: Any, sums: Any, masks: Any, step: jax.Array
    ) -> list[jax.Array]:
        """The new masks of leaves that compete with each other."""
        alive = units_alive(support, masks)
        score = self.score.units(support, weights, sums)
        if support.threshold is not None:
            kept = masks_above(support, alive, score, step)
        else:
            growth = None
            if self.regrow:
                slope = SCORES["magnitude"].units(support, grads, [None] * len(grads))
                growth = slope, cosine_share(self.regrow, self.begin, self.end)(step)
            count = count_of(support, score.shape[-2], self.schedule(step))
            kept = exchange(alive, score, count, growth)
        return support.from_lines(kept, [w.shape for w in weights])


def sparsify(
    inner: optax.GradientTransformation,
    densities: Densities,
    *,
    begin: int = 0,
    end: int = 1000,
    every: int = 10,
    axis: Axis = 0,
    schedule: Schedule | None = None,
    score: Literal["magnitude", "movement", "fisher"] = "magnitude",
    regrow: float = 0.0,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Prunes parameters while ``inner`` trains them.

    The updates that it returns land on the constraint: after ``optax.apply_updates`` every pruned
    entry is exactly zero, whatever momentum or weight decay the inner transformation has. Pruned
    entries get no gradient and, without ``regrow``, do not come back. It must be the outermost
    transformation that changes updates; ``optax.MultiSteps`` and ``apply_if_finite`` may be around
    it, and `check_sparse` tells whether all went well.

    Three common ways, beside gradual pruning by magnitude, which is the default:

    * A random support that never changes: ``key=jax.random.key(0), end=0``. To save the memory of
      the zeros as well, train the packed form instead: ``structlin.pack`` of a `Sparse` or `Doped`
      that is drawn pruned, through ``structlin.partition``.
    * RigL: ``key=jax.random.key(0), regrow=0.3``. It has the density of the end from the start.
    * A growing threshold: ``{pattern: Support(threshold=threshold_ramp(...))}``.

    Args:
        inner: What trains the parameters.
        densities: Patterns that match a leaf's whole path (``"lstm/h/kernel/sparse/values"``, in
            NNX without the last ``/value``) to the density in (0, 1] at the end, or to a `Support`,
            which also has blocks, N:M and thresholds; the first match counts. `targets` reads them
            from the parameters.
        begin: The step at which pruning starts.
        end: The last step at which the masks change.
        every: Steps between two changes of the masks.
        axis: What competes where a density is given: ``0``, the entries of a column, so that
            packing needs no padding; ``None``, all entries of a leaf; ``"all"``, those of all
            leaves that the pattern matches. A `Support` has its own.
        schedule: The sparsity at a step as a share of the final one, 0 to 1; it is looked at when
            the masks change. The default is ``cubic_sparsity(1.0, begin, end)``; with ``regrow`` or
            ``key`` it is ``constant_sparsity()``.
        score: What the entries compete by: ``"magnitude"``; ``"movement"``, the sum over the steps
            of minus weight times gradient; ``"fisher"``, the squared weight times the sum of the
            squared gradients. The sums are part of the state, as large as the leaf.
        regrow: The share of the living entries that is replaced at first by those whose gradients
            are the largest; it falls to 0 at ``end`` along half a cosine.
        key: A random key to draw a support of the final density when the state is initialised, of
            what is not zero as far as that suffices. Without one, all entries live at first.

    Returns:
        A transformation whose ``update`` needs ``params``.

    Raises:
        ValueError: An argument is out of range or, on ``init``, a pattern matches nothing, a
            density is out of range, or blocks do not tile a leaf.

    Reference:
        Zhu and Gupta (2017), "To prune, or not to prune"; there all entries of a tensor compete.
        Movement: Sanh, Wolf and Rush (2020), "Movement pruning", where a pruned entry's
        score may still rise and bring it back. Fisher: Theis et al. (2018), "Faster gaze prediction
        with dense networks and Fisher pruning", with the gradients of batches instead of examples.
        Regrowth: Evci et al. (2020), "Rigging the lottery", where a step that changes the masks
        trains nothing and the momentum of what grows is reset; here it decays while an entry is
        pruned, which has zero gradients. Random support: Han et al. (2024), "SLTrain".
    """
    _check(begin, end, every, score, regrow)
    if schedule is None:
        at_once = regrow or key is not None
        schedule = constant_sparsity() if at_once else cubic_sparsity(1.0, begin, end)
    plan = _Plan(begin, end, every, schedule, SCORES[score], regrow)
    inner = optax.with_extra_args_support(inner)

    def groups_of(params: Any) -> list[tuple[Support, list[str]]]:
        groups = match_supports(densities, params, axis)
        if any(s.threshold is not None for s, _ in groups) and (
            regrow or key is not None or score != "magnitude"
        ):
            raise ValueError("A threshold takes neither regrow nor key, and prunes by magnitude.")
        return groups

    def init(params: Any) -> SparsifyState:
        weights, masks = _by_path(params), {}
        for i, (support, paths) in enumerate(groups_of(params)):
            leaves = [weights[p] for p in paths]
            drawn = [jnp.ones_like(x, bool) for x in leaves]
            if key is not None:
                drawn = random_masks(support, leaves, jax.random.fold_in(key, i))
            masks |= dict(zip(paths, drawn, strict=True))
        sums = {p: plan.score.first_sum(weights[p]) for p in masks} if plan.score.gain else {}
        return SparsifyState(jnp.zeros((), jnp.int32), masks, inner.init(params), sums)

    def update(updates: Any, state: SparsifyState, params: Any = None, **extra: Any):
        if params is None:
            raise ValueError("sparsify needs the parameters: call update(grads, state, params).")
        step, weights, grads = state.step, _by_path(params), _by_path(updates)
        sums = {
            p: plan.score.next_sum(total, weights[p], grads[p]) for p, total in state.sums.items()
        }

        def changed() -> dict[str, jax.Array]:
            new = {}
            for support, paths in groups_of(params):
                w, g, old = ([d[p] for p in paths] for d in (weights, grads, state.masks))
                summed = [sums.get(p) for p in paths]
                new |= dict(zip(paths, plan.masks(support, w, g, summed, old, step), strict=True))
            return {p: new[p] for p in state.masks}

        masks = jax.lax.cond(plan.due(step), changed, lambda: state.masks)
        grads = _where(masks, updates, jax.tree.map(jnp.zeros_like, updates))
        updates, inner_state = inner.update(grads, state.inner, params, **extra)
        updates = _where(masks, updates, jax.tree.map(jnp.negative, params))
        count = jnp.asarray(optax.safe_increment(step))
        return updates, SparsifyState(count, masks, inner_state, sums)

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def _check(begin: int, end: int, every: int, score: str, regrow: float) -> None:
    if not 0 <= begin <= end or every < 1:
        raise ValueError(
            f"sparsify needs 0 <= begin <= end and every >= 1; given {begin=}, {end=}, {every=}."
        )
    if score not in SCORES:
        raise ValueError(f"sparsify has the scores {', '.join(SCORES)}; given {score!r}.")
    if not 0 <= regrow < 1:
        raise ValueError(f"sparsify needs regrow in [0, 1); given {regrow}.")


def _where(masks: dict[str, jax.Array], tree: Any, other: Any) -> Any:
    """``tree`` where a leaf has no mask or its mask is true, and ``other`` elsewhere."""

    def one(path: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        mask = masks.get(leaf_path(path))
        return x if mask is None else jnp.where(mask, x, y.astype(x.dtype))

    return jax.tree_util.tree_map_with_path(one, tree, other)


def _by_path(tree: Any) -> dict[str, jax.Array]:
    return {leaf_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(tree)}
