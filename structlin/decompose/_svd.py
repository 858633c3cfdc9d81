"""Low-rank factors of a dense matrix."""

import jax
import jax.numpy as jnp

__all__ = ["truncated_svd"]


def truncated_svd(
    dense: jax.Array, rank: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """The best rank-``rank`` factors of ``dense``, with the singular values shared evenly.

    Args:
        dense: The matrix to fit, ``(m, n)``.
        rank: The number of singular directions kept, at most ``min(m, n)``.
        weights: Non-negative importance of each row, ``(m,)``; ``None`` weighs all alike.

    Returns:
        ``left`` ``(m, rank)`` and ``right`` ``(rank, n)``, in the dtype of ``dense``, that minimise
        ``sum_i weights_i * ||dense_i - (left @ right)_i||^2``.

    Reference:
        Eckart and Young (1936); with row weights Chen et al. (2018), "GroupReduce", eq. 2. There
        the left factor is ``Q^-1 U S``; here it is the equal ``A V``, which a zero weight cannot
        make infinite.
    """
    if weights is None:
        u, s, vt = jnp.linalg.svd(dense, full_matrices=False)
        root = jnp.sqrt(s[:rank])
        return u[:, :rank] * root, root[:, None] * vt[:rank]
    q = jnp.sqrt(weights).astype(dense.dtype)
    _, s, vt = jnp.linalg.svd(q[:, None] * dense, full_matrices=False)
    # The scale that would share S evenly is zero where S is: keep it away from a division by zero.
    root = jnp.sqrt(jnp.maximum(s[:rank], jnp.finfo(s.dtype).tiny ** 0.5))
    vt = vt[:rank]
    return (dense @ vt.T.conj()) / root, root[:, None] * vt
