"""What the recurrent cells of the literature share, for NNX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.recurrent import RNNCellBase

from structlin import functional
from structlin.functional import CellWeights
from structlin.nnx._fields import default
from structlin.nnx._linear import Linear
from structlin.nnx._variables import value
from structlin.specs import Spec

__all__ = ["CompactCell", "PairCell", "initializer"]

Init = Callable[..., Any]
KERNEL: Init = default(nnx.Linear, "kernel_init")
ORTHOGONAL: Init = default(nnx.OptimizedLSTMCell, "recurrent_kernel_init")
ZEROS: Init = default(nnx.Linear, "bias_init")


class CompactCell(RNNCellBase):
    """A cell with two layers without biases, ``dense_i`` and ``dense_h``, and biases beside them.

    A cell without a recurrent kernel has no ``dense_h``.

    Attributes:
        in_features: Number of inputs.
        hidden_features: Number of outputs of each gate.
        gate_fn: The activation of the gates.
        activation_fn: The activation of the candidate and the output.
        kernel_init: How a dense input kernel is drawn.
        recurrent_kernel_init: How a dense recurrent kernel is drawn.
        bias_init: How the biases start.
        dtype: The dtype of the computation; by default what inputs and parameters promote to.
        param_dtype: The dtype of the parameters.
        carry_init: How the carry starts.
        input: How the input kernel was drawn; ``None`` for a dense one.
        recurrent: How the recurrent kernel was drawn; ``None`` for a dense one.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        gate_fn: Callable[..., Any] = jax.nn.sigmoid,
        activation_fn: Callable[..., Any] | None = jnp.tanh,
        kernel_init: Init = KERNEL,
        recurrent_kernel_init: Init = ORTHOGONAL,
        bias_init: Init = ZEROS,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        carry_init: Init = ZEROS,
        rngs: nnx.Rngs,
        input: Spec | None = None,
        recurrent: Spec | None = None,
    ):
        self.in_features, self.hidden_features = in_features, hidden_features
        self.gate_fn, self.activation_fn = gate_fn, activation_fn
        self.dtype, self.param_dtype, self.carry_init = dtype, param_dtype, carry_init
        self.input, self.recurrent = input, recurrent
        cell, fields = self.arithmetic(), {"dtype": dtype, "param_dtype": param_dtype}
        columns = len(self._gates()) * hidden_features
        fields |= {"use_bias": False, "rngs": rngs}
        init = initializer(kernel_init, KERNEL, input)
        self.dense_i = Linear(self._rows(), columns, spec=input, **init, **fields)
        if cell.recurrent:
            init = initializer(recurrent_kernel_init, ORTHOGONAL, recurrent)
            self.dense_h = Linear(self._state(), columns, spec=recurrent, **init, **fields)
        self.bias = self._vector(cell.input_biases, bias_init, rngs)
        self.recurrent_bias = self._vector(cell.recurrent_biases, bias_init, rngs)

    def arithmetic(self) -> functional.Cell:
        """The cell without its weights."""
        raise NotImplementedError(f"{type(self).__name__} writes arithmetic().")

    def weights(self) -> CellWeights:
        """The weights as `arithmetic` takes them."""
        recurrent = value(self.dense_h.kernel) if self.arithmetic().recurrent else None
        bias, recurrent_bias = value(self.bias), value(self.recurrent_bias)
        if bias is None and len(self.arithmetic().recurrent_biases) == len(self._gates()):
            bias, recurrent_bias = recurrent_bias, None  # the same sum, before the scan
        kernel = value(self.dense_i.kernel)
        return CellWeights(kernel, recurrent, bias, recurrent_bias, self._extra())

    def __call__(self, carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        """One step: the carry and inputs ``(..., in)`` to the new carry and the output."""
        return self.arithmetic().step(self.weights(), carry, inputs, dtype=self.dtype)

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Init | None = None
    ) -> Any:
        """The carry before the first step, for inputs of ``input_shape``."""
        init, rngs = carry_init or self.carry_init, stream(rngs)
        shape = (*input_shape[:-1], self.hidden_features)
        return init(rngs(), shape, self.param_dtype)

    @property
    def num_feature_axes(self) -> int:
        """Always 1."""
        return 1

    def _gates(self) -> tuple[str, ...]:
        """The gates that have columns in the kernels."""
        return self.arithmetic().gates

    def _rows(self) -> int:
        return self.in_features

    def _state(self) -> int:
        """The size of the state that recurs."""
        return self.hidden_features

    def _extra(self) -> Any:
        """The cell's own parameters, as its arithmetic takes them."""
        return ()

    def _vector(self, gates: tuple[str, ...], init: Init, rngs: nnx.Rngs) -> Any:
        if not gates:
            return nnx.data(None)
        shape = (len(gates) * self.hidden_features,)
        return nnx.Param(init(rngs.params(), shape, self.param_dtype))


def initializer(init: Init, usual: Init, spec: Spec | None) -> dict[str, Any]:
    """The field of a `Linear`; none where it is the usual one, which a spec replaces."""
    return {} if spec is not None and init is usual else {"kernel_init": init}


def stream(rngs: Any) -> Any:
    if rngs is None:
        raise ValueError("initialize_carry needs rngs=, such as nnx.Rngs(0).")
    return rngs.carry if isinstance(rngs, nnx.Rngs) else rngs


class PairCell(CompactCell):
    """A cell whose carry is ``(c, h)``."""

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Init | None = None
    ) -> Any:
        """The carry before the first step, for inputs of ``input_shape``."""
        init, rngs = carry_init or self.carry_init, stream(rngs)
        shapes = [(*input_shape[:-1], size) for size in (self.hidden_features, self._state())]
        return tuple(init(rngs(), shape, self.param_dtype) for shape in shapes)
