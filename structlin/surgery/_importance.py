"""Which entries of the weights matter, from a loss and batches."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices import combine, is_matrix, partition
from structlin.specs import Fisher
from structlin.surgery._paths import leaf_paths

__all__ = ["fisher"]


def fisher(
    loss: Callable[[Any, Any], jax.Array], params: Any, batches: Iterable[Any]
) -> dict[str, Fisher]:
    """The mean of squared gradients of every weight, for ``importance=`` and ``weights=``.

    A change ``E`` of the weights raises the loss by about half of ``sum values * E^2``. That of one
    example at a time is the diagonal of the empirical Fisher information; batches of several give
    the squares of their mean gradients, which is quicker and rougher.

    Args:
        loss: ``loss(params, batch)``, a number.
        params: The parameters of a Linen model.
        batches: What ``loss`` takes, one after the other; all of the same shapes, or it compiles
            for each.

    Returns:
        Path -> weights of the entries, for the arrays of two axes or more.

    Raises:
        ValueError: There are no batches, or a gradient is not finite.
    """
    train, fixed = partition(params)

    @jax.jit
    def add(total: Any, train: Any, batch: Any) -> Any:
        grads = jax.grad(lambda t: loss(combine(t, fixed), batch))(train)
        return jax.tree.map(lambda t, g: t + jnp.abs(g.astype(t.dtype)) ** 2, total, grads)

    total = jax.tree.map(lambda x: jnp.zeros(x.shape, _real(x.dtype)), train)
    count = 0
    for batch in batches:
        total, count = add(total, train, batch), count + 1
    if not count:
        raise ValueError("fisher needs at least one batch; given none.")
    found = {
        path: Fisher(leaf / count)
        for path, leaf in leaf_paths(total).items()
        if not is_matrix(leaf) and leaf is not None and leaf.ndim > 1
    }
    wrong = [p for p, f in found.items() if not bool(jnp.isfinite(f.values).all())]
    if wrong:
        raise ValueError(f"The gradients of {wrong} are not finite.")
    return found


def _real(dtype: Any) -> Any:
    return jnp.promote_types(jnp.finfo(dtype).dtype, jnp.float32)
