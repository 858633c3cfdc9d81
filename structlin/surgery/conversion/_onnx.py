"""The LSTM and GRU operators of ONNX."""

from typing import Any

import numpy as np

from structlin.surgery.conversion._cell import BEFORE, Choice, Weights, ratio, refused
from structlin.surgery.conversion._keys import Keys, expect

__all__ = ["from_onnx"]


def from_onnx(keys: Keys, choice: Choice) -> Weights:
    """ONNX ``LSTM`` and ``GRU``: ``(directions, k h, in)``, gates i, o, f, c or z, r, h."""
    keys.need("W")
    attributes = choice.attributes
    recurrent = _direction(keys, "R", choice)
    rows, hidden = recurrent.shape
    cell = choice.kind(ratio(rows, hidden), "R", recurrent.shape)
    _onnx_attributes(attributes, cell)
    if keys.has("P") and np.any(_direction(keys, "P", choice, 1)):
        raise refused("it has peepholes (P), which Flax's LSTM cells have not")
    kernel = _direction(keys, "W", choice)
    expect(f"{keys.prefix}W", kernel, (rows, None))
    bias = np.zeros(2 * rows, kernel.dtype)
    if keys.has("B"):
        bias = _direction(keys, "B", choice, 1)
        expect(f"{keys.prefix}B", bias, (2 * rows,))
    if cell == "gru":
        after = choice.reset_after
        if attributes:
            told, after = after, bool(attributes.get("linear_before_reset", 0))
            if told not in (None, after):
                raise ValueError(f"reset_after is {told}, but linear_before_reset is {int(after)}.")
        if after is None:
            raise ValueError(
                "The arrays of an ONNX GRU do not say whether its reset gate acts after the "
                "recurrent product: give reset_after=True if linear_before_reset is 1."
            )
        if not after:
            raise refused(BEFORE.format("linear_before_reset=1"))
    return Weights(cell, choice.order("onnx", cell), kernel.T, recurrent.T, *np.split(bias, 2))


def _onnx_attributes(attributes: dict[str, Any], cell: str) -> None:
    """Raises for what Flax's cell does not do."""
    usual = ["sigmoid", "tanh"] + ["tanh"] * (cell == "lstm")
    used = [a.decode().lower() for a in attributes.get("activations", [])]
    if used and used != usual * (len(used) // len(usual)):
        raise refused(f"its activations are {used}, not {usual}")
    for name in ("clip", "input_forget"):
        if attributes.get(name):
            raise refused(f"it has {name}={attributes[name]}")


def _direction(keys: Keys, name: str, choice: Choice, ndim: int = 2) -> np.ndarray:
    """One direction's part of an array of an ONNX node."""
    array = keys.get(name)
    if array.ndim == ndim:
        array = array[None]
    expect(keys.prefix + name, array, (None,) * (ndim + 1))
    runs = choice.attributes.get("direction", b"").decode()
    if len(array) == 1:
        if choice.reverse != (runs == "reverse"):
            raise ValueError(
                f"{keys.prefix + name!r} has one direction, {runs or 'forward'}, and reverse is "
                f"{choice.reverse}."
            )
        return array[0]
    if len(array) != 2:
        raise ValueError(f"{keys.prefix + name!r} has shape {array.shape}: not 1 or 2 directions.")
    return array[int(choice.reverse)]
