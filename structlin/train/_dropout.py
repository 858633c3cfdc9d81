"""Co-matrix dropout: keeps the two parts of a doped matrix from leaning on each other."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.matrices import Diagonal, Masked, Matrix, Product, Sparse, Sum

__all__ = ["co_matrix_dropout"]

Paths = Literal["independent", "exclusive", "sparse", "structured"]


def co_matrix_dropout(
    params: Any,
    key: jax.Array,
    rate: float | jax.Array,
    *,
    paths: Paths = "independent",
    columns: int = 1,
    gates: int | None = None,
    rescale: bool = True,
) -> Any:
    """Drops output neurons of the structured and of the sparse part of each doped matrix.

    A function of the parameters, to be called inside the loss; the model needs no dropout of its
    own. For every sum with a sparse term, each term loses each of its output columns with
    probability ``rate`` and is divided by the probability that it stays: a neuron sees both parts,
    one, or none, so that each part must be of use alone. One draw holds for the whole call, all
    time steps included. A schedule anneals the rate, as the co-matrix gets its final density::

        rate = optax.linear_schedule(0.3, 0.0, 2000)(step)

    All examples of a batch share the draw, since the parameters are all that it changes and they
    are one for the batch. For a draw of each example's own take the loss of one example, with a key
    of its own, and ``jax.vmap`` it; a `Masked` term is then formed for each.

    Args:
        params: A tree of arrays and matrices.
        key: A random key.
        rate: The probability, in 0 to less than 1 (to 1 where ``paths`` is exclusive); may be
            traced.
        paths: ``"independent"``: each term by a draw of its own. ``"exclusive"``: with probability
            ``rate`` a neuron loses the sparse terms or all others, as likely, and never both.
            ``"sparse"`` or ``"structured"``: only the sparse terms, or only the others.
        columns: How many neighbouring columns share a draw; the last of them may be fewer.
        gates: If given, one draw for each of so many equal parts of the columns: the gates of a
            recurrent kernel.
        rescale: Whether what stays is divided by the probability that it stays, which keeps the
            mean of the matrix.

    Returns:
        ``params`` with each doped matrix masked; everything else is passed through.

    Raises:
        ValueError: ``rate``, ``paths``, ``columns`` or ``gates`` is out of range, ``gates`` does
            not divide the columns, or no doped matrix is in ``params``.

    Reference:
        Thakker et al. (2021), "Doped structures for recurrent neural networks" (co-matrix row
        dropout regularisation); the rows of ``y = W x`` are the columns here. The paper's rate and
        rescaling are not known to us: both are the usual ones of dropout.
    """
    _check(rate, paths, columns, gates)
    leaves, tree = jax.tree.flatten(params, is_leaf=_is_doped)
    doped = [i for i, leaf in enumerate(leaves) if _is_doped(leaf)]
    if not doped:
        raise ValueError(
            "No doped matrix (a sum with a Masked or Sparse term) is in these parameters."
        )
    for i, k in zip(doped, jax.random.split(key, len(doped)), strict=True):
        matrix: Sum = leaves[i]
        width = _width(matrix.shape[1], columns, gates)
        kept = _kept(k, matrix, rate, paths, -(-matrix.shape[1] // width))
        stays = 1 - jnp.asarray(rate) / (2 if paths == "exclusive" else 1)
        leaves[i] = Sum(
            tuple(
                t if mask is None else _scaled(t, mask / stays if rescale else mask, width)
                for t, mask in zip(matrix.terms, kept, strict=True)
            )
        )
    return tree.unflatten(leaves)


def _check(rate: Any, paths: str, columns: int, gates: int | None) -> None:
    if paths not in get_args(Paths):
        raise ValueError(f"co_matrix_dropout knows the paths {get_args(Paths)}; given {paths!r}.")
    whole = paths == "exclusive"
    if not isinstance(rate, Tracer) and not (0 <= float(rate) < 1 or (whole and rate == 1)):
        allowed = "[0, 1]" if whole else "[0, 1)"
        raise ValueError(f"co_matrix_dropout needs a rate in {allowed}; given {rate}.")
    if columns < 1 or (gates is not None and (gates < 1 or columns != 1)):
        raise ValueError(
            "co_matrix_dropout needs columns >= 1, or gates >= 1 without columns; given "
            f"{columns=}, {gates=}."
        )


def _is_doped(node: Any) -> bool:
    return isinstance(node, Sum) and any(map(_is_sparse, node.terms))


def _is_sparse(term: Matrix) -> bool:
    return isinstance(term, Masked | Sparse)


def _width(n: int, columns: int, gates: int | None) -> int:
    """How many of ``n`` columns share a draw."""
    if gates is not None and n % gates:
        raise ValueError(f"{gates} gates do not divide the {n} columns of a doped matrix.")
    return columns if gates is None else n // gates


def _kept(key: jax.Array, matrix: Sum, rate: Any, paths: str, draws: int) -> list[Any]:
    """For each term which of ``draws`` groups of columns stay; ``None`` where all do."""
    sparse = [_is_sparse(t) for t in matrix.terms]
    if paths == "exclusive":
        one, other = jax.random.split(key)
        dropped = jax.random.bernoulli(one, rate, (draws,))
        side = jax.random.bernoulli(other, 0.5, (draws,))
        return [~(dropped & (side == s)) for s in sparse]
    keys = jax.random.split(key, len(sparse))
    masks = [jax.random.bernoulli(k, 1 - rate, (draws,)) for k in keys]
    spared = {"independent": None, "sparse": False, "structured": True}[paths]
    return [None if s is spared else m for s, m in zip(sparse, masks, strict=True)]


def _scaled(term: Matrix, scale: jax.Array, width: int) -> Matrix:
    """``term`` with every ``width`` of its columns multiplied by a number of ``scale``."""
    scale = jnp.repeat(scale, width)[: term.shape[1]].astype(term.dtype)
    if isinstance(term, Masked):
        return dataclasses.replace(term, values=term.values * scale)
    return Product.of(term, Diagonal(scale))
