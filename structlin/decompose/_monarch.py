"""The nearest Monarch matrix: the leading singular directions of each block."""

import functools

import jax
import jax.numpy as jnp

__all__ = ["nearest_monarch"]


@functools.partial(jax.jit, static_argnames="rank")
def nearest_monarch(
    blocks: jax.Array, rank: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The factors of the Monarch matrix nearest to one given by its blocks.

    Args:
        blocks: ``(K, J, I, L)``: each ``blocks[k, j]`` is fitted on its own.
        rank: Of each block, ``r``, at most ``min(I, L)``.
        weights: Non-negative importance of each row, ``(K, I)``; ``None`` weighs all alike.

    Returns:
        ``left`` ``(K, I, J r)`` and ``right`` ``(J, K r, L)``, the optimum to rounding.

    Reference:
        Dao et al. (2022), "Monarch: Expressive structured matrices for efficient and accurate
        training", theorem 1, of rank one and square; here of any rank, shape and row weights.
    """
    k, j, i, width = blocks.shape
    shares = jnp.ones((k, i), blocks.dtype) if weights is None else jnp.sqrt(weights)
    fit = jax.vmap(jax.vmap(functools.partial(_factors, rank=rank), (0, None)))
    left, right = fit(blocks, shares.astype(blocks.dtype))
    left = jnp.moveaxis(left, 1, 2).reshape(k, i, j * rank)
    return left, jnp.moveaxis(right, 1, 0).reshape(j, k * rank, width)


def _factors(block: jax.Array, roots: jax.Array, rank: int) -> tuple[jax.Array, jax.Array]:
    """Factors of one block, ``(I, r)`` and ``(r, L)``, its rows weighed by squared ``roots``."""
    weighed = roots[:, None] * block
    size = jnp.max(jnp.abs(weighed))
    size = jnp.where(size > 0, size, 1)
    s, vh = _leading(weighed / size.astype(block.dtype), rank)
    # The scale that would share S evenly is zero where S is: keep it away from a division by zero.
    share = jnp.sqrt(jnp.maximum(s * size, jnp.finfo(s.dtype).tiny ** 0.5)).astype(block.dtype)
    return (block @ vh.conj().T) / share, share[:, None] * vh


def _leading(a: jax.Array, rank: int) -> tuple[jax.Array, jax.Array]:
    """The leading singular values ``(r,)`` and right vectors ``(r, L)``.

    By eigenvectors of the smaller Gram matrix, several times as fast as a full decomposition of
    many small blocks, and one iteration that mends what squaring lost.
    """
    rows, columns = a.shape
    if rows <= columns:
        u = jnp.linalg.eigh(a @ a.conj().T)[1][:, rows - rank :]
    else:
        u = _orthonormal(a @ jnp.linalg.eigh(a.conj().T @ a)[1][:, columns - rank :])
    u = _orthonormal(a @ _orthonormal(a.conj().T @ u))
    _, s, vh = jnp.linalg.svd(u.conj().T @ a, full_matrices=False)
    return s, vh


def _orthonormal(columns: jax.Array) -> jax.Array:
    return jnp.linalg.qr(columns)[0]
