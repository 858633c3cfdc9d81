"""Parameters of recurrent cells between Linen and NNX."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.functional import GATES, Kernel, lstm_weights, side_by_side
from structlin.matrices import is_matrix

__all__ = ["from_nnx", "to_nnx"]

Tree = dict[str, Any]

_GRU = ("r", "z", "n")
_BY_GATE = {gates: {s + g for s in "ih" for g in gates} for gates in (GATES, _GRU)}


def to_nnx(params: Mapping[str, Any]) -> Tree:
    """The parameters of a Linen model as NNX has them.

    Every LSTM, GRU and simple cell in the tree, of Flax or of this library, becomes ``dense_i`` and
    ``dense_h``; all else has the same names and values in both. Matrices stay what they are; those
    of the gates of one cell come to stand side by side. `with_params` puts the tree into a model.

    Args:
        params: Nested dictionaries.

    Raises:
        ValueError: A GRU has a bias inside the product with its reset gate (``hn/bias``) that is
            not zero: ``nnx.GRUCell`` has none.
    """
    names = set(params)
    if names in (_BY_GATE[GATES], {"i", "h"}) and _is_lstm(params):
        weights = lstm_weights(params)
        states = {"kernel": weights.recurrent, "bias": weights.bias}
        return {"dense_i": {"kernel": weights.input}, "dense_h": states}
    if names == _BY_GATE[_GRU]:
        return _gru_to_nnx(params)
    if names == {"i", "h"}:
        return {"dense_i": dict(params["i"]), "dense_h": dict(params["h"])}
    return {k: to_nnx(v) if isinstance(v, Mapping) else v for k, v in params.items()}


def from_nnx(params: Mapping[str, Any]) -> Tree:
    """The parameters of an NNX model as Linen has them: the inverse of `to_nnx`.

    A dense side of a cell becomes a kernel for each gate, as Flax's cells have it; a structured
    side of an LSTM stays one matrix, as `structlin.LSTMCell` reads it.

    Args:
        params: Nested dictionaries, as `params` returns them.

    Raises:
        ValueError: A GRU has a structured kernel, which Linen's cell has not as one.
    """
    names = set(params)
    if names == {"dense_i", "dense_h"}:
        return _cell_from_nnx(params["dense_i"], params["dense_h"])
    if names == {"if_" if n == "if" else n for n in _BY_GATE[GATES]}:
        return {k.removesuffix("_"): dict(v) for k, v in params.items()}
    return {k: from_nnx(v) if isinstance(v, Mapping) else v for k, v in params.items()}


def _is_lstm(params: Mapping[str, Any]) -> bool:
    return "h" not in params or "bias" in params["h"]


def _gru_to_nnx(params: Mapping[str, Any]) -> Tree:
    inside = params["hn"].get("bias", 0.0)
    if isinstance(inside, Tracer) or np.any(np.asarray(inside)):
        raise ValueError(
            "This GRU has a bias inside the product with its reset gate (hn/bias), which "
            "nnx.GRUCell has not: no parameters make them equal."
        )
    inputs: Tree = {"kernel": side_by_side([params["i" + g]["kernel"] for g in _GRU])}
    inputs["bias"] = jnp.concatenate([params["i" + g]["bias"] for g in _GRU])
    states = {"kernel": side_by_side([params["h" + g]["kernel"] for g in _GRU])}
    return {"dense_i": inputs, "dense_h": states}


def _cell_from_nnx(inputs: Mapping[str, Any], states: Mapping[str, Any]) -> Tree:
    hidden, wide = states["kernel"].shape
    if wide == hidden:
        return {"i": dict(inputs), "h": dict(states)}
    if wide == 4 * hidden:
        return {
            **_side("i", inputs["kernel"], None, GATES),
            **_side("h", states["kernel"], states["bias"], GATES),
        }
    if is_matrix(inputs["kernel"]) or is_matrix(states["kernel"]):
        raise ValueError(
            "A structured GRU kernel is one matrix over all gates in NNX; Linen's cell has one for "
            "each gate. Densify it first."
        )
    tree = _side("i", inputs["kernel"], inputs["bias"], _GRU)
    tree |= _side("h", states["kernel"], None, _GRU)
    bias = states.get("bias")
    zeros = jnp.zeros((hidden,), states["kernel"].dtype)
    tree["hn"]["bias"] = zeros if bias is None else bias[-hidden:]
    return tree


def _side(side: str, kernel: Kernel, bias: Any, gates: tuple[str, ...]) -> Tree:
    if is_matrix(kernel):
        return {side: {"kernel": kernel} | ({} if bias is None else {"bias": bias})}
    kernels = jnp.split(jnp.asarray(kernel), len(gates), axis=1)
    tree: Tree = {side + g: {"kernel": k} for g, k in zip(gates, kernels, strict=True)}
    if bias is not None:
        for gate, part in zip(gates, jnp.split(bias, len(gates)), strict=True):
            tree[side + gate]["bias"] = part
    return tree
