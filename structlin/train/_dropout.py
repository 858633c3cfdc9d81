"""Co-matrix dropout: keeps the two parts of a doped matrix from leaning on each other."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.matrices import Diagonal, Masked, Matrix, Product, Sparse, Sum

__all__ = ["co_matrix_dropout"]


def co_matrix_dropout(params: Any, key: jax.Array, rate: float | jax.Array) -> Any:
    """Drops output neurons of the structured and of the sparse part of each doped matrix.

    A function of the parameters, to be called inside the loss; the model needs no dropout of its
    own. For every sum with a sparse term, each term loses each of its output columns with
    probability ``rate``, independently, and is divided by ``1 - rate``: a neuron sees both parts,
    one, or none, so that each part must be of use alone. One draw holds for the whole call, all
    time steps included.

    Args:
        params: A tree of arrays and matrices.
        key: A random key.
        rate: The probability, in 0 to less than 1; may be traced, so that it can be annealed to 0
            as the co-matrix gets its final density.

    Returns:
        ``params`` with each doped matrix masked; everything else is passed through.

    Raises:
        ValueError: ``rate`` is out of range, or no doped matrix is in ``params``.

    Reference:
        Thakker et al. (2021), "Doped structures for recurrent neural networks" (co-matrix row
        dropout regularisation); the rows of ``y = W x`` are the columns here. The paper's rate and
        rescaling are not known to us: both are the usual ones of dropout.
    """
    if not isinstance(rate, Tracer) and not 0 <= float(rate) < 1:
        raise ValueError(f"co_matrix_dropout needs a rate in [0, 1); given {rate}.")
    leaves, tree = jax.tree.flatten(params, is_leaf=_is_doped)
    doped = [i for i, leaf in enumerate(leaves) if _is_doped(leaf)]
    if not doped:
        raise ValueError(
            "No doped matrix (a sum with a Masked or Sparse term) is in these parameters."
        )
    for i, k in zip(doped, jax.random.split(key, len(doped)), strict=True):
        leaves[i] = _drop(leaves[i], k, rate)
    return tree.unflatten(leaves)


def _is_doped(node: Any) -> bool:
    return isinstance(node, Sum) and any(isinstance(t, Masked | Sparse) for t in node.terms)


def _drop(matrix: Sum, key: jax.Array, rate: float | jax.Array) -> Sum:
    def one(term: Matrix, k: jax.Array) -> Matrix:
        kept = jax.random.bernoulli(k, 1 - rate, (term.shape[1],))
        scale = (kept / (1 - jnp.asarray(rate))).astype(term.dtype)
        if isinstance(term, Masked):
            return dataclasses.replace(term, values=term.values * scale)
        return Product.of(term, Diagonal(scale))

    keys = jax.random.split(key, len(matrix.terms))
    return Sum(tuple(one(t, k) for t, k in zip(matrix.terms, keys, strict=True)))
