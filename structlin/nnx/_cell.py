"""What Flax's NNX cells compute, in the words of `structlin.functional`."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from structlin.functional import GRU, LSTM, Cell, CellWeights, Simple, side_by_side
from structlin.nnx import _compact_cells
from structlin.nnx._compact_cell import CompactCell
from structlin.nnx._fields import default
from structlin.nnx._linear import Linear
from structlin.nnx._recurrent import GRUCell, LSTMCell, SimpleCell
from structlin.nnx._variables import value

__all__ = ["arithmetic", "weights_of"]


def arithmetic(module: Any) -> Cell | None:
    """The cell that a module is, or ``None`` if it may compute something else.

    Subclasses are not known, nor cells with layers of other classes or dtypes in them.
    """
    kind = type(module)
    if isinstance(module, CompactCell):
        own = kind.__module__ == _compact_cells.__name__
        return module.arithmetic() if own and all(map(_is_plain, _layers(module))) else None
    if kind not in (*_FUSED, nnx.LSTMCell) or not all(map(_is_plain, _layers(module))):
        return None
    if len({jnp.dtype(d.dtype) if d.dtype else None for d in _layers(module)}) > 1:
        return None
    if kind in (nnx.SimpleCell, SimpleCell):
        return Simple(module.activation_fn, module.residual)
    if kind in (nnx.GRUCell, GRUCell):
        return GRU(module.gate_fn, module.activation_fn)
    return LSTM(module.gate_fn, module.activation_fn)


def weights_of(module: Any) -> tuple[CellWeights, Any]:
    """The weights of a cell that `arithmetic` knows, and the dtype of its products."""
    if isinstance(module, CompactCell):
        return module.weights(), module.dtype
    sides = [[module.dense_i], [module.dense_h]] if type(module) in _FUSED else _by_gate(module)
    kernels = [side_by_side([value(d.kernel) for d in side]) for side in sides]
    biases: list[Any] = [
        None if side[0].bias is None else jnp.concatenate([value(d.bias) for d in side], axis=-1)
        for side in sides
    ]
    if isinstance(module, nnx.LSTMCell | nnx.OptimizedLSTMCell) and biases[0] is None:
        biases.reverse()  # the same sum with the bias on the inputs' side, before the scan
    weights = CellWeights(kernels[0], kernels[1], biases[0], biases[1])
    return weights, sides[0][0].dtype


_FUSED = (
    *(nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell),
    *(LSTMCell, GRUCell, SimpleCell),
)


def _by_gate(module: Any) -> list[list[Any]]:
    inside = [getattr(module, "i" + g if g != "f" else "if_") for g in LSTM.gates]
    return [inside, [getattr(module, "h" + g) for g in LSTM.gates]]


def _layers(module: Any) -> list[Any]:
    if isinstance(module, CompactCell):
        return [module.dense_i, *([module.dense_h] if module.arithmetic().recurrent else [])]
    if type(module) in _FUSED:
        return [module.dense_i, module.dense_h]
    return [layer for side in _by_gate(module) for layer in side]


def _is_plain(layer: Any) -> bool:
    """Whether a layer is the product with its kernel, and nothing else."""
    names = ("precision", "dot_general", "promote_dtype", "preferred_element_type")
    return type(layer) in (nnx.Linear, Linear) and all(
        getattr(layer, name) is default(nnx.Linear, name) for name in names
    )
