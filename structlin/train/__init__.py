"""Training helpers that compose with optax and know no layer."""

from structlin.train._dropout import co_matrix_dropout
from structlin.train._schedules import cubic_sparsity
from structlin.train._sparsify import SparsifyState, sparsify, targets

__all__ = ["SparsifyState", "co_matrix_dropout", "cubic_sparsity", "sparsify", "targets"]
