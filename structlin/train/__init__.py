"""Training helpers that compose with optax and know no layer."""

from structlin.train._check_sparse import check_sparse
from structlin.train._dropout import co_matrix_dropout
from structlin.train._schedules import (
    constant_sparsity,
    cubic_sparsity,
    one_shot_sparsity,
    threshold_ramp,
)
from structlin.train._sparsify import SparsifyState, sparsify
from structlin.train._supports import Support, targets

__all__ = [
    "SparsifyState",
    "Support",
    "check_sparse",
    "co_matrix_dropout",
    "constant_sparsity",
    "cubic_sparsity",
    "one_shot_sparsity",
    "sparsify",
    "targets",
    "threshold_ramp",
]
