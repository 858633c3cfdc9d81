"""The arithmetic of layers: pure functions on "array or matrix", with no framework in them."""

from structlin.functional._cell import Cell, CellWeights
from structlin.functional._cells import GRU, LSTM, MGU, Simple
from structlin.functional._compact_cells import QRNN, SRU, CoupledLSTM, FastGRNN, ProjectedLSTM
from structlin.functional._dense import Kernel, dense, promote, side_by_side
from structlin.functional._embed import attend, embed
from structlin.functional._recurrent import (
    GATES,
    LSTMWeights,
    gru_sequence,
    gru_step,
    lstm_sequence,
    lstm_step,
    lstm_weights,
    mgu_sequence,
    mgu_step,
    simple_sequence,
    simple_step,
)

__all__ = [
    "GATES",
    "GRU",
    "LSTM",
    "MGU",
    "QRNN",
    "SRU",
    "Cell",
    "CellWeights",
    "CoupledLSTM",
    "FastGRNN",
    "Kernel",
    "LSTMWeights",
    "ProjectedLSTM",
    "Simple",
    "attend",
    "dense",
    "embed",
    "gru_sequence",
    "gru_step",
    "lstm_sequence",
    "lstm_step",
    "lstm_weights",
    "mgu_sequence",
    "mgu_step",
    "promote",
    "side_by_side",
    "simple_sequence",
    "simple_step",
]
