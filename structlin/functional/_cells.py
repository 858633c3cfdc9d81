"""The recurrent cells that Flax has, without their weights."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from structlin.functional._cell import Cell, CellWeights

__all__ = ["GRU", "LSTM", "MGU", "Activation", "Simple"]

Activation = Callable[[jax.Array], jax.Array]
"""What is applied to every entry of a gate."""


@dataclasses.dataclass(frozen=True)
class LSTM(Cell):
    """A long short-term memory; the carry is ``(c, h)``.

    With ``z = x @ input + h @ recurrent + bias`` cut into i, f, g, o::

        c' = gate(f) c + gate(i) act(g)
        h' = gate(o) act(c')

    Attributes:
        gate_fn: The activation of the gates.
        activation_fn: The activation of the cell's input and output.

    Reference:
        Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000).
    """

    gates: ClassVar = ("i", "f", "g", "o")
    recurrent_biases: ClassVar = gates
    summed: ClassVar = True

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh

    @property
    def native(self) -> str:
        plain = self.gate_fn is jax.nn.sigmoid and self.activation_fn is jnp.tanh
        return "lstm" if plain else ""

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        del extra
        z = projected + hidden
        i, f, g, o = jnp.split(z, 4, axis=-1)
        if self.gate_fn is jax.nn.sigmoid:
            # One function of contiguous columns, g's for nothing, is faster than three of slices.
            i, f, _, o = jnp.split(self.gate_fn(z), 4, axis=-1)
        else:
            i, f, o = self.gate_fn(i), self.gate_fn(f), self.gate_fn(o)
        c = f * carry[0] + i * self.activation_fn(g)
        h = o * self.activation_fn(c)
        return (c, h), h

    def state(self, carry: Any) -> jax.Array:
        return carry[1]

    def weights(self, params: Mapping[str, Any], *, split: bool = False) -> CellWeights:
        return add_once(super().weights(params, split=split))


@dataclasses.dataclass(frozen=True)
class Simple(Cell):
    """A plain recurrent cell; the carry is ``h``.

    ``h' = act(x @ input + bias + h @ recurrent)``, with ``+ h`` inside if it is ``residual``.

    Attributes:
        activation_fn: The activation.
        residual: Whether the state is added before the activation.

    Reference:
        Elman (1990), "Finding structure in time"; the residual form is that of Yue et al. (2018),
        "Residual recurrent neural networks for learning sequential representations".
    """

    gates: ClassVar = ("",)
    input_biases: ClassVar = gates
    summed: ClassVar = True

    activation_fn: Activation = jnp.tanh
    residual: bool = False

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        del extra
        z = projected + hidden
        h = self.activation_fn(z + carry if self.residual else z)
        return h, h


@dataclasses.dataclass(frozen=True)
class GRU(Cell):
    """A gated recurrent unit; the carry is ``h``.

    With ``x @ input + bias`` and ``h @ recurrent + recurrent_bias`` cut into r, z, n::

        n  = act(n_x + gate(r_x + r_h) n_h)
        h' = (1 - gate(z_x + z_h)) n + gate(z_x + z_h) h

    Attributes:
        gate_fn: The activation of the gates.
        activation_fn: The activation of the candidate.

    Reference:
        Cho et al. (2014), with the reset gate after the product, as Flax and cuDNN have it.
    """

    gates: ClassVar = ("r", "z", "n")
    input_biases: ClassVar = gates
    recurrent_biases: ClassVar = ("n",)

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh

    @property
    def native(self) -> str:
        plain = self.gate_fn is jax.nn.sigmoid and self.activation_fn is jnp.tanh
        return "gru" if plain else ""

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        del extra
        (rx, zx, nx), (rh, zh, nh) = (jnp.split(a, 3, axis=-1) for a in (projected, hidden))
        z = self.gate_fn(zx + zh)
        n = self.activation_fn(nx + self.gate_fn(rx + rh) * nh)
        h = (1.0 - z) * n + z * carry
        return h, h


@dataclasses.dataclass(frozen=True)
class MGU(Cell):
    """A minimal gated unit; the carry is ``h``.

    With ``x @ input + bias`` and ``h @ recurrent + recurrent_bias`` cut into f, n::

        n  = act(n_x + gate(f_x + f_h) n_h)      # without the reset gate act(n_x + n_h)
        h' = (1 - gate(f_x + f_h)) n + gate(f_x + f_h) h

    Attributes:
        gate_fn: The activation of the gate.
        activation_fn: The activation of the candidate.
        reset_gate: Whether the gate also resets; only then has the candidate a recurrent bias.

    Reference:
        Zhou et al. (2016), "Minimal gated unit for recurrent neural networks", in Flax's form.
    """

    gates: ClassVar = ("f", "n")
    input_biases: ClassVar = gates

    gate_fn: Activation = jax.nn.sigmoid
    activation_fn: Activation = jnp.tanh
    reset_gate: bool = True

    @property
    def recurrent_biases(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The candidate's, where it is reset."""
        return ("n",) if self.reset_gate else ()

    def apply(self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any) -> Any:
        del extra
        (fx, nx), (fh, nh) = (jnp.split(a, 2, axis=-1) for a in (projected, hidden))
        f = self.gate_fn(fx + fh)
        n = self.activation_fn(nx + (f * nh if self.reset_gate else nh))
        h = (1.0 - f) * n + f * carry
        return h, h


def add_once(weights: CellWeights) -> CellWeights:
    """The same sum with the recurrent bias on the inputs' side, before the scan."""
    return weights._replace(bias=weights.recurrent_bias, recurrent_bias=None)
