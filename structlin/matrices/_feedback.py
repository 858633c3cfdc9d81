"""Sums in few bits: later terms take up what earlier ones lose."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from structlin import decompose
from structlin.matrices._base import Matrix
from structlin.matrices._low_rank import LowRank
from structlin.matrices._sum import Sum
from structlin.matrices._tree import combine, partition

__all__ = ["fed_back"]


def fed_back(matrix: Matrix, rounded: Callable[[Matrix], Matrix]) -> Matrix:
    """A sum whose terms are moved by what the terms before them lose when they are rounded.

    Sparse terms take it up where they have entries, terms of low rank as far as their rank goes;
    others stay as they are. The terms are formed, one at a time.

    Args:
        matrix: Any matrix; one that is no `Sum` comes back as it is.
        rounded: What becomes of a term.
    """
    if not isinstance(matrix, Sum):
        return matrix
    terms, lost = [], jnp.zeros(matrix.shape, matrix.dtype)
    for term in matrix.terms:
        moved = _moved(term, lost) if terms else term
        terms.append(moved)
        lost = lost + term.to_dense() - rounded(moved).to_dense()
    return Sum(tuple(terms))


def _moved(term: Matrix, lost: jax.Array) -> Matrix:
    """The matrix of the entries, or of the rank, of ``term`` that is nearest to the two."""
    if isinstance(term, LowRank):
        rank = term.left.shape[-1]
        return LowRank(*decompose.truncated_svd(term.to_dense() + lost, rank))
    if term._entries() is None:
        return term
    # Such a matrix is linear in its entries, so this derivative reads ``lost`` where they stand.
    values, fixed = partition(term)
    read = jax.vjp(lambda v: combine(v, fixed).to_dense(), values)[1]
    # A zero is padding, or an entry that pruning took.
    moved = jax.tree.map(lambda v, at: jnp.where(v != 0, v + at, v), values, *read(lost))
    return combine(moved, fixed)
