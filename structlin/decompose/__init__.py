"""Fits: dense arrays in, factor arrays out. Pure functions that know no classes."""

from structlin.decompose._block_low_rank import block_low_rank
from structlin.decompose._circulant import nearest_circulant, nearest_toeplitz
from structlin.decompose._clip import CLIPS
from structlin.decompose._codebook import lloyd, table_of
from structlin.decompose._codes import CODEBOOKS, codes_of, levels
from structlin.decompose._doped import structured_plus_sparse
from structlin.decompose._dtypes import wide_dtype
from structlin.decompose._group_ranks import (
    expand_ranks,
    frequency_ranks,
    group_rank,
    spectrum_ranks,
)
from structlin.decompose._group_reduce import Groups, frequency_groups, group_reduce, on_basis
from structlin.decompose._hmd import hmd, hmd_columns, rank_block_sizes
from structlin.decompose._kronecker import (
    nearest_kronecker,
    nearest_kronecker_terms,
    rearrange,
)
from structlin.decompose._leading import RandomizedSVD, randomized_svd
from structlin.decompose._magnitude import (
    block_magnitude_mask,
    largest_mask,
    magnitude_mask,
    nm_mask,
    row_magnitude_mask,
)
from structlin.decompose._monarch import nearest_monarch
from structlin.decompose._svd import truncated_svd, weighted_low_rank

__all__ = [
    "CLIPS",
    "CODEBOOKS",
    "Groups",
    "RandomizedSVD",
    "block_low_rank",
    "block_magnitude_mask",
    "codes_of",
    "expand_ranks",
    "frequency_groups",
    "frequency_ranks",
    "group_rank",
    "group_reduce",
    "hmd",
    "hmd_columns",
    "largest_mask",
    "levels",
    "lloyd",
    "magnitude_mask",
    "nearest_circulant",
    "nearest_kronecker",
    "nearest_kronecker_terms",
    "nearest_monarch",
    "nearest_toeplitz",
    "nm_mask",
    "on_basis",
    "randomized_svd",
    "rank_block_sizes",
    "rearrange",
    "row_magnitude_mask",
    "spectrum_ranks",
    "structured_plus_sparse",
    "table_of",
    "truncated_svd",
    "weighted_low_rank",
    "wide_dtype",
]
