"""Parameters of recurrent cells between Linen and NNX."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.functional import GRU, LSTM, Cell, Kernel, Simple
from structlin.matrices import is_matrix

__all__ = ["from_nnx", "to_nnx"]

Tree = dict[str, Any]

_LSTM = {"ii", "if_", "ig", "io", "hi", "hf", "hg", "ho"}
_CELLS: tuple[Cell, ...] = (LSTM(), GRU(), Simple())


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
    cell = next((c for c in _CELLS if _is_linen(c, params)), None)
    if cell is None:
        return {k: to_nnx(v) if isinstance(v, Mapping) else v for k, v in params.items()}
    weights = cell.weights(params)
    if isinstance(cell, GRU):
        inside = weights.recurrent_bias
        if isinstance(inside, Tracer) or np.any(np.asarray(inside)):
            raise ValueError(
                "This GRU has a bias inside the product with its reset gate (hn/bias), which "
                "nnx.GRUCell has not: no parameters make them equal."
            )
    inputs: Tree = {"kernel": weights.input}
    states: Tree = {"kernel": weights.recurrent}
    (states if isinstance(cell, LSTM) else inputs)["bias"] = weights.bias
    return {"dense_i": inputs, "dense_h": states}


def from_nnx(params: Mapping[str, Any]) -> Tree:
    """The parameters of an NNX model as Linen has them: the inverse of `to_nnx`.

    A dense side of a cell becomes a kernel for each gate, as Flax's cells have it; a structured
    side stays one matrix, as the cells of `structlin.linen` read it.

    Args:
        params: Nested dictionaries, as `params` returns them.
    """
    names = set(params)
    if names == {"dense_i", "dense_h"}:
        return _cell_from_nnx(params["dense_i"], params["dense_h"])
    if names == _LSTM:  # nnx.LSTMCell
        return {k.removesuffix("_"): dict(v) for k, v in params.items()}
    return {k: from_nnx(v) if isinstance(v, Mapping) else v for k, v in params.items()}


def _is_linen(cell: Cell, params: Mapping[str, Any]) -> bool:
    """Whether the parameters are those of a cell, each side of it fused or by gate."""
    sides = []
    for side in "ih":
        names = [side] if side in params else [side + g for g in cell.gates]
        if not all(isinstance(params.get(n), Mapping) and "kernel" in params[n] for n in names):
            return False
        sides.append(names)
    if set(params) != {n for names in sides for n in names}:
        return False
    hidden = params[sides[1][0]]["kernel"].shape[0]
    widths = [sum(params[n]["kernel"].shape[1] for n in names) for names in sides]
    return widths == [len(cell.gates) * hidden] * 2


def _cell_from_nnx(inputs: Mapping[str, Any], states: Mapping[str, Any]) -> Tree:
    hidden, wide = states["kernel"].shape
    cell = next(c for c in _CELLS if len(c.gates) * hidden == wide)
    if isinstance(cell, Simple):
        return {"i": dict(inputs), "h": dict(states)}
    bias: Any = inputs.get("bias")
    recurrent_bias: Any = states.get("bias")
    if isinstance(cell, GRU):
        recurrent_bias = jnp.zeros_like(bias) if recurrent_bias is None else recurrent_bias
        outside, inside = recurrent_bias[: 2 * hidden], recurrent_bias[2 * hidden :]
        bias, recurrent_bias = bias.at[: 2 * hidden].add(outside), inside
    return {
        **_side("i", inputs["kernel"], bias, cell.gates, cell.input_biases),
        **_side("h", states["kernel"], recurrent_bias, cell.gates, cell.recurrent_biases),
    }


def _side(
    side: str, kernel: Kernel, bias: Any, gates: tuple[str, ...], biased: tuple[str, ...]
) -> Tree:
    if is_matrix(kernel):
        return {side: {"kernel": kernel} | ({"bias": bias} if biased else {})}
    kernels = jnp.split(jnp.asarray(kernel), len(gates), axis=1)
    tree: Tree = {side + g: {"kernel": k} for g, k in zip(gates, kernels, strict=True)}
    parts: list[jax.Array] = jnp.split(bias, len(biased)) if biased else []
    for gate, part in zip(biased, parts, strict=True):
        tree[side + gate]["bias"] = part
    return tree
