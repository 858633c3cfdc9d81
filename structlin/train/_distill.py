"""Losses by which a small model learns from a large one."""

import jax
import jax.numpy as jnp
import optax

from structlin.matrices import Matrix

__all__ = ["distill", "hidden_states", "soft_targets"]


def soft_targets(student: jax.Array, teacher: jax.Array, temperature: float = 1.0) -> jax.Array:
    """How far a student's softened distribution is from its teacher's.

    Args:
        student: Logits, ``(..., classes)``.
        teacher: Logits, ``(..., classes)``; no gradient goes there.
        temperature: What both are divided by; higher ones tell more of the unlikely classes.

    Returns:
        For each example ``temperature**2`` times the Kullback-Leibler divergence of the student
        from the teacher, ``(...)``: the factor keeps the size of the gradients at any temperature.

    Reference:
        Hinton et al. (2015), "Distilling the knowledge in a neural network", sec. 2; there it is
        the cross-entropy, which differs by the teacher's entropy and has the same gradient.
    """
    pair = _wide(jax.lax.stop_gradient(teacher)), _wide(student)
    log_p, log_q = (jax.nn.log_softmax(x / temperature, axis=-1) for x in pair)
    return temperature**2 * jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def hidden_states(
    student: jax.Array, teacher: jax.Array, projection: jax.Array | Matrix | None = None
) -> jax.Array:
    """The mean squared difference of hidden states.

    Args:
        student: ``(..., features)``.
        teacher: ``(..., teacher's features)``; no gradient goes there.
        projection: ``(features, teacher's features)``, an array or a matrix that trains with the
            student; needed where the widths differ.

    Returns:
        For each example the mean over the teacher's features, ``(...)``.

    Raises:
        ValueError: The widths differ and there is no projection, or it does not fit.

    Reference:
        Romero et al. (2015), "FitNets: hints for thin deep nets"; there half the sum.
    """
    sizes = student.shape[-1], teacher.shape[-1]
    fits = sizes[0] == sizes[1] if projection is None else tuple(projection.shape) == sizes
    if not fits:
        given = "none" if projection is None else tuple(projection.shape)
        raise ValueError(
            f"States of {sizes[0]} and {sizes[1]} features need a projection of shape {sizes}; "
            f"given {given}."
        )
    mapped = student if projection is None else student @ projection
    return jnp.mean(jnp.square(mapped - jax.lax.stop_gradient(teacher)), axis=-1)


def distill(
    student: jax.Array,
    teacher: jax.Array,
    labels: jax.Array,
    *,
    weights: tuple[float, float, float] = (1.0, 0.1, 1.0),
    temperature: float = 1.0,
) -> jax.Array:
    """The loss of a teacher and a student that learn together, or of a student alone.

    Args:
        student: Logits, ``(..., classes)``.
        teacher: Logits, ``(..., classes)``.
        labels: The right classes, integers ``(...)``.
        weights: Of the teacher's loss on the labels, of `soft_targets`, and of the student's loss
            on the labels. With the first at 0 the teacher does not learn.
        temperature: As in `soft_targets`.

    Returns:
        The sum for each example, ``(...)``.

    Reference:
        Ravi (2017), "ProjectionNet: learning efficient on-device deep networks using neural
        projections", for the three terms. Here the teacher learns from the labels alone; whether
        theirs also moves towards the student is not known to us.
    """
    hard = optax.softmax_cross_entropy_with_integer_labels
    first, middle, last = weights
    return (
        first * hard(_wide(teacher), labels)
        + middle * soft_targets(student, teacher, temperature)
        + last * hard(_wide(student), labels)
    )


def _wide(x: jax.Array) -> jax.Array:
    """``x`` in single precision or wider, in which sums of probabilities are taken."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
