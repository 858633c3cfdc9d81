"""A recurrence in native code: one call for a layer and a sequence."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from structlin.functional._dense import Kernel
from structlin.kernels import native
from structlin.matrices import Native

__all__ = ["in_xla", "native_recurrence", "runs_natively"]


def runs_natively(kind: str, parts: Any, projected: jax.Array, carry: Any) -> bool:
    """Whether there is native code for a recurrence.

    Args:
        kind: ``"lstm"`` or ``"gru"``; empty for a cell that has no native code.
        parts: The recurrent matrix, its bias and the cell's own parameters.
        projected: The inputs' projection, ``(time, ..., gates h)``.
        carry: The carry before.
    """
    recurrent, bias, extra = parts
    if not kind or not isinstance(recurrent, Native) or jax.tree.leaves(extra):
        return False
    # Of an LSTM the bias stands on the inputs' side; of a GRU the candidate alone has one here.
    short = bias is None or (kind == "gru" and bias.shape[-1] == recurrent.shape[0])
    rows = math.prod(projected.shape[1:-1])
    arrays = projected, *jax.tree.leaves(carry), *jax.tree.leaves(bias)
    return short and native.fits(recurrent._program(), rows, *arrays)


def native_recurrence(
    kind: str, definition: Any, parts: Any, projected: jax.Array, carry: Any
) -> tuple[Any, jax.Array]:
    """The last carry and the outputs, where `runs_natively`.

    Args:
        kind: As there, and so are the others.
        definition: The same as a function of parts, projection and carry in XLA, for where there is
            no CPU.
        parts: As there.
        projected: As there.
        carry: As there.
    """

    @jax.custom_batching.custom_vmap
    def run(parts: Any, projected: jax.Array, carry: Any) -> tuple[Any, jax.Array]:
        recurrent, bias, _ = parts
        if kind == "gru":
            outputs = native.gru(_program(recurrent), projected, carry, bias)
            return outputs[-1], outputs
        outputs, c = native.lstm(_program(recurrent), projected, *carry)
        return (c, outputs[-1]), outputs

    @run.def_vmap
    def _batched(size: int, batched: Any, parts: Any, projected: jax.Array, carry: Any) -> Any:
        """Batched sequences are more rows; too many of them, and batched weights, are for XLA."""
        many = size * math.prod(projected.shape[2 if batched[1] else 1 : -1])
        if any(jax.tree.leaves(batched[0])) or many > _program(parts[0]).rows:
            axes = jax.tree.map(lambda b: 0 if b else None, batched)
            found = jax.vmap(definition, in_axes=tuple(axes))(parts, projected, carry)
            return found, jax.tree.map(lambda _: True, found)

        def whole(x: jax.Array, has: bool) -> jax.Array:
            return x if has else jnp.broadcast_to(x, (size, *x.shape))

        projected = jnp.moveaxis(whole(projected, batched[1]), 0, 1)
        carry = jax.tree.map(whole, carry, batched[2])
        last, outputs = run(parts, projected, carry)
        found = last, jnp.moveaxis(outputs, 1, 0)
        return found, jax.tree.map(lambda _: True, found)

    return jax.lax.platform_dependent(parts, projected, carry, cpu=run, default=definition)


def in_xla(parts: Any) -> Any:
    """The same parts for XLA alone, as derivatives need them."""
    recurrent, *rest = parts
    return (recurrent.inner if isinstance(recurrent, Native) else recurrent, *rest)


def _program(recurrent: Kernel) -> native.Program:
    program = recurrent._program() if isinstance(recurrent, Native) else None
    assert program is not None  # `runs_natively` has seen it
    return program
