"""The arithmetic of layers: pure functions on "array or matrix", with no framework in them."""

from structlin.functional._cell import Cell, CellWeights
from structlin.functional._cell_params import check_params, described
from structlin.functional._cells import GRU, LSTM, MGU, Simple
from structlin.functional._compact_cells import QRNN, SRU, CoupledLSTM, FastGRNN, ProjectedLSTM
from structlin.functional._dense import Kernel, dense, precise, promote, side_by_side
from structlin.functional._embed import attend, embed
from structlin.functional._projection import (
    pack_signs,
    project,
    project_features,
    projected_columns,
    signs,
    unpack_signs,
)

__all__ = [
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
    "ProjectedLSTM",
    "Simple",
    "attend",
    "check_params",
    "dense",
    "described",
    "embed",
    "pack_signs",
    "precise",
    "project",
    "project_features",
    "projected_columns",
    "promote",
    "side_by_side",
    "signs",
    "unpack_signs",
]
