"""The leading singular vectors of matrices small and large."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["RandomizedSVD", "leading_right", "randomized_svd"]

LAPACK_SIDE = 512
"""Matrices whose shorter side is up to this long go to LAPACK's singular value decomposition."""

GRAM_SIDE = 4096
"""Up to this shorter side the Gram matrix can be taken apart in seconds."""

FEW = 48
"""Fewer singular directions than a ``FEW``-th of the shorter side are sought at random."""


class RandomizedSVD(NamedTuple):
    """A truncated singular value decomposition and how far it is from the matrix.

    Attributes:
        u: Orthonormal columns, ``(m, rank)``.
        s: Singular values, descending, ``(rank,)``.
        vh: Orthonormal rows, ``(rank, n)``.
        residual: ``||A - u s vh||_F``, computed from the difference itself, ``()``.
        bound: What ``||A - u s vh||_2`` exceeds with a probability of ``10^-6`` at most, ``()``.
    """

    u: jax.Array
    s: jax.Array
    vh: jax.Array
    residual: jax.Array
    bound: jax.Array


def randomized_svd(
    dense: jax.Array,
    rank: int,
    oversample: int = 10,
    iterations: int = 3,
    key: jax.Array | None = None,
    tolerance: float = 1e-5,
) -> RandomizedSVD:
    """The leading singular vectors of ``dense`` from products with a few blocks of vectors.

    A random block ``V`` grows to a Krylov basis ``[V, A^H A V, (A^H A)^2 V, ...]``; the best of it
    is the next block. Slowly falling singular values need more iterations than fast ones; of noise
    alone, whose singular values crowd, the residual stays some tenths of a percent above the
    optimum.

    Args:
        dense: The matrix, ``(m, n)``, of single precision or wider.
        rank: The number of singular directions, at most ``min(m, n)``.
        oversample: How many more directions are carried than asked for.
        iterations: The most Krylov bases built, one from the best of the other.
        key: A random key; a fixed one if not given.
        tolerance: An iteration that lowers the squared residual by less than this share of it is
            the last.

    Returns:
        The decomposition with its errors.

    Raises:
        ValueError: ``rank`` is not in 1 to ``min(m, n)``, or another count is too small.

    Reference:
        Halko, Martinsson and Tropp (2011), "Finding structure with randomness": algorithm 4.4 with
        all blocks kept (Musco and Musco, 2015, algorithm 2); the bound is eq. 4.3, with ``alpha``
        of 10 and 6 vectors.
    """
    m, n = dense.shape
    if not 1 <= rank <= min(m, n):
        raise ValueError(f"A {m} x {n} matrix has a rank from 1 to {min(m, n)}; given {rank}.")
    if oversample < 0 or iterations < 1:
        raise ValueError(
            "randomized_svd needs oversample >= 0 and iterations >= 1; given "
            f"oversample={oversample}, iterations={iterations}."
        )
    first, second = jax.random.split(jax.random.key(0) if key is None else key)
    u, s, vh = _randomized(dense, rank, oversample, iterations, first, tolerance)
    left = u * s
    probes = jax.random.normal(second, (n, 6), dense.dtype)
    missed = jnp.linalg.norm(dense @ probes - left @ (vh @ probes), axis=0)
    # Of complex probes the expected square is that of real ones; the bound holds all the more.
    bound = 10 * jnp.sqrt(2 / jnp.pi).astype(missed.dtype) * jnp.max(missed)
    return RandomizedSVD(u, s, vh, jnp.linalg.norm(dense - left @ vh), bound)


def leading_right(dense: jax.Array, rank: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``u`` ``(m, rank)``, ``s`` and ``vh`` ``(rank, n)`` of the leading singular directions.

    How is decided by the shape alone: LAPACK for a shorter side up to 512; a random start and
    Krylov iterations for few directions of a large matrix; for more, up to a shorter side of 4096,
    the eigenvectors of the Gram matrix with one iteration after it, which mends what squaring lost
    of directions below the root of the rounding unit.
    """
    side = min(dense.shape)
    if side <= LAPACK_SIDE:
        u, s, vh = jnp.linalg.svd(dense, full_matrices=False)
        return u[:, :rank], s[:rank], vh[:rank]
    few = rank * FEW <= side
    if few or (side > GRAM_SIDE and rank * 4 <= side):
        return _randomized(dense, rank, 10, 3, jax.random.key(0), 1e-5)
    if dense.shape[0] < dense.shape[1]:
        u, s, vh = leading_right(dense.conj().T, rank)
        return vh.conj().T, s, u.conj().T
    scale = _largest(dense)
    scaled = dense / scale
    basis = jnp.linalg.eigh(scaled.conj().T @ scaled)[1][:, ::-1][:, : rank + 10]
    basis = _orthonormal(scaled.conj().T @ _orthonormal(scaled @ basis))
    u, s, vh = _ritz(scaled, basis, rank)
    return u, s * scale, vh


def _randomized(
    dense: jax.Array, rank: int, oversample: int, iterations: int, key: jax.Array, tolerance: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    m, n = dense.shape
    width = min(rank + oversample, m, n)
    depth = _depth(width, min(m, n))
    scale = _largest(dense)
    scaled = dense / scale
    adjoint = scaled.conj().T
    total = jnp.sum(jnp.abs(scaled) ** 2)

    def grown(block: jax.Array) -> jax.Array:
        blocks = [block]
        for _ in range(depth):
            after = adjoint @ _orthonormal(scaled @ blocks[-1])
            for _ in range(2):  # once leaves what rounding put back
                for before in blocks:
                    after = after - before @ (before.conj().T @ after)
                after = _orthonormal(after)
            blocks.append(after)
        return jnp.concatenate(blocks, axis=1)

    def unfinished(state: tuple) -> jax.Array:
        count, _, now, before = state
        rest = jnp.maximum(total - now, jnp.finfo(now.dtype).eps * total)
        return (count < iterations) & (now - before > tolerance * rest)

    def iterate(state: tuple) -> tuple:
        count, block, now, _ = state
        _, s, vh = _ritz(scaled, grown(block), width)
        return count + 1, vh.conj().T, jnp.sum(s[:rank] ** 2), now

    start = _orthonormal(jax.random.normal(key, (n, width), dense.dtype))
    none = jnp.zeros((), total.dtype)
    first = iterate((jnp.asarray(0), start, none, none))
    block = jax.lax.while_loop(unfinished, iterate, first)[1]
    u, s, vh = _ritz(scaled, block, rank)
    return u, s * scale, vh


def _depth(width: int, side: int) -> int:
    """How many blocks follow the first: deep for narrow blocks, and all must fit the side."""
    room = side // width - 1
    return max(0, min(room, 3 if width > 64 else 8))


def _ritz(dense: jax.Array, basis: jax.Array, rank: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The best singular directions with right vectors in the span of an orthonormal basis."""
    q, r = jnp.linalg.qr(dense @ basis)
    u, s, vh = jnp.linalg.svd(r, full_matrices=False)
    return q @ u[:, :rank], s[:rank], vh[:rank] @ basis.conj().T


def _orthonormal(block: jax.Array) -> jax.Array:
    return jnp.linalg.qr(block)[0]


def _largest(dense: jax.Array) -> jax.Array:
    """The largest magnitude, or one: squares of what it divides neither over- nor underflow."""
    size = jnp.max(jnp.abs(dense))
    return jnp.where(size > 0, size, 1)
