"""Recurrent cells trained in PyTorch, Keras, TensorFlow 1 or ONNX, as parameters for Flax cells."""

from collections.abc import Callable
from typing import Any

from structlin.surgery.conversion._cell import Choice, Weights
from structlin.surgery.conversion._keys import Keys
from structlin.surgery.conversion._onnx import from_onnx
from structlin.surgery.conversion._read import read_weights
from structlin.surgery.conversion._sources import detect, from_keras, from_pytorch, from_tf1
from structlin.surgery.conversion._targets import to_linen, to_nnx

__all__ = ["convert"]

_SOURCES: dict[str, Callable[[Keys, Choice], Weights]] = {
    "pytorch": from_pytorch,
    "keras": from_keras,
    "tf1": from_tf1,
    "onnx": from_onnx,
}
_TARGETS = {"linen": to_linen, "nnx": to_nnx}
_CELLS = ("lstm", "gru")


def convert(
    weights: Any,
    *,
    source: str | None = None,
    cell: str | None = None,
    target: str = "linen",
    prefix: str = "",
    layer: int = 0,
    reverse: bool = False,
    gates: str | None = None,
    reset_after: bool | None = None,
    forget_bias: float | None = None,
    recurrent_bias: bool = False,
    dtype: Any = None,
) -> dict[str, dict[str, Any]]:
    """The parameters of one LSTM or GRU cell of another framework, as Flax's cells have them.

    The Flax cell computes the same function, to rounding. What Flax's equations cannot express is
    refused: a GRU whose reset gate acts before the recurrent product (Keras ``reset_after=False``,
    ONNX ``linear_before_reset=0``, TensorFlow 1), peepholes, projections, clipping.

    For example ``tree = convert(torch_model.state_dict(), prefix="encoder.rnn")``, then
    ``nn.RNN(nn.OptimizedLSTMCell(h)).apply({"params": {"cell": tree}}, x)``.

    Args:
        weights: A mapping of names to arrays (NumPy, JAX or PyTorch, such as a ``state_dict``);
            the list of arrays of a Keras layer's ``get_weights()``; or the path of a
            ``.safetensors``, ``.npz`` or ``.onnx`` file (the last needs the package ``onnx``).
        source: Whose names, gate order and equations: ``"pytorch"`` (``weight_ih_l0``, ...),
            ``"keras"`` (``kernel``, ``recurrent_kernel``, ``bias``; Keras 2 and 3, CuDNN layers),
            ``"tf1"`` (``BasicLSTMCell``: one kernel over inputs and state) or ``"onnx"`` (``W``,
            ``R``, ``B``). Read from the names by default.
        cell: ``"lstm"`` or ``"gru"``; read from the shapes by default, and checked.
        target: ``"linen"`` for ``nn.LSTMCell``, ``nn.OptimizedLSTMCell``, ``structlin.LSTMCell``
            and ``nn.GRUCell``; ``"nnx"`` for ``nnx.OptimizedLSTMCell`` and ``nnx.GRUCell``.
        prefix: What stands before the names, such as ``"encoder.rnn"``; of an ONNX file, the name
            of the node. Needed where there are several cells.
        layer: PyTorch's number of the layer; of an ONNX file, which of its nodes.
        reverse: The backward direction of a bidirectional layer: give it to
            ``nn.RNN(..., reverse=True, keep_order=True)``.
        gates: The order of the gates where it is not the source's own: the letters of ``ifgo``
            (``c`` and ``j`` are also g) or ``rzn`` (``u`` is also z, ``h`` and ``c`` also n).
        reset_after: Of a Keras GRU without biases, or an ONNX GRU given as arrays: whether its
            reset gate acts after the recurrent product (ONNX ``linear_before_reset=1``).
        forget_bias: What TensorFlow 1 adds to the forget gate as it runs; 1 by default.
        recurrent_bias: Of a GRU for NNX, whose ``dense_h`` has no bias: also returns one, for a
            cell whose ``dense_h`` was replaced by ``nnx.Linear(h, 3 * h)``.
        dtype: Of the result; by default the dtype of the weights.

    Returns:
        The parameter tree of one cell, by gate for Linen and fused for NNX:
        ``cell.apply({"params": tree}, carry, x)``, or ``nnx.update(cell, tree)``.

    Raises:
        KeyError: A weight is missing; the message names it and what is there.
        ValueError: A shape, gate order or option is wrong, or Flax's cells cannot express the
            cell.
        ImportError: An ``.onnx`` file without the package ``onnx``.

    Reference:
        The equations in the documentation of PyTorch (``LSTM``, ``GRU``), Keras (``LSTM``,
        ``GRU``), TensorFlow 1 (``BasicLSTMCell``) and the ONNX operators ``LSTM`` and ``GRU``.
        Where a framework adds two biases to one sum they become one.
    """
    _known("source", source, [*_SOURCES, None])
    _known("cell", cell, [*_CELLS, None])
    _known("target", target, list(_TARGETS))
    arrays, attributes = read_weights(weights, prefix=prefix, layer=layer)
    if attributes:
        if source not in (None, "onnx"):
            raise ValueError(f"An ONNX file has source 'onnx', not {source!r}.")
        source, prefix, layer = "onnx", "", 0
    keys = Keys(arrays, prefix)
    choice = Choice(cell, layer, reverse, gates, reset_after, forget_bias, attributes)
    found = source or detect(keys)
    choice.check(found)
    return _TARGETS[target](_SOURCES[found](keys, choice), recurrent_bias, dtype)


def _known(name: str, value: Any, choices: list[Any]) -> None:
    if value not in choices:
        options = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}; it must be one of {options}.")
