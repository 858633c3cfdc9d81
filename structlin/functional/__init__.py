"""The arithmetic of layers: pure functions on "array or matrix", with no framework in them."""

from structlin.functional._dense import Kernel, dense, promote, side_by_side
from structlin.functional._recurrent import (
    GATES,
    LSTMWeights,
    lstm_sequence,
    lstm_step,
    lstm_weights,
)

__all__ = [
    "GATES",
    "Kernel",
    "LSTMWeights",
    "dense",
    "lstm_sequence",
    "lstm_step",
    "lstm_weights",
    "promote",
    "side_by_side",
]
