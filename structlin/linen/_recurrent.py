"""Linen's LSTM cell on structured kernels, and a scan that hoists its input projection."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin import functional, specs
from structlin.functional import GATES, LSTMWeights
from structlin.linen._param import KernelParams, has_matrix

__all__ = ["RNN", "LSTMCell"]


class LSTMCell(nn.OptimizedLSTMCell):
    """``nn.OptimizedLSTMCell`` with kernels of any structure.

    Every field and every number is that of Flax's cell while there is no spec and the parameters
    hold no structured matrix. A side with a spec is fused: its kernel is one matrix over all four
    gates, in the order i, f, g, o, under ``i/kernel`` or ``h/kernel`` and ``h/bias``; wrap the
    spec in `structlin.specs.PerGate` for a matrix for each gate. A side without one keeps Flax's
    parameters.

    Attributes:
        input: How the input kernel ``(in, 4 features)`` is made; ``None`` for dense ones by gate.
        recurrent: How the recurrent kernel ``(features, 4 features)`` is made.

    Raises:
        ValueError: On a call, when the parameters hold a kernel of another shape.
    """

    input: specs.Spec | None = None
    recurrent: specs.Spec | None = None

    @nn.compact
    def __call__(
        self, carry: tuple[jax.Array, jax.Array], inputs: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """One step: the carry ``(c, h)`` and inputs ``(..., in)`` to the new carry and ``h``."""
        if self.input is None and self.recurrent is None and not has_matrix(self):
            return super().__call__(carry, inputs)
        hidden = carry[1].shape[-1]
        kernel, _ = self._side("i", self.input, inputs.shape[-1], hidden)
        recurrent, bias = self._side("h", self.recurrent, hidden, hidden)
        return functional.lstm_step(
            LSTMWeights(kernel, recurrent, jnp.concatenate(bias, axis=-1)),
            carry,
            inputs,
            gate_fn=self.gate_fn,
            activation_fn=self.activation_fn,
            dtype=self.dtype,
        )

    def _side(self, side: str, spec: specs.Spec | None, rows: int, hidden: int) -> tuple[Any, list]:
        """One side's kernel and its biases: fused if there is a spec, else by gate."""
        recurrent = side == "h"
        name = "recurrent_kernel_init" if recurrent else "kernel_init"
        fused = spec is not None or self.has_variable("params", side)
        parts = [
            KernelParams(
                features=hidden * (len(GATES) if fused else 1),
                use_bias=recurrent,
                param_dtype=self.param_dtype,
                kernel_init=getattr(self, name),
                default_init=_DEFAULTS[name],
                bias_init=self.bias_init,
                spec=spec,
                name=side + gate,
            )(rows)
            for gate in ([""] if fused else GATES)
        ]
        return functional.side_by_side([k for k, _ in parts]), [b for _, b in parts]


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(nn.OptimizedLSTMCell)}


class RNN(nn.RNN):
    """``nn.RNN`` that multiplies all inputs of an LSTM by their kernel before the scan.

    Fields, results and parameters are those of ``nn.RNN``. The faster path is taken for `LSTMCell`
    and ``nn.OptimizedLSTMCell`` themselves, not their subclasses, without ``seq_lengths``,
    ``reverse`` or ``unroll``; everything else is ``nn.RNN`` itself.
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
        cell = self.cell
        plain = seq_lengths is None and not (self.reverse if reverse is None else reverse)
        lstm = type(cell) in (LSTMCell, nn.OptimizedLSTMCell) and self.unroll == 1
        if self.is_initializing() or not (plain and lstm):
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
        time_major = self.time_major if time_major is None else time_major
        steps = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
        if initial_carry is None:
            key = jax.random.key(0) if init_key is None else init_key
            initial_carry = cell.initialize_carry(key, steps.shape[1:])
        weights = functional.lstm_weights(nn.meta.unbox(cell.variables["params"]))
        carry, outputs = functional.lstm_sequence(
            weights,
            initial_carry,
            steps,
            gate_fn=cell.gate_fn,
            activation_fn=cell.activation_fn,
            dtype=cell.dtype,
        )
        outputs = outputs if time_major else jnp.moveaxis(outputs, 0, -2)
        return_carry = self.return_carry if return_carry is None else return_carry
        return (carry, outputs) if return_carry else outputs
