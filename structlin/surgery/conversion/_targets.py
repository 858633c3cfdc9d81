"""The parameter trees of Flax's cells."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from structlin.functional import GRU, LSTM
from structlin.surgery.conversion._cell import Weights

__all__ = ["to_linen", "to_nnx"]

Tree = dict[str, dict[str, Any]]

_ORDER = {"lstm": "".join(LSTM.gates), "gru": "".join(GRU.gates)}


def to_linen(weights: Weights, recurrent_bias: bool, dtype: Any) -> Tree:
    """Linen's cells: a module for each gate and side.

    Of an LSTM, the hidden side has all biases. Of a GRU, the input side has them, and the hidden
    side that of n, which r multiplies.
    """
    if recurrent_bias:
        raise ValueError("recurrent_bias= is for NNX: Linen's GRUCell has that bias.")
    lstm = weights.cell == "lstm"
    tree: Tree = {}
    for gate, (kernel, recurrent, inside, outside) in _by_gate(weights).items():
        tree["i" + gate] = {"kernel": kernel}
        tree["h" + gate] = {"kernel": recurrent}
        if gate == "n":
            tree["in"]["bias"], tree["hn"]["bias"] = inside, outside
        else:
            tree[("h" if lstm else "i") + gate]["bias"] = _sum(inside, outside)
    return _jax(tree, dtype)


def to_nnx(weights: Weights, recurrent_bias: bool, dtype: Any) -> Tree:
    """NNX's cells: the gates side by side, ``dense_i`` and ``dense_h``."""
    parts = list(_by_gate(weights).values())
    inputs: dict[str, Any] = {"kernel": np.concatenate([p[0] for p in parts], axis=1)}
    states: dict[str, Any] = {"kernel": np.concatenate([p[1] for p in parts], axis=1)}
    if weights.cell == "lstm":
        if recurrent_bias:
            raise ValueError("recurrent_bias= is for GRUs: an LSTM cell has that bias.")
        states["bias"] = np.concatenate([_sum(p[2], p[3]) for p in parts])
        return _jax({"dense_i": inputs, "dense_h": states}, dtype)
    *rest, (_, _, inside, outside) = parts
    if np.any(outside) and not recurrent_bias:
        raise ValueError(
            "This GRU has a bias inside the product with its reset gate, which nnx.GRUCell has "
            "not. Use target='linen' (nn.GRUCell has it), or set "
            "cell.dense_h = nnx.Linear(h, 3 * h, rngs=rngs) and give recurrent_bias=True."
        )
    inputs["bias"] = np.concatenate([*[_sum(p[2], p[3]) for p in rest], inside])
    if recurrent_bias:
        zeros = [np.zeros_like(p[3]) for p in rest]
        states["bias"] = np.concatenate([*zeros, outside])
    return _jax({"dense_i": inputs, "dense_h": states}, dtype)


def _by_gate(weights: Weights) -> dict[str, tuple[np.ndarray, ...]]:
    """Gate -> both kernels and both biases, in Flax's order."""
    sides = (weights.input, weights.recurrent, weights.input_bias, weights.recurrent_bias)
    split = [np.split(side, len(weights.gates), axis=-1) for side in sides]
    found = dict(zip(weights.gates, zip(*split, strict=True), strict=True))
    return {gate: found[gate] for gate in _ORDER[weights.cell]}


def _sum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.float64) + b.astype(np.float64)).astype(a.dtype)


def _jax(tree: Tree, dtype: Any) -> Tree:
    return {
        module: {name: jnp.asarray(array, dtype or array.dtype) for name, array in arrays.items()}
        for module, arrays in tree.items()
    }
