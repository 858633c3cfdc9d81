"""One cell's weights between two frameworks, and what the caller said about them."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BEFORE", "Choice", "Weights", "ratio", "refused"]

_GATES = {
    "lstm": {"i": "i", "f": "f", "g": "gcj", "o": "o"},
    "gru": {"r": "r", "z": "zu", "n": "nhc"},
}
_ORDERS = {
    "pytorch": {"lstm": "ifgo", "gru": "rzn"},
    "keras": {"lstm": "ifgo", "gru": "zrn"},
    "tf1": {"lstm": "igfo"},
    "onnx": {"lstm": "iofg", "gru": "zrn"},
}
BEFORE = (
    "its reset gate acts before the recurrent product, n = tanh(x W + (r * h) U), and that of "
    "Flax's GRUCell after it, n = tanh(x W + r * (h U + b)): no parameters make them equal. "
    "Train it again with {}, or write the cell by hand."
)
"""Why a GRU is refused; it takes what to train it with."""


class Weights(NamedTuple):
    """The weights of a cell for ``x @ W``, gates side by side, with both biases.

    Attributes:
        cell: ``"lstm"`` or ``"gru"``.
        gates: The order of the gates, in Flax's letters.
        input: ``(in, k h)``.
        recurrent: ``(h, k h)``.
        input_bias: ``(k h,)``.
        recurrent_bias: ``(k h,)``; of a GRU's n, inside the product with r.
    """

    cell: str
    gates: str
    input: np.ndarray
    recurrent: np.ndarray
    input_bias: np.ndarray
    recurrent_bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the caller said about the cell; `structlin.convert` has the meanings."""

    cell: str | None
    layer: int
    reverse: bool
    gates: str | None
    reset_after: bool | None
    forget_bias: float | None
    attributes: dict[str, Any]

    def check(self, source: str) -> None:
        """Raises if something was said that this source has no use for."""
        numbered, unused = source in ("pytorch", "onnx"), []
        if not numbered and (self.layer or self.reverse):
            unused.append("layer= and reverse= (name the layer with prefix=)")
        if source == "onnx" and self.layer:
            unused.append("layer= with arrays (name the cell with prefix=)")
        if source != "tf1" and self.forget_bias is not None:
            unused.append("forget_bias= (it is part of the stored bias)")
        if source not in ("keras", "onnx") and self.reset_after is not None:
            unused.append("reset_after= (there is only one kind of GRU)")
        if unused:
            raise ValueError(f"Weights from {source} have no use for {'; '.join(unused)}.")

    def kind(self, times: int | None, name: str, shape: tuple[int, ...]) -> str:
        """The kind of cell, from the number of its gates."""
        found = {4: "lstm", 3: "gru"}.get(times or 0)
        if found is None:
            raise ValueError(
                f"{name!r} has shape {shape}: its long side must be 4 times (LSTM) or 3 times "
                "(GRU) its short one."
            )
        if self.cell not in (None, found):
            raise ValueError(f"{name!r} has shape {shape}: that is a {found}, not a {self.cell}.")
        return found

    def order(self, source: str, cell: str) -> str:
        """The order of the gates in Flax's letters."""
        if self.gates is None:
            return _ORDERS[source][cell]
        letters = {name: ours for ours, names in _GATES[cell].items() for name in names}
        order = "".join(letters.get(gate, "?") for gate in self.gates.lower())
        if sorted(order) != sorted(_GATES[cell]):
            known = ", ".join("/".join(names) for names in _GATES[cell].values())
            raise ValueError(
                f"gates={self.gates!r} is not an order of the gates of a {cell}: each of {known} "
                "once."
            )
        return order


def ratio(long: int, short: int) -> int | None:
    """How many times the short side goes into the long one, if it does."""
    return long // short if short and long % short == 0 else None


def refused(why: str) -> ValueError:
    """The error for a cell whose equations Flax has not."""
    return ValueError(f"This cell cannot be a cell of Flax: {why}.")
