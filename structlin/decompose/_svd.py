"""Low-rank factors of a dense matrix, exact and weighted."""

import jax
import jax.numpy as jnp

from structlin.decompose._dtypes import wide_dtype
from structlin.decompose._leading import leading_right

__all__ = ["truncated_svd", "weighted_low_rank"]

EIGH_ROWS = 2048
"""Up to so many rows (or as many as columns) a covariance is taken apart by its eigenvalues."""


def truncated_svd(
    dense: jax.Array,
    rank: int,
    weights: jax.Array | None = None,
    covariance: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The best rank-``rank`` factors of ``dense``, with the singular values shared evenly.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        rank: The number of singular directions kept, at most ``min(m, n)``.
        weights: Non-negative importance of each row, ``(m,)``; ``None`` weighs all alike.
        covariance: In place of ``weights``: ``C``, ``(m, m)``, Hermitian and positive
            semi-definite, singular or not.

    Returns:
        ``left`` ``(m, rank)`` and ``right`` ``(rank, n)``, in the dtype of ``dense``, that minimise
        ``sum_i weights_i * ||dense_i - (left @ right)_i||^2``, or ``tr(E^H C E)`` of the error
        ``E``. Large matrices go by `leading_right`, which says how near to the optimum that is.

    Reference:
        Eckart and Young (1936); with row weights Chen et al. (2018), "GroupReduce", eq. 2. There
        the left factor is ``Q^-1 U S``; here it is the equal ``A V``, which a weight of zero or a
        singular covariance cannot make infinite.
    """
    wide = dense.astype(wide_dtype(dense.dtype))
    if covariance is None and weights is None:
        u, s, vh = leading_right(wide, rank)
        root = jnp.sqrt(s)
        return (u * root).astype(dense.dtype), (root[:, None] * vh).astype(dense.dtype)
    if covariance is not None:
        s, vh = _leading_under(wide, rank, covariance.astype(wide.dtype))
    else:
        root = jnp.sqrt(jnp.asarray(weights)).astype(wide.dtype)
        _, s, vh = leading_right(root[:, None] * wide, rank)
    left, right = _shared(wide @ vh.conj().T, s, vh)
    return left.astype(dense.dtype), right.astype(dense.dtype)


def weighted_low_rank(
    dense: jax.Array, rank: int, weights: jax.Array, rounds: int = 3, steps: int = 4
) -> tuple[jax.Array, jax.Array]:
    """Factors of small error where each entry has a weight of its own; no optimum is known.

    The start is the better of two exact fits, by the mean weight of each row and by the rank-one
    weight of the same row and column sums. Then each factor in turn goes towards its least-squares
    answer by conjugate gradients, one independent problem for each row of it, so the error never
    grows.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        rank: The inner size, at most ``min(m, n)``.
        weights: Non-negative importance of each entry, ``(m, n)``.
        rounds: How often both factors are improved.
        steps: Conjugate gradient steps for a factor.

    Returns:
        ``left`` ``(m, rank)`` and ``right`` ``(rank, n)``, in the dtype of ``dense``.

    Reference:
        Srebro and Jaakkola (2003), "Weighted low-rank approximations", sec. 2, with conjugate
        gradients for the solutions in closed form, which take ``rank^2`` numbers a row.
    """
    wide = dense.astype(wide_dtype(dense.dtype))
    real = jnp.finfo(wide.dtype).dtype
    shares = (weights / jnp.max(weights)).astype(real)
    left, right = _start(wide, rank, shares)
    for _ in range(rounds):
        # One factor is orthonormal while the other is sought: that conditions the problem.
        base, rest = jnp.linalg.qr(right.conj().T)
        right, left = base.conj().T, left @ rest.conj().T
        left = _towards(wide, shares, left, right, steps)
        base, rest = jnp.linalg.qr(left)
        left, right = base, rest @ right
        right = _towards(wide.T, shares.T, right.T, left.T, steps).T
    base, rest = jnp.linalg.qr(left)
    u, s, vh = jnp.linalg.svd(rest @ right, full_matrices=False)
    root = jnp.sqrt(s)
    left, right = (base @ u) * root, root[:, None] * vh
    return left.astype(dense.dtype), right.astype(dense.dtype)


def _leading_under(
    dense: jax.Array, rank: int, covariance: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The leading singular values and right vectors of ``S @ dense`` with ``S^H S == C``."""
    m, n = dense.shape
    if m <= max(n, EIGH_ROWS):
        values, vectors = jnp.linalg.eigh(covariance)
        root = jnp.sqrt(jnp.maximum(values, 0)).astype(dense.dtype)
        _, s, vh = leading_right(root[:, None] * (vectors.conj().T @ dense), rank)
        return s, vh
    gram = dense.conj().T @ (covariance @ dense)
    scale = jnp.max(jnp.abs(gram))
    gram = (gram + gram.conj().T) / jnp.where(scale > 0, 2 * scale, 1)
    values, vectors = jnp.linalg.eigh(gram)
    s = jnp.sqrt(jnp.maximum(values[::-1][:rank], 0) * scale)
    return s, vectors[:, ::-1][:, :rank].conj().T


def _shared(left: jax.Array, s: jax.Array, vh: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``left`` and ``vh`` with ``s`` shared between them."""
    # The scale is zero where a singular value is: keep it away from a division by zero.
    root = jnp.sqrt(jnp.maximum(s, jnp.finfo(s.dtype).tiny ** 0.5))
    return left / root, root[:, None] * vh


def _start(dense: jax.Array, rank: int, shares: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The better of the fits by rows alone and by rows and columns."""
    rows, columns = jnp.mean(shares, axis=1), jnp.mean(shares, axis=0)
    by_rows = truncated_svd(dense, rank, rows)
    # A column that counts for nothing keeps a little, since its scale is taken off again.
    least = jnp.finfo(shares.dtype).eps * jnp.max(columns)
    scale = jnp.sqrt(jnp.maximum(columns, least)).astype(dense.dtype)
    left, right = truncated_svd(dense * scale, rank, rows)
    by_both = left, right / scale

    def error(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.sum(shares * jnp.abs(dense - pair[0] @ pair[1]) ** 2)

    better = error(by_both) < error(by_rows)
    pairs = zip(by_both, by_rows, strict=True)
    first, second = (jnp.where(better, a, b) for a, b in pairs)
    return first, second


def _towards(
    dense: jax.Array, shares: jax.Array, left: jax.Array, right: jax.Array, steps: int
) -> jax.Array:
    """``left`` after ``steps`` conjugate gradient steps, each row by itself, ``right`` fixed."""

    def size(x: jax.Array) -> jax.Array:
        return jnp.sum(jnp.abs(x) ** 2, axis=1, keepdims=True)

    def ratio(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)

    def step(_: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        left, miss, slope, way = state
        moved = way @ right
        before, along = size(slope), jnp.sum((way.conj() * slope).real, axis=1, keepdims=True)
        curve = jnp.sum(shares * jnp.abs(moved) ** 2, axis=1, keepdims=True)
        length = ratio(along, curve)
        left, miss = left + length * way, miss - length * moved
        slope = (shares * miss) @ right.conj().T
        # Where nothing but rounding is left, the ratio of two slopes could be anything.
        turn = jnp.minimum(ratio(size(slope), before), 1)
        return left, miss, slope, slope + turn * way

    miss = dense - left @ right
    slope = (shares * miss) @ right.conj().T
    return jax.lax.fori_loop(0, steps, step, (left, miss, slope, slope))[0]
