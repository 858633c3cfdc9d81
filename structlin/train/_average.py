"""Averages of the parameters over the steps, with the zeros of pruned entries."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

__all__ = ["AverageState", "average_params"]


class AverageState(NamedTuple):
    """The state of `average_params`.

    Attributes:
        step: Steps taken, ``()``.
        average: The averaged parameters, in single precision or wider.
        inner: The state of the inner transformation.
    """

    step: jax.Array
    average: Any
    inner: Any


def average_params(
    inner: optax.GradientTransformation, decay: float = 0.999
) -> optax.GradientTransformationExtraArgs:
    """Keeps the average of the parameters that ``inner`` leaves after each step.

    It is the plain mean of the first steps, ``1 / (1 - decay)`` of them, and an exponential average
    from then on; with ``decay=1`` it stays the mean of all. What is exactly zero in the parameters
    is exactly zero in the average, so that the average of a pruned model packs as the model does.
    The updates are those of ``inner``. ``optax.ema`` averages updates, not parameters.

    Everything that changes updates must be inside, `sparsify` too; ``optax.MultiSteps`` around it.
    ``optax.tree.get(state, "average")`` finds the average.

    Args:
        inner: What trains the parameters.
        decay: The weight of the past, in 0 to 1.

    Returns:
        A transformation whose ``update`` needs ``params``.

    Raises:
        ValueError: ``decay`` is out of range.

    Reference:
        Polyak and Juditsky (1992), "Acceleration of stochastic approximation by averaging", for
        the mean.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"average_params needs a decay in 0 to 1; given {decay}.")
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> AverageState:
        start = jax.tree.map(_wide, params)
        return AverageState(jnp.zeros((), jnp.int32), start, inner.init(params))

    def update(
        updates: Any, state: AverageState, params: Any = None, **extra: Any
    ) -> tuple[Any, AverageState]:
        if params is None:
            raise ValueError(
                "average_params needs the parameters: call update(grads, state, params)."
            )
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        past = jnp.minimum(decay, state.step / (state.step + 1))

        def one(mean: jax.Array, new: jax.Array) -> jax.Array:
            wide = _wide(new)
            moved = wide + past.astype(mean.real.dtype) * (mean - wide)
            return jnp.where(new == 0, jnp.zeros_like(moved), moved)

        average = jax.tree.map(one, state.average, optax.apply_updates(params, updates))
        step = jnp.asarray(optax.safe_increment(state.step))
        return updates, AverageState(step, average, inner_state)

    return optax.GradientTransformationExtraArgs(init, cast(Any, update))


def _wide(x: jax.Array) -> jax.Array:
    """A copy of ``x`` in single precision or wider: a small step would be lost in fewer bits."""
    return jnp.array(x, jnp.promote_types(x.dtype, jnp.float32))
