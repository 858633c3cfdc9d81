"""The arithmetic of an LSTM on arrays or structured matrices, one step or a whole sequence."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from structlin.functional._dense import Kernel, promote, side_by_side

__all__ = ["GATES", "LSTMWeights", "lstm_sequence", "lstm_step", "lstm_weights"]

GATES = ("i", "f", "g", "o")
"""The order in which the gates' columns stand side by side: Flax's."""

Carry = tuple[jax.Array, jax.Array]
Activation = Callable[[jax.Array], jax.Array]


class LSTMWeights(NamedTuple):
    """The weights of an LSTM layer, gates side by side in the order of `GATES`.

    Attributes:
        input: ``(in, 4 h)``.
        recurrent: ``(h, 4 h)``.
        bias: ``(4 h,)``.
    """

    input: Kernel
    recurrent: Kernel
    bias: jax.Array


def lstm_weights(params: Mapping[str, Any]) -> LSTMWeights:
    """Reads the parameters of an LSTM cell, Flax's or this library's.

    Args:
        params: Each side fused (``i/kernel``; ``h/kernel``, ``h/bias``) or by gate (``ii/kernel``
            to ``io/kernel``; ``hi/kernel``, ``hi/bias`` to ``ho``).

    Raises:
        KeyError: A weight is missing; the message names it and what is there.
    """

    def one(path: str) -> Any:
        module, name = path.split("/")
        try:
            return params[module][name]
        except KeyError:
            raise KeyError(
                f"An LSTM needs {path!r}; its parameters are {sorted(params)}."
            ) from None

    def side(prefix: str, name: str) -> list[Any]:
        names = [prefix] if prefix in params else [prefix + gate for gate in GATES]
        return [one(f"{n}/{name}") for n in names]

    bias = side("h", "bias")
    return LSTMWeights(
        side_by_side(side("i", "kernel")),
        side_by_side(side("h", "kernel")),
        bias[0] if len(bias) == 1 else jnp.concatenate(bias, axis=-1),
    )


def lstm_step(
    weights: LSTMWeights,
    carry: Carry,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    dtype: Any = None,
) -> tuple[Carry, jax.Array]:
    """One step of an LSTM.

    Args:
        weights: The layer's weights.
        carry: The cell and hidden states ``(c, h)``, each ``(..., h)``.
        inputs: ``(..., in)``.
        gate_fn: The activation of the gates.
        activation_fn: The activation of the cell input and output.
        dtype: The dtype of the products; by default what their operands promote to.

    Returns:
        The new ``(c, h)``, and ``h``.

    Reference:
        Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000); the same
        function as Flax's cell.
    """
    c, h = carry
    h, recurrent, bias = promote((h, weights.recurrent, weights.bias), dtype)
    inputs, kernel = promote((inputs, weights.input), dtype)
    c, h = _gates(gate_fn, activation_fn, h @ recurrent + bias + inputs @ kernel, c)
    return (c, h), h


def lstm_sequence(
    weights: LSTMWeights,
    carry: Carry,
    inputs: jax.Array,
    *,
    gate_fn: Activation = jax.nn.sigmoid,
    activation_fn: Activation = jnp.tanh,
    dtype: Any = None,
) -> tuple[Carry, jax.Array]:
    """An LSTM over a sequence: equal to `lstm_step` scanned, and faster.

    The projection of all inputs is one product before the scan, and the gradient of the recurrent
    weights one product after it.

    Args:
        weights: The layer's weights.
        carry: The cell and hidden states ``(c, h)``, each ``(..., h)``.
        inputs: Time first, ``(time, ..., in)``.
        gate_fn: The activation of the gates.
        activation_fn: The activation of the cell input and output.
        dtype: The dtype of the products; by default what their operands promote to.

    Returns:
        The last ``(c, h)``, and ``h`` at every step, ``(time, ..., h)``.
    """
    inputs, kernel = promote((inputs, weights.input), dtype)
    _, recurrent, bias = promote((carry[1], weights.recurrent, weights.bias), dtype)
    return _recurrence(gate_fn, activation_fn, recurrent, bias, inputs @ kernel, carry)


def _gates(gate_fn: Activation, activation_fn: Activation, z: jax.Array, c: jax.Array) -> Carry:
    i, f, g, o = jnp.split(z, 4, axis=-1)
    c = gate_fn(f) * c + gate_fn(i) * activation_fn(g)
    return c, gate_fn(o) * activation_fn(c)


def _affine(h: jax.Array, recurrent: Kernel, bias: jax.Array) -> jax.Array:
    return h.astype(bias.dtype) @ recurrent + bias


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recurrence(gate_fn, activation_fn, recurrent, bias, projected, carry):
    def step(carry: Carry, x: jax.Array):
        z = _affine(carry[1], recurrent, bias) + x
        c, h = _gates(gate_fn, activation_fn, z, carry[0])
        return (c, h), h

    return jax.lax.scan(step, carry, projected)


def _recurrence_forward(gate_fn, activation_fn, recurrent, bias, projected, carry):
    def step(carry: Carry, x: jax.Array):
        z = _affine(carry[1], recurrent, bias) + x
        c, h = _gates(gate_fn, activation_fn, z, carry[0])
        return (c, h), (*carry, z, h)

    last, (cells, hiddens, z, outputs) = jax.lax.scan(step, carry, projected)
    return (last, outputs), (recurrent, bias, projected[:0], cells, hiddens, z)


def _recurrence_backward(gate_fn, activation_fn, residuals, cotangents):
    recurrent, bias, projected, cells, hiddens, z = residuals
    dlast, doutputs = cotangents
    gates = functools.partial(_gates, gate_fn, activation_fn)
    adjoint = recurrent.T  # prepared once, not at every step

    def step(dcarry: Carry, saved: tuple[jax.Array, jax.Array, jax.Array]):
        dc, dh = dcarry
        doutput, cell, z = saved
        _, pull = jax.vjp(gates, z, cell)
        dz, dc = pull((dc, dh + doutput))
        dh = dz.astype(bias.dtype) @ adjoint
        return (dc, dh.astype(hiddens.dtype)), dz

    dcarry, dz = jax.lax.scan(step, dlast, (doutputs, cells, z), reverse=True)
    _, pull = jax.vjp(lambda w, b: _affine(_rows(hiddens), w, b), recurrent, bias)
    drecurrent, dbias = pull(_rows(dz).astype(bias.dtype))
    return drecurrent, dbias, dz.astype(projected.dtype), dcarry


def _rows(x: jax.Array) -> jax.Array:
    return x.reshape(-1, x.shape[-1])


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)
