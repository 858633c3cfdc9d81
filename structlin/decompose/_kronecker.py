"""The nearest Kronecker product of a dense matrix, and the nearest sum of such products."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from structlin.decompose._lanczos import leading_triplets

__all__ = ["nearest_kronecker", "nearest_kronecker_terms", "rearrange"]

Shapes = Sequence[tuple[int, int]]
Factors = tuple[jax.Array, ...]


def rearrange(dense: jax.Array, left: tuple[int, int], right: tuple[int, int]) -> jax.Array:
    """The matrix whose rank-one terms are the Kronecker products of ``dense``.

    Args:
        dense: ``(m1 * m2, n1 * n2)``.
        left: The shape ``(m1, n1)`` of the left factor.
        right: The shape ``(m2, n2)`` of the right factor.

    Returns:
        ``(m1 * n1, m2 * n2)``: its entry ``(i1, j1), (i2, j2)`` is ``dense[i1 i2, j1 j2]``, so that
        ``rearrange(kron(A, B)) == outer(vec(A), vec(B))``.
    """
    (m1, n1), (m2, n2) = left, right
    return dense.reshape(m1, m2, n1, n2).transpose(0, 2, 1, 3).reshape(m1 * n1, m2 * n2)


def nearest_kronecker(
    dense: jax.Array, shapes: Shapes, sweeps: int = 50, weights: jax.Array | None = None
) -> Factors:
    """Factors whose Kronecker product is nearest to ``dense`` in the Frobenius norm.

    Two factors without weights are the exact optimum. More start from factors split off one after
    the other and are then improved in turn, each to its optimum while the others stand still, so
    the error never grows. With weights every entry of a factor has its optimum in closed form too;
    they start at the fit without.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        shapes: The shape of each factor; the rows multiply to ``m`` and the columns to ``n``.
        sweeps: How often each factor is improved at most; the last sweep changes nothing but
            rounding. Two factors without weights need none.
        weights: Non-negative importance of each row, ``(m,)``, or of each entry, ``(m, n)``, in the
            squared error; ``None`` weighs all alike.

    Returns:
        The factors, of equal Frobenius norm, in the dtype of ``dense``.

    Reference:
        Van Loan and Pitsianis (1993), "Approximation with Kronecker products".
    """
    return nearest_kronecker_terms(dense, shapes, 1, sweeps, weights)[0]


def nearest_kronecker_terms(
    dense: jax.Array,
    shapes: Shapes,
    terms: int,
    sweeps: int = 50,
    weights: jax.Array | None = None,
) -> tuple[Factors, ...]:
    """Kronecker products of one set of shapes whose sum is nearest to ``dense``.

    Two factors without weights are the exact optimum: the truncated singular value decomposition of
    the rearranged matrix. Otherwise every term is fitted to what those before it miss, and all
    factors of all terms are then improved in turn, so that the error never grows.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        shapes: The shape of each factor of a term.
        terms: How many products; for two factors at most the smaller size of the rearranged matrix.
        sweeps: As for `nearest_kronecker`.
        weights: As for `nearest_kronecker`.

    Returns:
        The factors of each term, those of a term being of equal norm; of two factors the terms are
        orthogonal to each other and fall in norm.

    Reference:
        Van Loan and Pitsianis (1993), "Approximation with Kronecker products", sec. 2 and 4.
    """
    half = jnp.finfo(dense.dtype).bits < 32
    wide = dense.astype(jnp.float32) if half else dense
    if len(shapes) == 2:
        found = _leading_pairs(wide, shapes[0], shapes[1], terms)
    else:
        found, rest = [], wide
        for _ in range(terms):
            found.append(_split(rest, shapes))
            rest = rest - _kron(found[-1])
    if weights is not None:
        weights = weights.astype(jnp.finfo(wide.dtype).dtype)
    if len(shapes) > 2 or weights is not None:
        found = _alternate(wide, found, weights, sweeps)
    return tuple(tuple(f.astype(dense.dtype) for f in _balanced(term)) for term in found)


def _leading_pairs(
    dense: jax.Array, left: tuple[int, int], right: tuple[int, int], count: int
) -> list[Factors]:
    u, s, vh = leading_triplets(rearrange(dense, left, right), count)
    root = jnp.sqrt(s).astype(dense.dtype)
    pairs = ((u[:, i] * root[i], vh[i] * root[i]) for i in range(s.shape[0]))
    return [(a.reshape(left), b.reshape(right)) for a, b in pairs]


def _split(dense: jax.Array, shapes: Shapes) -> Factors:
    """Factors split off from the left, one after the other."""
    factors, rest = [], dense
    for i, shape in enumerate(shapes[:-1]):
        others = shapes[i + 1 :]
        right = math.prod(s[0] for s in others), math.prod(s[1] for s in others)
        first, rest = _leading_pairs(rest, shape, right, 1)[0]
        factors.append(first)
    return (*factors, rest)


def _alternate(
    dense: jax.Array, terms: list[Factors], weights: jax.Array | None, sweeps: int
) -> list[Factors]:
    """Sweeps over all factors of all terms until the error stands still."""

    def error(terms: list[Factors]) -> jax.Array:
        squares = jnp.abs(dense - _total(terms)) ** 2
        if weights is not None:
            squares = squares * (weights[:, None] if weights.ndim == 1 else weights)
        return jnp.sum(squares)

    def unfinished(state: tuple) -> jax.Array:
        sweep, _, now, before = state
        return (sweep < sweeps) & (before - now > 16 * jnp.finfo(now.dtype).eps * now)

    def improve(state: tuple) -> tuple:
        sweep, terms, now, _ = state
        terms = list(terms)
        for t in range(len(terms)):
            rest = dense if len(terms) == 1 else dense - _total(terms[:t] + terms[t + 1 :])
            terms[t] = _improved(rest, terms[t], weights)
        return sweep + 1, terms, error(terms), now

    start = error(terms)
    state = (jnp.asarray(0), terms, start, jnp.full_like(start, jnp.inf))
    return jax.lax.while_loop(unfinished, improve, state)[1]


def _improved(dense: jax.Array, term: Factors, weights: jax.Array | None) -> Factors:
    """Each factor in turn at its optimum: ``<w o others, dense> / <w, |others|^2>``."""
    factors, k = list(term), len(term)
    rows, cols = [f.shape[0] for f in factors], [f.shape[1] for f in factors]
    axes, folded = list(range(2 * k)), dense.reshape(*rows, *cols)
    weighing: list = []
    if weights is not None and weights.ndim == 1:
        weighing = [weights.reshape(rows), axes[:k]]
        folded = folded * weights.reshape(*rows, *[1] * k).astype(dense.dtype)
    elif weights is not None:
        weighing = [weights.reshape(*rows, *cols), axes]
        folded = folded * weights.reshape(*rows, *cols).astype(dense.dtype)
    for i in range(k):
        others = [(j, f) for j, f in enumerate(factors) if j != i]
        above, below = [folded, axes], list(weighing)
        for j, f in others:
            above += [f.conj(), [j, k + j]]
            below += [jnp.abs(f) ** 2, [j, k + j]]
        kept = [a for a in (i, k + i) if any(a in below[at] for at in range(1, len(below), 2))]
        one = jnp.ones((), jnp.finfo(dense.dtype).dtype)
        size = jnp.einsum(*below, kept) if below else one
        size = size[:, None] if len(kept) == 1 else size
        top = jnp.einsum(*above, [i, k + i])
        best = top / jnp.where(size > 0, size, 1).astype(dense.dtype)
        factors[i] = jnp.where(size > 0, best, factors[i])  # what weighs nothing stays
    return tuple(factors)


def _kron(factors: Factors) -> jax.Array:
    return functools.reduce(jnp.kron, factors)


def _total(terms: Sequence[Factors]) -> jax.Array:
    return functools.reduce(jnp.add, map(_kron, terms))


def _balanced(factors: Factors) -> Factors:
    norms = jnp.stack([jnp.linalg.norm(f) for f in factors])
    zero = jnp.any(norms == 0)
    mean = jnp.where(zero, 0, jnp.exp(jnp.mean(jnp.log(jnp.where(norms > 0, norms, 1)))))
    scale = mean / jnp.where(norms > 0, norms, 1)
    return tuple(f * s.astype(f.dtype) for f, s in zip(factors, scale, strict=True))
