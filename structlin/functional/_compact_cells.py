"""Recurrent cells of the literature on small models, without their weights."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from structlin.functional._cell import Cell, CellWeights
from structlin.functional._cells import Activation, add_once
from structlin.functional._dense import promote
from structlin.kernels import carry_beside

__all__ = ["QRNN", "SRU", "CoupledLSTM", "FastGRNN", "ProjectedLSTM"]


@dataclasses.dataclass(frozen=True)
class ProjectedLSTM(Cell):
    """An LSTM with peepholes and a recurrent projection, each of them optional.

    The carry is ``(c, r)``. With ``z = x @ input + r @ recurrent + bias`` cut into i, f, g, o::

        c' = gate(f + p_f c) c + gate(i + p_i c) act(g)
        m  = gate(o + p_o c') act(c')
        r' = m @ projection

    The cell's own parameters are ``peephole/{i,f,o}``, each ``(h,)``, and ``projection/kernel``,
    ``(h, projected)``; without a projection ``r = m``.

    Attributes:
        gate_fn: The activation of the gates.
        activation_fn: The activation of the cell's input and output.
        parts: Which it has of ``"peephole"`` and ``"projection"``; ``None`` for what its parameters
            have.

    Reference:
        Sak, Senior and Beaufays (2014), "Long short-term memory recurrent neural network
        architectures for large scale acoustic modeling", eqs. 7 to 13, without the second,
        non-recurrent projection.
    """

    gates: ClassVar = ("i", "f", "g", "o")
    recurrent_biases: ClassVar = gates
    summed: ClassVar = True

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh
    parts: tuple[str, ...] | None = None

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        i, f, g, o = jnp.split(projected + hidden, 4, axis=-1)
        c = carry[0]
        peephole = extra.get("peephole")
        if peephole:
            i, f = i + peephole["i"] * c, f + peephole["f"] * c
        c = self.gate_fn(f) * c + self.gate_fn(i) * self.activation_fn(g)
        if peephole:
            o = o + peephole["o"] * c
        r = self.gate_fn(o) * self.activation_fn(c)
        if "projection" in extra:
            kernel = extra["projection"]["kernel"]
            r = r.astype(jnp.promote_types(r.dtype, kernel.dtype)) @ kernel
        return (c, r), r

    def state(self, carry: Any) -> jax.Array:
        return carry[1]

    def weights(self, params: Mapping[str, Any], *, split: bool = False) -> CellWeights:
        return add_once(super().weights(params, split=split))

    def extra(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: dict(params[name]) for name in self._parts(params)}

    def shapes(
        self, params: Mapping[str, Any], carry: Any, inputs: jax.Array
    ) -> dict[str, tuple[int, ...]]:
        h, r = (x.shape[-1] for x in carry)
        own = {f"peephole/{gate}": (h,) for gate in "ifo"} | {"projection/kernel": (h, r)}
        parts = self._parts(params)
        own = {path: shape for path, shape in own.items() if path.partition("/")[0] in parts}
        return super().shapes(params, carry, inputs) | own

    def _parts(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        names = ("peephole", "projection")
        return tuple(n for n in names if n in params) if self.parts is None else self.parts


@dataclasses.dataclass(frozen=True)
class CoupledLSTM(Cell):
    """An LSTM that forgets as much as it takes in: three gates, and the carry ``(c, h)``.

    With ``z = x @ input + h @ recurrent + bias`` cut into i, g, o::

        c' = (1 - gate(i)) c + gate(i) act(g)
        h' = gate(o) act(c')

    Attributes:
        gate_fn: The activation of the gates.
        activation_fn: The activation of the cell's input and output.

    Reference:
        Greff et al. (2017), "LSTM: a search space odyssey", the variant CIFG (``f = 1 - i``),
        without its peepholes.
    """

    gates: ClassVar = ("i", "g", "o")
    recurrent_biases: ClassVar = gates
    summed: ClassVar = True

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        del extra
        i, g, o = jnp.split(projected + hidden, 3, axis=-1)
        i = self.gate_fn(i)
        c = (1.0 - i) * carry[0] + i * self.activation_fn(g)
        h = self.gate_fn(o) * self.activation_fn(c)
        return (c, h), h

    def state(self, carry: Any) -> jax.Array:
        return carry[1]

    def weights(self, params: Mapping[str, Any], *, split: bool = False) -> CellWeights:
        return add_once(super().weights(params, split=split))


@dataclasses.dataclass(frozen=True)
class FastGRNN(Cell):
    """A gated cell with one pair of kernels for the gate and the candidate; the carry is ``h``.

    With ``s = x @ input + h @ recurrent``::

        z  = gate(s + b_z)
        h' = (sigmoid(zeta) (1 - z) + sigmoid(nu)) act(s + b_h) + z h

    The cell's own parameters are ``gate/bias`` and ``candidate/bias``, ``(h,)``, and the scalars
    ``zeta`` and ``nu``.

    Attributes:
        gate_fn: The activation of the gate.
        activation_fn: The activation of the candidate.

    Reference:
        Kusupati et al. (2018), "FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated
        recurrent neural network", eqs. 4 and 5; the sigmoids keep zeta and nu between 0 and 1.
    """

    gates: ClassVar = ("",)
    summed: ClassVar = True

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        s = projected + hidden
        z = self.gate_fn(s + extra["gate"]["bias"])
        candidate = self.activation_fn(s + extra["candidate"]["bias"])
        zeta, nu = jax.nn.sigmoid(extra["zeta"]), jax.nn.sigmoid(extra["nu"])
        h = (zeta * (1.0 - z) + nu) * candidate + z * carry
        return h, h

    def extra(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: params[name] for name in ("gate", "candidate", "zeta", "nu")}

    def shapes(
        self, params: Mapping[str, Any], carry: Any, inputs: jax.Array
    ) -> dict[str, tuple[int, ...]]:
        vectors = {f"{name}/bias": carry.shape[-1:] for name in ("gate", "candidate")}
        return super().shapes(params, carry, inputs) | vectors | {"zeta": (), "nu": ()}


@dataclasses.dataclass(frozen=True)
class SRU(Cell):
    """A simple recurrent unit: no recurrent kernel, so all products come before the scan.

    The carry is ``c``. With ``x @ input + bias`` cut into u, f, r and, where inputs and features
    differ in number, s, which is the input itself where they do not::

        c' = gate(f + v_f c) c + (1 - gate(f + v_f c)) u
        h' = gate(r + v_r c) act(c') + (1 - gate(r + v_r c)) s

    The cell's own parameters are ``memory/{f,r}``, each ``(h,)``; only f and r have a bias.

    Attributes:
        gate_fn: The activation of the gates.
        activation_fn: The activation of the output; none by default.

    Reference:
        Lei et al. (2018), "Simple recurrent units for highly parallelizable recurrence", eqs. 1
        to 4, without the factor that scales the highway.
    """

    gates: ClassVar = ("u", "f", "r", "s")
    input_biases: ClassVar = ("f", "r")
    recurrent: ClassVar = False

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation | None = None

    def project(self, weights: CellWeights, inputs: jax.Array, dtype: Any = None) -> jax.Array:
        inputs, kernel, bias = promote((inputs, weights.input, weights.bias), dtype)
        projected = inputs @ kernel
        h = weights.extra["f"].shape[-1]
        if bias is not None:
            projected = projected + jnp.pad(bias, (h, projected.shape[-1] - 3 * h))
        highway = projected.shape[-1] == 4 * h
        return projected if highway else jnp.concatenate([projected, inputs], axis=-1)

    def apply(self, extra: Any, projected: jax.Array, hidden: Any, carry: jax.Array) -> Any:
        del hidden
        u, f, r, s = jnp.split(projected, 4, axis=-1)
        f = self.gate_fn(f + extra["f"] * carry)
        r = self.gate_fn(r + extra["r"] * carry)
        c = f * carry + (1.0 - f) * u
        out = c if self.activation_fn is None else self.activation_fn(c)
        return c, r * out + (1.0 - r) * s

    def extra(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return dict(params["memory"])

    def shapes(
        self, params: Mapping[str, Any], carry: Any, inputs: jax.Array
    ) -> dict[str, tuple[int, ...]]:
        rows, h = inputs.shape[-1], carry.shape[-1]
        own: dict[str, tuple[int, ...]] = {f"memory/{gate}": (h,) for gate in "fr"}
        own["i/kernel"] = (rows, 3 * h if rows == h else 4 * h)
        return super().shapes(params, carry, inputs) | own


@dataclasses.dataclass(frozen=True)
class QRNN(Cell):
    """A quasi-recurrent cell: a convolution over the last inputs, then gated pooling.

    The carry is ``(c, past)``, ``past`` being the inputs before this one side by side, oldest
    first: ``(..., (width - 1) in)``. With ``[past, x] @ input + bias`` cut into z, f, o::

        c' = gate(f) c + (1 - gate(f)) act(z)
        h' = gate(o) c'

    Attributes:
        gate_fn: The activation of the gates.
        activation_fn: The activation of the candidate.

    Reference:
        Bradbury et al. (2017), "Quasi-recurrent neural networks", eqs. 1, 4 and 6 (fo-pooling,
        ``c' = f c + (1 - f) z``).
    """

    gates: ClassVar = ("z", "f", "o")
    input_biases: ClassVar = gates
    recurrent: ClassVar = False

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh

    def apply(self, extra: Any, projected: jax.Array, hidden: Any, carry: jax.Array) -> Any:
        del extra, hidden
        z, f, o = jnp.split(projected, 3, axis=-1)
        f = self.gate_fn(f)
        c = f * carry + (1.0 - f) * self.activation_fn(z)
        return c, self.gate_fn(o) * c

    def step(
        self, weights: CellWeights, carry: Any, inputs: jax.Array, *, dtype: Any = None
    ) -> tuple[Any, jax.Array]:
        c, past = carry
        wide = jnp.concatenate([past, inputs.astype(past.dtype)], axis=-1)
        c, output = super().step(weights, c, wide, dtype=dtype)
        return (c, wide[..., inputs.shape[-1] :]), output

    def sequence(
        self,
        weights: CellWeights,
        carry: Any,
        inputs: jax.Array,
        *,
        dtype: Any = None,
        unroll: int = 1,
        history: bool = False,
    ) -> tuple[Any, Any]:
        (c, past), features = carry_beside(carry, inputs), inputs.shape[-1]
        before = jnp.split(past, past.shape[-1] // features, axis=-1) if past.shape[-1] else []
        every = jnp.concatenate([*(p[None] for p in before), inputs.astype(past.dtype)])
        views = [every[k : k + len(inputs)] for k in range(len(before) + 1)]
        wide = jnp.concatenate(views, axis=-1)
        settings = {"dtype": dtype, "unroll": unroll, "history": history}
        c, found = super().sequence(weights, c, wide, **settings)
        last = (c, wide[-1, ..., features:] if len(inputs) else past)
        if not history:
            return last, found
        return last, ((found[0], wide[..., features:]), found[1])

    def shapes(
        self, params: Mapping[str, Any], carry: Any, inputs: jax.Array
    ) -> dict[str, tuple[int, ...]]:
        found = super().shapes(params, carry, inputs)
        rows = carry[1].shape[-1] + inputs.shape[-1]
        return found | {"i/kernel": (rows, found["i/kernel"][1])}
