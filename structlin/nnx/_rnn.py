"""NNX's scan over time, with the input projection before it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from structlin import functional
from structlin.functional import LSTMWeights
from structlin.nnx._fields import default
from structlin.nnx._linear import Linear
from structlin.nnx._recurrent import LSTMCell
from structlin.nnx._variables import value

__all__ = ["RNN"]


class RNN(nnx.RNN):
    """``nnx.RNN`` that multiplies all inputs by their kernel before the scan.

    Fields, results and state are those of ``nnx.RNN``. The faster path is taken for `LSTMCell` and
    ``nnx.OptimizedLSTMCell`` themselves, not their subclasses, with layers of Flax or of this
    library in them, without ``seq_lengths`` or ``unroll``; everything else is ``nnx.RNN`` itself.
    """

    def __call__(
        self,
        inputs: jax.Array,
        *,
        initial_carry: Any = None,
        seq_lengths: jax.Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """Runs the cell over a sequence, as ``nnx.RNN`` does."""
        cell: Any = self.cell
        if seq_lengths is not None or self.unroll != 1 or not _can_hoist(cell):
            return super().__call__(
                inputs,
                initial_carry=initial_carry,
                seq_lengths=seq_lengths,
                return_carry=return_carry,
                time_major=time_major,
                reverse=reverse,
                keep_order=keep_order,
                rngs=rngs,
            )
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order
        steps = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
        if reverse:
            steps = jnp.flip(steps, 0)
        if initial_carry is None:
            rngs = self.rngs if rngs is None else rngs
            rngs = rngs.carry.fork() if isinstance(rngs, nnx.Rngs) else rngs
            initial_carry = cell.initialize_carry(steps.shape[1:], rngs)
        carry, outputs = _run(cell, initial_carry, steps)
        if reverse and keep_order:
            outputs = jnp.flip(outputs, 0)
        outputs = outputs if time_major else jnp.moveaxis(outputs, 0, -2)
        return_carry = self.return_carry if return_carry is None else return_carry
        return (carry, outputs) if return_carry else outputs


def _can_hoist(cell: Any) -> bool:
    """Whether the cell is one whose equations `_run` has, with layers that do what it expects."""
    if type(cell) not in (LSTMCell, nnx.OptimizedLSTMCell):
        return False
    inside, outside = cell.dense_i, cell.dense_h
    plain = all(
        type(d) in (nnx.Linear, Linear)
        and all(
            getattr(d, name) is default(nnx.Linear, name)
            for name in ("precision", "dot_general", "promote_dtype", "preferred_element_type")
        )
        for d in (inside, outside)
    )
    return plain and inside.dtype == outside.dtype and not inside.use_bias and outside.use_bias


def _run(cell: Any, carry: Any, steps: jax.Array) -> Any:
    weights = LSTMWeights(
        *map(value, (cell.dense_i.kernel, cell.dense_h.kernel, cell.dense_h.bias))
    )
    return functional.lstm_sequence(
        weights,
        carry,
        steps,
        gate_fn=cell.gate_fn,
        activation_fn=cell.activation_fn,
        dtype=cell.dense_i.dtype,
    )
