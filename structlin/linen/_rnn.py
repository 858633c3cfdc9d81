"""A scan over a recurrent cell that projects all inputs in one product before it."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.recurrent import flip_sequences

from structlin import functional
from structlin.linen import _cells, _compact_cells

__all__ = ["RNN", "arithmetic"]


def _lstm(cell: Any) -> functional.Cell:
    return functional.LSTM(cell.gate_fn, cell.activation_fn)


OURS = {getattr(m, name) for m in (_cells, _compact_cells) for name in m.__all__}
FLAX: dict[type[nn.Module], Callable[[Any], functional.Cell]] = {
    nn.OptimizedLSTMCell: _lstm,
    nn.LSTMCell: _lstm,
    nn.GRUCell: lambda c: functional.GRU(c.gate_fn, c.activation_fn),
    nn.SimpleCell: lambda c: functional.Simple(c.activation_fn, c.residual),
    nn.MGUCell: lambda c: functional.MGU(c.gate_fn, c.activation_fn, c.reset_gate),
}


def arithmetic(cell: nn.Module) -> functional.Cell | None:
    """What ``cell`` computes, if it is one of this library or of Flax and no subclass of one."""
    if type(cell) in OURS:
        return cell.arithmetic()  # pyright: ignore[reportAttributeAccessIssue]
    return FLAX[type(cell)](cell) if type(cell) in FLAX else None


class RNN(nn.RNN):
    """``nn.RNN`` that multiplies all inputs by their kernel before the scan.

    Fields, results and parameters are those of ``nn.RNN``. ``seq_lengths`` beside ``return_carry``
    may have any number of axes, where ``nn.RNN`` takes one. The faster path is taken for the
    recurrent cells of this library and of Flax but ``nn.ConvLSTMCell``, themselves and not their
    subclasses; every other cell, and parameters that vary with time (``variable_axes``,
    ``variable_carry``), are ``nn.RNN`` itself.

    Raises:
        KeyError: On a call, when the cell lacks a parameter.
        ValueError: On a call, when a parameter of the cell has another shape.
    """

    def __call__(
        self,
        inputs: jax.Array,
        *,
        initial_carry: Any = None,
        init_key: jax.Array | None = None,
        seq_lengths: jax.Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Runs the cell over a sequence, as ``nn.RNN`` does."""
        cell = None if self.variable_axes or self.variable_carry else arithmetic(self.cell)
        if self.is_initializing() or cell is None:
            return super().__call__(
                inputs,
                initial_carry=initial_carry,
                init_key=init_key,
                seq_lengths=seq_lengths,
                return_carry=return_carry,
                time_major=time_major,
                reverse=reverse,
                keep_order=keep_order,
            )
        return_carry = self.return_carry if return_carry is None else return_carry
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        keep_order = self.keep_order if keep_order is None else keep_order

        steps = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
        steps = _flip(steps, seq_lengths) if reverse else steps
        if initial_carry is None:
            key = jax.random.key(0) if init_key is None else init_key
            initial_carry = self.cell.initialize_carry(key, steps.shape[1:])
        ends = seq_lengths if return_carry else None
        if ends is not None and not len(steps):
            raise ValueError(
                "With seq_lengths=, the carry is that after the last step of each sequence; given "
                f"inputs of shape {inputs.shape}, which have no steps."
            )
        carry, outputs = _run(self, cell, initial_carry, steps, ends)
        outputs = _flip(outputs, seq_lengths) if reverse and keep_order else outputs
        outputs = outputs if time_major else jnp.moveaxis(outputs, 0, -2)
        return (carry, outputs) if return_carry else outputs


def _run(rnn: RNN, cell: functional.Cell, carry: Any, steps: jax.Array, ends: Any) -> Any:
    """The carry after the last step, or after those that ``ends`` counts, and all outputs."""
    params = nn.meta.unbox(rnn.cell.variables.get("params", {}))
    functional.check_params(cell, params, carry, steps, "/".join(rnn.cell.path))
    carry, outputs = cell.sequence(
        cell.weights(params, split=True),
        carry,
        steps,
        dtype=rnn.cell.dtype,  # pyright: ignore[reportAttributeAccessIssue]
        unroll=rnn.unroll,
        history=ends is not None,
    )
    if ends is None:
        return carry, outputs
    carries, outputs = outputs
    return jax.tree.map(lambda x: _at_end(x, ends), carries), outputs


def _flip(steps: jax.Array, lengths: jax.Array | None) -> jax.Array:
    return flip_sequences(steps, lengths, num_batch_dims=steps.ndim - 2, time_major=True)


def _at_end(carries: jax.Array, lengths: jax.Array) -> jax.Array:
    """The carry ``(*batch, h)`` after the last step of each sequence, of ``(time, *batch, h)``."""
    index = (jnp.asarray(lengths) - 1)[None, ..., None]
    return jnp.take_along_axis(carries, index, axis=0)[0]
