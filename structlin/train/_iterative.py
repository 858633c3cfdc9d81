"""Pruning in rounds: prune, retrain, and again; from an earlier state if wished."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from structlin.train._paths import check_patterns, map_matches
from structlin.train._sparsify import sparsify

__all__ = ["Round", "iterative_pruning", "keep_zeros", "pruning_densities", "scaled_dropout"]


class Round(NamedTuple):
    """What a round of `iterative_pruning` leaves.

    Attributes:
        density: The density it pruned to.
        params: The parameters, pruned and retrained.
    """

    density: float
    params: Any


def iterative_pruning(
    params: Any,
    patterns: Iterable[str],
    retrain: Callable[[Any, float], Any],
    densities: Iterable[float] = (0.5, 0.25, 0.1),
    *,
    rewind_to: Any = None,
    support: Callable[[float], Any] = float,
) -> Iterator[Round]:
    """Rounds of pruning by magnitude and retraining, one at a time.

    A round runs when it is asked for, so that the caller can measure what it left, and stop::

        for density, params in iterative_pruning(params, [".*/kernel"], retrain):
            print(density, loss(params))

    Args:
        params: The trained parameters.
        patterns: What is pruned: patterns that match a leaf's whole path.
        retrain: ``retrain(params, density)`` returns trained parameters; it keeps the zeros, by
            `keep_zeros`, and starts its own optimizer and schedule of learning rates.
        densities: The share of the entries that each round leaves; see `pruning_densities`.
        rewind_to: Parameters of an earlier step, from which each round trains again with the new
            zeros; all leaves go back. ``None`` trains on from what was pruned, which with a
            ``retrain`` that repeats the whole schedule is the rewinding of learning rates.
        support: What `sparsify` is told of a density, such as
            ``lambda d: Support(d, block=(4, 1))``.

    Yields:
        The density and the parameters after each round.

    Raises:
        ValueError: A pattern matches nothing or a density is out of range.

    Reference:
        Han et al. (2015), "Learning both weights and connections for efficient neural networks";
        Frankle and Carbin (2019), "The lottery ticket hypothesis", for ``rewind_to`` the first
        parameters; Renda et al. (2020), "Comparing rewinding and fine-tuning in neural network
        pruning", for later ones and for the learning rate. There the entries of a layer or of the
        network compete; here those of a column do unless ``support`` says otherwise.
    """
    patterns = tuple(patterns)
    for density in densities:
        params = _pruned(params, dict.fromkeys(patterns, support(density)))
        if rewind_to is not None:
            params = map_matches(
                lambda _, early, late: jnp.where(late != 0, early, jnp.zeros_like(early)),
                dict.fromkeys(patterns, True),
                rewind_to,
                params,
            )
        params = retrain(params, density)
        yield Round(density, params)


def pruning_densities(final: float, share: float = 0.2) -> tuple[float, ...]:
    """Densities that fall by ``share`` of the rest in each round, to ``final`` in the last.

    Args:
        final: The last density, in (0, 1).
        share: The share of the entries left that a round takes away, in (0, 1).

    Raises:
        ValueError: One of them is out of range.
    """
    if not 0 < final < 1 or not 0 < share < 1:
        raise ValueError(f"pruning_densities needs both in (0, 1); given {final=}, {share=}.")
    rounds = math.ceil(round(math.log(final) / math.log1p(-share), 9))
    return (*((1 - share) ** i for i in range(1, rounds)), final)


def scaled_dropout(rate: float, density: float) -> float:
    """The rate of dropout, ``rate`` in a dense layer, for one pruned to ``density``.

    Reference:
        Han et al. (2015), sec. 3.2: the rate falls as the root of the number of connections.
    """
    return rate * math.sqrt(density)


def keep_zeros(
    inner: optax.GradientTransformation, patterns: Iterable[str]
) -> optax.GradientTransformationExtraArgs:
    """Trains with ``inner``, and what is exactly zero stays exactly zero.

    For parameters that are pruned already: there is no mask, the zeros are the mask. They get no
    gradient, and their updates are zero whatever momentum or weight decay ``inner`` has. Like
    `sparsify` it must be the outermost transformation that changes updates.

    Args:
        inner: What trains the parameters.
        patterns: The pruned leaves: patterns that match a leaf's whole path, in NNX without the
            last ``/value``. Leaves that start at zero, such as biases, must not be among them.

    Returns:
        A transformation whose ``update`` needs ``params``; its state is that of ``inner``.

    Raises:
        ValueError: On ``init``, when a pattern matches nothing.
    """
    inner, kept = optax.with_extra_args_support(inner), dict.fromkeys(patterns, True)

    def init(params: Any) -> Any:
        check_patterns(kept, params)
        return inner.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise ValueError("keep_zeros needs the parameters: call update(grads, state, params).")

        def masked(tree: Any) -> Any:
            return map_matches(
                lambda _, x, weight: jnp.where(weight != 0, x, jnp.zeros_like(x)),
                kept,
                tree,
                params,
            )

        updates, state = inner.update(masked(updates), state, params, **extra)
        return masked(updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _pruned(params: Any, densities: dict[str, Any]) -> Any:
    """``params`` with all but the largest entries at zero, as `sparsify` has it at once."""
    pruning = sparsify(optax.set_to_zero(), densities, end=0)
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = pruning.update(nothing, pruning.init(params), params)
    return optax.apply_updates(params, updates)
