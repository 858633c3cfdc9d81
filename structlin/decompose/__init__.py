"""Fits: dense arrays in, factor arrays out. Pure functions that know no classes."""

from structlin.decompose._block_low_rank import block_low_rank
from structlin.decompose._circulant import nearest_circulant, nearest_toeplitz
from structlin.decompose._codebook import CODEBOOKS, codes_of, levels, lloyd, table_of
from structlin.decompose._doped import structured_plus_sparse
from structlin.decompose._dtypes import wide_dtype
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
    "CODEBOOKS",
    "RandomizedSVD",
    "block_low_rank",
    "block_magnitude_mask",
    "codes_of",
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
    "randomized_svd",
    "rank_block_sizes",
    "rearrange",
    "row_magnitude_mask",
    "structured_plus_sparse",
    "table_of",
    "truncated_svd",
    "weighted_low_rank",
    "wide_dtype",
]
