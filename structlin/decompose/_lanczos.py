"""The leading singular triplets of a matrix too large for a full decomposition, to rounding."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["leading_triplets"]

SPARE = 7
"""Directions in a block beyond those asked for: so many equal singular values are told apart."""

BLOCKS = 8
"""Blocks of the search space; a quarter of it survives a restart."""

RESTARTS = 200
"""The most rounds of the iteration."""


class _Space(NamedTuple):
    round: jax.Array
    basis: jax.Array  # (q, k), orthonormal
    image: jax.Array  # (p, k), table @ basis
    left: jax.Array  # (p, r)
    values: jax.Array  # (r,)
    residual: jax.Array  # relative to the largest singular value


def leading_triplets(table: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The ``count`` largest singular values of ``table`` with their vectors.

    Small and narrow tables are decomposed in full. Others go by a block Lanczos iteration with full
    orthogonalisation, restarted with its best directions, until every residual
    ``||table^H u - s v||`` is below ``eps^(3/4)`` of the largest singular value: the values, whose
    errors are of the order of the squared residual, are then right to rounding.

    Args:
        table: ``(p, q)``, in single precision or wider.
        count: How many, at most ``min(p, q)``.

    Returns:
        ``u`` ``(p, count)``, ``s`` ``(count,)`` descending, and ``vh`` ``(count, q)``.

    Reference:
        Golub, Luk and Overton (1981), "A block Lanczos method for computing the singular values
        and corresponding singular vectors of a matrix", with the restart of Baglama and Reichel
        (2005), "Augmented implicitly restarted Lanczos bidiagonalization methods", sec. 3.
    """
    block = count + SPARE
    if min(table.shape) <= 4 * BLOCKS * block:
        u, s, vh = jnp.linalg.svd(table, full_matrices=False)
        return u[:, :count], s[:count], vh[:count]
    if table.shape[0] < table.shape[1]:
        v, s, uh = leading_triplets(table.T, count)
        return uh.T, s, v.T
    largest = jnp.max(jnp.abs(table))
    scale = jnp.where(largest > 0, largest, 1)  # squares must neither over- nor underflow
    table = table / scale
    enough = float(jnp.finfo(table.dtype).eps) ** 0.75

    def unfinished(space: _Space) -> jax.Array:
        return (space.round < RESTARTS) & ~(space.residual <= enough)

    start = _start(table, block, count)
    found = jax.lax.while_loop(unfinished, lambda s: _round(table, s, block, count), start)
    return found.left, found.values * scale, found.basis[:, :count].conj().T


def _start(table: jax.Array, block: int, count: int) -> _Space:
    """A random block in the place of the last one that a restart keeps."""
    (p, q), size = table.shape, BLOCKS * block
    first = jnp.linalg.qr(_normal(table, block))[0]
    basis = jnp.zeros((q, size), table.dtype).at[:, block : 2 * block].set(first)
    image = jnp.zeros((p, size), table.dtype).at[:, block : 2 * block].set(table @ first)
    real = jnp.finfo(table.dtype).dtype
    left, values = jnp.zeros((p, count), table.dtype), jnp.zeros(count, real)
    return _Space(jnp.asarray(0), basis, image, left, values, jnp.asarray(jnp.inf, real))


def _round(table: jax.Array, space: _Space, block: int, count: int) -> _Space:
    """Fills the space behind the kept directions and takes the best ones of all of it."""
    size, eps = BLOCKS * block, jnp.finfo(table.dtype).eps
    noise = _normal(table, block)
    noise = noise / jnp.linalg.norm(noise)

    def extend(i: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        basis, image = pair
        last = jax.lax.dynamic_slice_in_dim(image, (i - 1) * block, block, axis=1)
        new = _adjoint(table, last)
        # Where it says nothing new, what is left is rounding: noise of that size makes directions.
        level = eps * jnp.linalg.norm(new) + eps**2
        new = new + noise * level.astype(new.dtype)
        for _ in range(3):  # again, for what rounding left over
            new = jnp.linalg.qr(new - basis @ (basis.conj().T @ new))[0]
        basis = jax.lax.dynamic_update_slice_in_dim(basis, new, i * block, axis=1)
        return basis, jax.lax.dynamic_update_slice_in_dim(image, table @ new, i * block, axis=1)

    kept = jnp.arange(size) < 2 * block
    basis, image = jnp.where(kept, space.basis, 0), jnp.where(kept, space.image, 0)
    basis, image = jax.lax.fori_loop(2, BLOCKS, extend, (basis, image))
    u, s, wh = jnp.linalg.svd(image, full_matrices=False)
    basis = basis @ wh.conj().T
    left, values = u[:, :count], s[:count]
    miss = jnp.linalg.norm(_adjoint(table, left) - basis[:, :count] * values, axis=0)
    largest = jnp.maximum(s[0], jnp.finfo(s.dtype).tiny)
    return _Space(space.round + 1, basis, u * s, left, values, jnp.max(miss) / largest)


def _adjoint(table: jax.Array, x: jax.Array) -> jax.Array:
    return (x.conj().T @ table).conj().T


def _normal(table: jax.Array, block: int) -> jax.Array:
    real = jnp.finfo(table.dtype).dtype
    return jax.random.normal(jax.random.key(0), (table.shape[1], block), real).astype(table.dtype)
