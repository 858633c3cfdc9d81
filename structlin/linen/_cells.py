"""Linen's recurrent cells on structured kernels."""

from typing import Any

import flax.linen as nn
import jax

from structlin import functional, specs
from structlin.linen._cell_params import is_plain, structured_step

__all__ = ["GRUCell", "LSTMCell", "MGUCell", "SimpleCell"]

Pair = tuple[jax.Array, jax.Array]


class LSTMCell(nn.OptimizedLSTMCell):
    """``nn.OptimizedLSTMCell``, and so ``nn.LSTMCell``, with kernels of any structure.

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

    @nn.nowrap
    def arithmetic(self) -> functional.LSTM:
        """The cell without its weights."""
        return functional.LSTM(self.gate_fn, self.activation_fn)

    @nn.compact
    def __call__(self, carry: Pair, inputs: jax.Array) -> tuple[Pair, jax.Array]:
        """One step: the carry ``(c, h)`` and inputs ``(..., in)`` to the new carry and ``h``."""
        if is_plain(self):
            return super().__call__(carry, inputs)
        biases = dict.fromkeys(functional.LSTM.gates, self.bias_init)
        return structured_step(self, carry, inputs, {}, biases)


class GRUCell(nn.GRUCell):
    """``nn.GRUCell`` with kernels of any structure.

    As for `LSTMCell`, with the gates r, z, n. A fused input side has ``i/kernel`` and ``i/bias``;
    a fused recurrent side ``h/kernel`` and ``h/bias``, which is that of n and ``(features,)``.

    Attributes:
        input: How the input kernel ``(in, 3 features)`` is made; ``None`` for dense ones by gate.
        recurrent: How the recurrent kernel ``(features, 3 features)`` is made.

    Raises:
        ValueError: On a call, when the parameters hold a kernel of another shape.
    """

    input: specs.Spec | None = None
    recurrent: specs.Spec | None = None

    @nn.nowrap
    def arithmetic(self) -> functional.GRU:
        """The cell without its weights."""
        return functional.GRU(self.gate_fn, self.activation_fn)

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> Pair:
        """One step: the carry ``h`` and inputs ``(..., in)`` to the new ``h``, twice."""
        if is_plain(self):
            return super().__call__(carry, inputs)
        biases = dict.fromkeys(functional.GRU.gates, self.bias_init)
        return structured_step(self, carry, inputs, biases, {"n": self.bias_init})


class SimpleCell(nn.SimpleCell):
    """``nn.SimpleCell`` with kernels of any structure, under Flax's names.

    Attributes:
        input: How the input kernel ``(in, features)`` is made; ``None`` for a dense one.
        recurrent: How the recurrent kernel ``(features, features)`` is made.

    Raises:
        ValueError: On a call, when the parameters hold a kernel of another shape.
    """

    input: specs.Spec | None = None
    recurrent: specs.Spec | None = None

    @nn.nowrap
    def arithmetic(self) -> functional.Simple:
        """The cell without its weights."""
        return functional.Simple(self.activation_fn, self.residual)

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> Pair:
        """One step: the carry ``h`` and inputs ``(..., in)`` to the new ``h``, twice."""
        if is_plain(self):
            return super().__call__(carry, inputs)
        return structured_step(self, carry, inputs, {"": self.bias_init}, {})


class MGUCell(nn.MGUCell):
    """``nn.MGUCell`` with kernels of any structure.

    As for `GRUCell`, with the gates f, n; ``h/bias`` is there if there is a reset gate.

    Attributes:
        input: How the input kernel ``(in, 2 features)`` is made; ``None`` for dense ones by gate.
        recurrent: How the recurrent kernel ``(features, 2 features)`` is made.

    Raises:
        ValueError: On a call, when the parameters hold a kernel of another shape.
    """

    input: specs.Spec | None = None
    recurrent: specs.Spec | None = None

    @nn.nowrap
    def arithmetic(self) -> functional.MGU:
        """The cell without its weights."""
        return functional.MGU(self.gate_fn, self.activation_fn, self.reset_gate)

    @nn.compact
    def __call__(self, carry: jax.Array, inputs: jax.Array) -> Pair:
        """One step: the carry ``h`` and inputs ``(..., in)`` to the new ``h``, twice."""
        if is_plain(self):
            return super().__call__(carry, inputs)
        biases: dict[str, Any] = {"f": self.forget_bias_init, "n": self.activation_bias_init}
        recurrent = {"n": self.activation_bias_init} if self.reset_gate else {}
        return structured_step(self, carry, inputs, biases, recurrent)
