"""Block-coordinate alternation: one group of leaves trains while the others stand still."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from structlin.train._paths import check_patterns, first_match
from structlin.train._supports import leaf_path

__all__ = ["alternate"]

_ALWAYS = "always"


def alternate(
    inner: optax.GradientTransformation, phases: Mapping[str, int], *, every: int
) -> optax.GradientTransformationExtraArgs:
    """Trains the groups of leaves in turn, ``every`` steps each.

    Each group has an ``inner`` of its own, which stands still with it: moments, counts of steps and
    schedules go on where they stopped. The updates of the groups that wait are zero. What ``inner``
    makes of all leaves together, such as a global norm, it makes of a group.

    `sparsify` and `average_params` go around it: the masks of a group that waits still tighten.
    For a doped matrix: ``{".*/kronecker/.*": 0, ".*/sparse/.*": 1}``.

    Args:
        inner: What trains the parameters.
        phases: Patterns that match a leaf's whole path (in NNX without the last ``/value``) to the
            phase, 0 or more, in which it trains; the first match counts. Leaves that none matches
            train always.
        every: The steps of a phase; after the last comes the first.

    Returns:
        A transformation; its state is that of ``optax.partition``.

    Raises:
        ValueError: ``every`` or a phase is out of range; on ``init``, a pattern matches nothing.
    """
    if every < 1 or not phases or min(phases.values()) < 0:
        raise ValueError(
            "alternate needs every >= 1 and phases of 0 or more, one at least; given "
            f"{every=}, {phases=}."
        )
    count = max(phases.values()) + 1

    def turn(phase: int) -> Callable[..., Any]:
        return lambda step, **_: (step // every) % count == phase

    def labels(params: Any) -> Any:
        def label(path: Any, _: Any) -> str:
            phase = first_match(phases, leaf_path(path))
            return _ALWAYS if phase is None else f"phase_{phase}"

        return jax.tree_util.tree_map_with_path(label, params)

    groups = {f"phase_{p}": optax.conditionally_mask(inner, turn(p)) for p in range(count)}
    parts = optax.partition({**groups, _ALWAYS: inner}, labels)

    def init(params: Any) -> Any:
        check_patterns(phases, params)
        return parts.init(params)

    return optax.GradientTransformationExtraArgs(init, parts.update)
