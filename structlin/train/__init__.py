"""Training helpers that compose with optax and know no layer."""

from structlin.train._adaptive import adaptive_log_softmax, adaptive_softmax_cross_entropy
from structlin.train._alternate import alternate
from structlin.train._average import AverageState, average_params
from structlin.train._check_sparse import check_sparse
from structlin.train._distill import distill, hidden_states, soft_targets
from structlin.train._dropout import co_matrix_dropout
from structlin.train._fake_quantize import codebooks, fake_quantize
from structlin.train._fans import Fans, fans
from structlin.train._iterative import (
    Round,
    iterative_pruning,
    keep_zeros,
    pruning_densities,
    scaled_dropout,
)
from structlin.train._learning_rates import (
    initial_scales,
    learning_rate_multipliers,
    spectral_init,
    structured_learning_rates,
)
from structlin.train._sampled import (
    log_uniform_candidates,
    log_uniform_expected,
    sampled_softmax_cross_entropy,
)
from structlin.train._schedules import (
    constant_sparsity,
    cubic_sparsity,
    one_shot_sparsity,
    threshold_ramp,
)
from structlin.train._sparsify import SparsifyState, sparsify
from structlin.train._supports import Support, targets
from structlin.train._vocabulary import chunked_cross_entropy, log_normalizer

__all__ = [
    "AverageState",
    "Fans",
    "Round",
    "SparsifyState",
    "Support",
    "adaptive_log_softmax",
    "adaptive_softmax_cross_entropy",
    "alternate",
    "average_params",
    "check_sparse",
    "chunked_cross_entropy",
    "co_matrix_dropout",
    "codebooks",
    "constant_sparsity",
    "cubic_sparsity",
    "distill",
    "fake_quantize",
    "fans",
    "hidden_states",
    "initial_scales",
    "iterative_pruning",
    "keep_zeros",
    "learning_rate_multipliers",
    "log_normalizer",
    "log_uniform_candidates",
    "log_uniform_expected",
    "one_shot_sparsity",
    "pruning_densities",
    "sampled_softmax_cross_entropy",
    "scaled_dropout",
    "soft_targets",
    "sparsify",
    "spectral_init",
    "structured_learning_rates",
    "targets",
    "threshold_ramp",
]
