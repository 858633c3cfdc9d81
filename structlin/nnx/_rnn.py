"""NNX's scan over time, with the input projection before it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.recurrent import flip_sequences

from structlin.nnx._cell import arithmetic, weights_of

__all__ = ["RNN"]


class RNN(nnx.RNN):
    """``nnx.RNN`` that multiplies all inputs by their kernel before the scan.

    Fields, results and state are those of ``nnx.RNN``. The faster path is taken for the cells of
    Flax and of this library themselves, not their subclasses, with layers of Flax or of this
    library in them; every other cell runs as in ``nnx.RNN``.

    Raises:
        ValueError: On a call, when the inputs are not as wide as the cell was made for.
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
        cell = arithmetic(self.cell)
        if cell is None:
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
        _check_width(self.cell, inputs)
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order
        return_carry = self.return_carry if return_carry is None else return_carry

        def flipped(x: jax.Array) -> jax.Array:
            return flip_sequences(x, seq_lengths, inputs.ndim - 2, time_major)

        inputs = flipped(inputs) if reverse else inputs
        steps = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
        if initial_carry is None:
            rngs = self.rngs if rngs is None else rngs
            rngs = rngs.carry.fork() if isinstance(rngs, nnx.Rngs) else rngs
            initial_carry = self.cell.initialize_carry(steps.shape[1:], rngs)
        weights, dtype = weights_of(self.cell)
        sliced = seq_lengths is not None and return_carry
        carry, outputs = cell.sequence(
            weights, initial_carry, steps, dtype=dtype, unroll=self.unroll, history=sliced
        )
        if sliced:
            carries, outputs = outputs
            carry = jax.tree.map(lambda x: _last(x, seq_lengths), carries)
        outputs = outputs if time_major else jnp.moveaxis(outputs, 0, -2)
        outputs = flipped(outputs) if reverse and keep_order else outputs
        return (carry, outputs) if return_carry else outputs


def _check_width(cell: Any, inputs: jax.Array) -> None:
    if inputs.shape[-1] != cell.in_features:
        raise ValueError(
            f"The {type(cell).__name__} of this RNN has in_features={cell.in_features}; given "
            f"inputs of shape {inputs.shape}."
        )


def _last(carries: jax.Array, seq_lengths: Any) -> jax.Array:
    """The carry at the end of each sequence of a batch, of carries ``(time, batch, h)``."""
    return carries[seq_lengths - 1, jnp.arange(carries.shape[1])]
