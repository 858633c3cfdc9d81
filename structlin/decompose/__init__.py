"""Fits: dense arrays in, factor arrays out. Pure functions that know no classes."""

from structlin.decompose._doped import structured_plus_sparse
from structlin.decompose._hmd import hmd, rank_block_sizes
from structlin.decompose._kronecker import nearest_kronecker, rearrange
from structlin.decompose._magnitude import magnitude_mask
from structlin.decompose._svd import truncated_svd

__all__ = [
    "hmd",
    "magnitude_mask",
    "nearest_kronecker",
    "rank_block_sizes",
    "rearrange",
    "structured_plus_sparse",
    "truncated_svd",
]
