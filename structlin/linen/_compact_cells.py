"""Recurrent cells of the literature on small models, for Linen; any kernel may be structured."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin import functional, specs
from structlin.linen._cell_params import side_params
from structlin.linen._param import KernelParams, default

__all__ = ["CoupledLSTMCell", "FastGRNNCell", "ProjectedLSTMCell", "QRNNCell", "SRUCell"]

Init = Callable[..., Any]
ONES = nn.initializers.ones_init()


def _minus_four(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """An array of minus four."""
    del key
    return jnp.full(shape, -4.0, dtype)


class _Cell(nn.RNNCellBase):
    """A cell with the fields of ``nn.OptimizedLSTMCell`` and fused kernels, structured or not.

    Attributes:
        features: Number of output features.
        gate_fn: The activation of the gates.
        activation_fn: The activation of the candidate and the output.
        kernel_init: How a dense input kernel is drawn, for each gate.
        recurrent_kernel_init: How a dense recurrent kernel is drawn, for each gate.
        bias_init: How the biases start.
        dtype: The dtype of the computation; by default what inputs and parameters promote to.
        param_dtype: The dtype of the parameters.
        carry_init: How the carry starts.
        input: How the input kernel is made; dense if ``None``.
        recurrent: How the recurrent kernel is made; dense if ``None``.
    """

    features: int
    gate_fn: Callable[..., Any] = jax.nn.sigmoid
    activation_fn: Callable[..., Any] | None = jnp.tanh
    kernel_init: Init = nn.linear.default_kernel_init
    recurrent_kernel_init: Init = default(nn.OptimizedLSTMCell, "recurrent_kernel_init")
    bias_init: Init = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32
    carry_init: Init = nn.initializers.zeros_init()
    input: specs.Spec | None = None
    recurrent: specs.Spec | None = None

    @nn.nowrap
    def arithmetic(self) -> functional.Cell:
        """The cell without its weights."""
        raise NotImplementedError(f"{type(self).__name__} needs an arithmetic method.")

    @nn.compact
    def __call__(self, carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
        """One step: the carry and inputs ``(..., in)`` to the new carry and the output."""
        cell = self.arithmetic()
        rows, biases = self._input_rows(inputs), dict.fromkeys(cell.input_biases, self.bias_init)
        sizes = {"features": self.features, "gates": self._gates(inputs)}
        params = side_params(self, "i", rows, biases, **sizes)
        if cell.recurrent:
            rows = cell.state(carry).shape[-1]
            biases = dict.fromkeys(cell.recurrent_biases, self.bias_init)
            params |= side_params(self, "h", rows, biases, **sizes)
        weights = cell.weights(params | self._extra(inputs))
        return cell.step(weights, carry, inputs, dtype=self.dtype)

    def _input_rows(self, inputs: jax.Array) -> int:
        return inputs.shape[-1]

    def _gates(self, inputs: jax.Array) -> tuple[str, ...]:  # noqa: ARG002
        """The gates that have columns in the kernels."""
        return self.arithmetic().gates

    def _extra(self, inputs: jax.Array) -> dict[str, Any]:  # noqa: ARG002
        """The parameters beside the two sides."""
        return {}

    def _vectors(self, name: str, inits: dict[str, Init]) -> dict[str, Any]:
        module = _Vectors(self.features, self.param_dtype, tuple(inits.items()), name=name)
        return {name: module()}

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        """The carry before the first step, for inputs of ``input_shape``."""
        shape = (*input_shape[:-1], self.features)
        return self.carry_init(rng, shape, self.param_dtype)

    @property
    def num_feature_axes(self) -> int:
        """Always 1."""
        return 1


class _Vectors(nn.Module):
    """Named vectors of one length."""

    features: int
    param_dtype: Any
    inits: tuple[tuple[str, Init], ...]

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        shape = (self.features,)
        return {name: self.param(name, i, shape, self.param_dtype) for name, i in self.inits}


class _PairCell(_Cell):
    """A cell whose carry is ``(c, h)``."""

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        c, h = jax.random.split(rng)
        shapes = [(*input_shape[:-1], size) for size in (self.features, self._outputs())]
        return tuple(
            self.carry_init(k, s, self.param_dtype) for k, s in zip((c, h), shapes, strict=True)
        )

    @nn.nowrap
    def _outputs(self) -> int:
        return self.features


class ProjectedLSTMCell(_PairCell):
    """An LSTM with peepholes and a projection of its output, which is what recurs.

    The equations are those of `structlin.functional.ProjectedLSTM`. The parameters are
    ``i/kernel`` and ``h/kernel``, ``h/bias`` over the gates i, f, g, o, ``peephole/{i,f,o}`` and
    ``projection/kernel``. The fields are those of ``nn.OptimizedLSTMCell`` and these.

    Attributes:
        input: How the input kernel ``(in, 4 features)`` is made; dense if ``None``.
        recurrent: How the recurrent kernel ``(projection, 4 features)`` is made.
        projection: Features after the projection; ``None`` for no projection.
        peephole: Whether the gates see the cell.
        peephole_init: How the peepholes start.
        output: How the projection ``(features, projection)`` is made; dense if ``None``.

    Reference:
        Sak, Senior and Beaufays (2014); without the second, non-recurrent projection.
    """

    projection: int | None = None
    peephole: bool = True
    peephole_init: Init = nn.initializers.zeros_init()
    output: specs.Spec | None = None

    @nn.nowrap
    def arithmetic(self) -> functional.ProjectedLSTM:
        has = {"peephole": self.peephole, "projection": self.projection is not None}
        parts = tuple(name for name, there in has.items() if there)
        return functional.ProjectedLSTM(self.gate_fn, self.activation_fn or _same, parts)

    def _extra(self, inputs: jax.Array) -> dict[str, Any]:
        del inputs
        made = {}
        if self.peephole:
            made |= self._vectors("peephole", dict.fromkeys("ifo", self.peephole_init))
        if self.projection is not None:
            made["projection"] = KernelParams(
                features=self.projection,
                bias_features=0,
                param_dtype=self.param_dtype,
                kernel_init=self.kernel_init,
                default_init=default(type(self), "kernel_init"),
                bias_init=self.bias_init,
                spec=self.output,
                name="projection",
            )(self.features)
        return made

    @nn.nowrap
    def _outputs(self) -> int:
        return self.features if self.projection is None else self.projection


class CoupledLSTMCell(_PairCell):
    """An LSTM that forgets as much as it takes in, with three gates.

    The equations are those of `structlin.functional.CoupledLSTM`. The parameters are ``i/kernel``
    and ``h/kernel``, ``h/bias`` over the gates i, g, o; the fields those of
    ``nn.OptimizedLSTMCell``, then ``input`` and ``recurrent``, the specs of the kernels.

    Reference:
        Greff et al. (2017), the variant CIFG, without its peepholes.
    """

    @nn.nowrap
    def arithmetic(self) -> functional.CoupledLSTM:
        return functional.CoupledLSTM(self.gate_fn, self.activation_fn or _same)


class FastGRNNCell(_Cell):
    """A gated cell with one pair of kernels for the gate and the candidate.

    The equations are those of `structlin.functional.FastGRNN`. The parameters are ``i/kernel``
    ``(in, features)``, ``h/kernel`` ``(features, features)``, ``gate/bias``, ``candidate/bias``,
    ``zeta`` and ``nu``; the fields those of ``nn.OptimizedLSTMCell``, where the biases start at
    one, and these.

    Attributes:
        input: How the input kernel is made; dense if ``None``. The paper's is `LowRank`.
        recurrent: How the recurrent kernel is made.
        zeta_init: How the scalar ``zeta`` starts; its sigmoid is what counts.
        nu_init: How the scalar ``nu`` starts.

    Reference:
        Kusupati et al. (2018), and the starting values of its authors' code.
    """

    bias_init: Init = ONES
    zeta_init: Init = ONES
    nu_init: Init = _minus_four

    @nn.nowrap
    def arithmetic(self) -> functional.FastGRNN:
        return functional.FastGRNN(self.gate_fn, self.activation_fn or _same)

    def _extra(self, inputs: jax.Array) -> dict[str, Any]:
        del inputs
        vectors = [self._vectors(name, {"bias": self.bias_init}) for name in ("gate", "candidate")]
        scalars = {
            "zeta": self.param("zeta", self.zeta_init, (), self.param_dtype),
            "nu": self.param("nu", self.nu_init, (), self.param_dtype),
        }
        return {**vectors[0], **vectors[1], **scalars}


class SRUCell(_Cell):
    """A simple recurrent unit: no recurrent kernel, so `structlin.RNN` has one product in all.

    The equations are those of `structlin.functional.SRU`. The parameters are ``i/kernel``
    ``(in, 3 features)``, or 4 where inputs and features differ in number, ``i/bias`` of f and r,
    and ``memory/{f,r}``; the fields those of ``nn.OptimizedLSTMCell`` without
    ``activation_fn`` by default, then ``input``, the spec of the kernel, and ``memory_init``.
    ``recurrent`` and ``recurrent_kernel_init`` are not used.

    Attributes:
        memory_init: How ``memory`` starts.

    Reference:
        Lei et al. (2018); without the factor that scales the highway.
    """

    activation_fn: Callable[..., Any] | None = None
    memory_init: Init = nn.initializers.zeros_init()

    @nn.nowrap
    def arithmetic(self) -> functional.SRU:
        return functional.SRU(self.gate_fn, self.activation_fn)

    def _gates(self, inputs: jax.Array) -> tuple[str, ...]:
        gates = functional.SRU.gates
        return gates[:3] if inputs.shape[-1] == self.features else gates

    def _extra(self, inputs: jax.Array) -> dict[str, Any]:
        del inputs
        return self._vectors("memory", dict.fromkeys("fr", self.memory_init))


class QRNNCell(_Cell):
    """A quasi-recurrent cell: a convolution over the last inputs, then gated pooling.

    The equations are those of `structlin.functional.QRNN`. The parameters are ``i/kernel``
    ``(width in, 3 features)`` and ``i/bias``; the fields those of ``nn.OptimizedLSTMCell``, then
    ``input``, the spec of the kernel, and ``width``. ``recurrent`` and ``recurrent_kernel_init``
    are not used.

    Attributes:
        width: How many inputs, this one included, the convolution sees.

    Reference:
        Bradbury et al. (2017), with the pooling fo.
    """

    width: int = 2

    @nn.nowrap
    def arithmetic(self) -> functional.QRNN:
        return functional.QRNN(self.gate_fn, self.activation_fn or _same)

    def _input_rows(self, inputs: jax.Array) -> int:
        return self.width * inputs.shape[-1]

    @nn.nowrap
    def initialize_carry(self, rng: jax.Array, input_shape: tuple[int, ...]) -> Any:
        c = super().initialize_carry(rng, input_shape)
        past = (*input_shape[:-1], (self.width - 1) * input_shape[-1])
        return c, jnp.zeros(past, self.param_dtype)


def _same(x: jax.Array) -> jax.Array:
    return x
