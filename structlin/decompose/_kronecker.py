"""The nearest Kronecker product of a dense matrix."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

__all__ = ["nearest_kronecker", "rearrange"]

Shapes = Sequence[tuple[int, int]]


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


def nearest_kronecker(dense: jax.Array, shapes: Shapes, sweeps: int = 20) -> tuple[jax.Array, ...]:
    """Factors whose Kronecker product is nearest to ``dense`` in the Frobenius norm.

    Two factors are the exact optimum. More start from factors split off one after the other and are
    then improved in turn, each to its optimum while the others stand still, so the error never
    grows.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        shapes: The shape of each factor; the rows multiply to ``m`` and the columns to ``n``.
        sweeps: How often each factor is improved; two factors need none.

    Returns:
        The factors, of equal Frobenius norm, in the dtype of ``dense``.

    Reference:
        Van Loan and Pitsianis (1993), "Approximation with Kronecker products".
    """
    factors: list[jax.Array] = []
    rest = dense
    for i, shape in enumerate(shapes[:-1]):
        others = shapes[i + 1 :]
        right = math.prod(s[0] for s in others), math.prod(s[1] for s in others)
        first, rest = _leading_pair(rearrange(rest, shape, right), shape, right)
        factors.append(first)
    factors.append(rest)
    if len(factors) > 2:
        factors = _alternate(dense, factors, sweeps)
    return _balanced(factors)


def _leading_pair(
    table: jax.Array, left: tuple[int, int], right: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    u, s, vt = jnp.linalg.svd(table, full_matrices=False)
    root = jnp.sqrt(s[0])
    return (u[:, 0] * root).reshape(left), (vt[0] * root).reshape(right)


def _alternate(dense: jax.Array, factors: list[jax.Array], sweeps: int) -> list[jax.Array]:
    """Solves for each factor in turn: ``<dense, kron of the others> / ||others||^2``."""
    k = len(factors)
    rows, cols = [f.shape[0] for f in factors], [f.shape[1] for f in factors]
    folded = dense.reshape(*rows, *cols)
    for _ in range(sweeps):
        for i in range(k):
            operands: list = [folded, list(range(2 * k))]
            norm = jnp.ones((), dense.dtype)
            for j in range(k):
                if j != i:
                    operands += [factors[j].conj(), [j, k + j]]
                    norm = norm * jnp.sum(jnp.abs(factors[j]) ** 2)
            tiny = jnp.finfo(dense.dtype).tiny
            factors[i] = jnp.einsum(*operands, [i, k + i]) / jnp.maximum(jnp.abs(norm), tiny)
    return factors


def _balanced(factors: list[jax.Array]) -> tuple[jax.Array, ...]:
    norms = jnp.stack([jnp.linalg.norm(f) for f in factors])
    mean = jnp.exp(jnp.mean(jnp.log(norms)))
    scale = jnp.where(norms > 0, mean / jnp.where(norms > 0, norms, 1), 1)
    return tuple(f * s.astype(f.dtype) for f, s in zip(factors, scale, strict=True))
