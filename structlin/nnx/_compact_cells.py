"""Recurrent cells of the literature on small models, for NNX; any kernel may be structured."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from structlin import functional
from structlin.nnx._compact_cell import KERNEL, ZEROS, CompactCell, Init, PairCell, initializer
from structlin.nnx._fields import takes_fields_of
from structlin.nnx._linear import Linear
from structlin.nnx._variables import value
from structlin.specs import Spec

__all__ = ["CoupledLSTMCell", "FastGRNNCell", "MGUCell", "ProjectedLSTMCell", "QRNNCell", "SRUCell"]

ONES: Init = nnx.initializers.ones_init()
MINUS_FOUR: Init = nnx.initializers.constant(-4.0)


class MGUCell(CompactCell):
    """A minimal gated unit, `structlin.functional.MGU`; the cell that NNX has not and Linen has.

    The fields of `CompactCell` come first.

    Attributes:
        reset_gate: Whether the gate also resets.
    """

    @takes_fields_of(CompactCell)
    def __init__(
        self, in_features: int, hidden_features: int, *, reset_gate: bool = True, **fields: Any
    ):
        self.reset_gate = reset_gate
        super().__init__(in_features, hidden_features, **fields)

    def arithmetic(self) -> functional.MGU:
        return functional.MGU(self.gate_fn, self.activation_fn or _same, self.reset_gate)


class CoupledLSTMCell(PairCell):
    """An LSTM that forgets as much as it takes in, `structlin.functional.CoupledLSTM`.

    The fields are those of `CompactCell`.
    """

    def arithmetic(self) -> functional.CoupledLSTM:
        return functional.CoupledLSTM(self.gate_fn, self.activation_fn or _same)


class ProjectedLSTMCell(PairCell):
    """An LSTM with peepholes and a recurrent projection, `structlin.functional.ProjectedLSTM`.

    The fields of `CompactCell` come first; the recurrent kernel is ``(projection, 4 hidden)``.

    Attributes:
        projection: The layer without bias that projects the output; ``None`` for none. It is given
            as its number of features.
        peephole: Whether the gates see the cell; then the peepholes of i, f and o, each
            ``(hidden,)``.
        peephole_init: How the peepholes start.
        output: How the kernel of the projection, ``(hidden, projection)``, was drawn.
    """

    @takes_fields_of(CompactCell)
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rngs: nnx.Rngs,
        projection: int | None = None,
        peephole: bool = True,
        peephole_init: Init = ZEROS,
        output: Spec | None = None,
        **fields: Any,
    ):
        self.recurrent_features = hidden_features if projection is None else projection
        super().__init__(in_features, hidden_features, rngs=rngs, **fields)
        self.output = output
        self.projection = nnx.data(None)
        if projection is not None:
            init = initializer(fields.get("kernel_init", KERNEL), KERNEL, output)
            dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            self.projection = Linear(
                *(hidden_features, projection),
                **{"use_bias": False, "rngs": rngs, "spec": output, **init, **dtypes},
            )
        gates = "ifo" if peephole else ""
        self.peephole = nnx.Dict({g: self._vector((g,), peephole_init, rngs) for g in gates})

    def arithmetic(self) -> functional.ProjectedLSTM:
        return functional.ProjectedLSTM(self.gate_fn, self.activation_fn or _same)

    def _state(self) -> int:
        return self.recurrent_features

    def _extra(self) -> dict[str, Any]:
        found: dict[str, Any] = {"peephole": {g: value(p) for g, p in self.peephole.items()}}
        if self.projection is not None:
            found["projection"] = {"kernel": value(self.projection.kernel)}
        return found


class FastGRNNCell(CompactCell):
    """A gated cell with one pair of kernels, `structlin.functional.FastGRNN`.

    The fields of `CompactCell` come first; the biases start at one.

    Attributes:
        gate_bias: Of the gate, ``(hidden,)``.
        candidate_bias: Of the candidate.
        zeta: A scalar; its sigmoid is what counts.
        nu: A scalar likewise.

    Reference:
        Kusupati et al. (2018), and the starting values of its authors' code.
    """

    @takes_fields_of(CompactCell)
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rngs: nnx.Rngs,
        bias_init: Init = ONES,
        zeta_init: Init = ONES,
        nu_init: Init = MINUS_FOUR,
        **fields: Any,
    ):
        super().__init__(in_features, hidden_features, rngs=rngs, **fields)
        self.gate_bias = self._vector(("",), bias_init, rngs)
        self.candidate_bias = self._vector(("",), bias_init, rngs)
        self.zeta = nnx.Param(zeta_init(rngs.params(), (), self.param_dtype))
        self.nu = nnx.Param(nu_init(rngs.params(), (), self.param_dtype))

    def arithmetic(self) -> functional.FastGRNN:
        return functional.FastGRNN(self.gate_fn, self.activation_fn or _same)

    def _extra(self) -> dict[str, Any]:
        return {
            "gate": {"bias": value(self.gate_bias)},
            "candidate": {"bias": value(self.candidate_bias)},
            "zeta": value(self.zeta),
            "nu": value(self.nu),
        }


class SRUCell(CompactCell):
    """A simple recurrent unit without recurrent kernel, `structlin.functional.SRU`.

    The fields of `CompactCell` come first; there is no ``activation_fn`` by default. The input
    kernel is ``(in, 3 hidden)``, or 4 where inputs and outputs differ in number.

    Attributes:
        memory: What the gates f and r see of the cell, each ``(hidden,)``.
        memory_init: How it starts.
    """

    @takes_fields_of(CompactCell)
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rngs: nnx.Rngs,
        activation_fn: Callable[..., Any] | None = None,
        memory_init: Init = ZEROS,
        **fields: Any,
    ):
        fields["activation_fn"] = activation_fn
        super().__init__(in_features, hidden_features, rngs=rngs, **fields)
        self.memory = nnx.Dict({g: self._vector((g,), memory_init, rngs) for g in "fr"})

    def arithmetic(self) -> functional.SRU:
        return functional.SRU(self.gate_fn, self.activation_fn)

    def _gates(self) -> tuple[str, ...]:
        gates = functional.SRU.gates
        return gates[:3] if self.in_features == self.hidden_features else gates

    def _extra(self) -> dict[str, Any]:
        return {g: value(p) for g, p in self.memory.items()}


class QRNNCell(CompactCell):
    """A convolution over the last inputs, then gated pooling, `structlin.functional.QRNN`.

    The fields of `CompactCell` come first. The input kernel is ``(width in, 3 hidden)``.

    Attributes:
        width: How many inputs, this one included, the convolution sees.
    """

    @takes_fields_of(CompactCell)
    def __init__(self, in_features: int, hidden_features: int, *, width: int = 2, **fields: Any):
        self.width = width
        super().__init__(in_features, hidden_features, **fields)

    def arithmetic(self) -> functional.QRNN:
        return functional.QRNN(self.gate_fn, self.activation_fn or _same)

    def _rows(self) -> int:
        return self.width * self.in_features

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Init | None = None
    ) -> Any:
        """The carry before the first step, for inputs of ``input_shape``."""
        past = (*input_shape[:-1], (self.width - 1) * self.in_features)
        return super().initialize_carry(input_shape, rngs, carry_init), jnp.zeros(
            past, self.param_dtype
        )


def _same(x: jax.Array) -> jax.Array:
    return x
