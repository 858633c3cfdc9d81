"""Ends of evenly spaced levels: where the outermost numbers are better given up."""

import jax
import jax.numpy as jnp

from structlin.decompose._codes import codes_of, half, levels

__all__ = ["CLIPS", "clipped"]

CLIPS = ("error", "size")
"""What ends can be chosen for."""

TRIES, ROUNDS = 32, 10
STRETCH = 1.25
"""How far beyond the numbers the widest ends are that are tried, over the range of the numbers."""

EXCESS = 1.25
"""The squared error that ``"size"`` may have, over the least."""


def clipped(wide: jax.Array, table: jax.Array, bits: int, codebook: str, clip: str) -> jax.Array:
    """A table of evenly spaced levels whose ends are chosen, not those of the numbers.

    Args:
        wide: The numbers, ``(count,)``.
        table: The levels that reach from the least number to the largest.
        bits: The bits of a code.
        codebook: ``"uniform"`` or ``"symmetric"``.
        clip: ``"error"``: the ends of least squared error that are found, never worse than
            ``table``: the best of 32 narrower ranges, then least squares on the codes and codes on
            the levels in turn, as Lloyd's iteration does with free levels. ``"size"``: from there
            outwards, where codes take the fewest bits by their entropy while the error is a
            quarter above the least at most.

    Returns:
        A table of the same form.
    """

    def error(now: jax.Array) -> jax.Array:
        found = levels(codes_of(wide, now, bits, codebook), now, bits, codebook)
        return jnp.sum((wide - found) ** 2)

    middle = jnp.median(wide)
    shares = jnp.linspace(1, 1 / TRIES, TRIES, dtype=wide.dtype)
    tries = jax.vmap(lambda share: _narrowed(table, middle, share, codebook))(shares)
    best = tries[jnp.argmin(jax.lax.map(error, tries))]
    best = jax.lax.fori_loop(0, ROUNDS, lambda _, t: _refitted(wide, t, bits, codebook), best)
    if clip == "error":
        return best
    outer = _narrowed(table, middle, jnp.asarray(STRETCH, wide.dtype), codebook)
    tries = best + jnp.linspace(0, 1, TRIES, dtype=wide.dtype)[:, None] * (outer - best)
    errors = jax.lax.map(error, tries)
    sizes = jax.lax.map(lambda t: _entropy(codes_of(wide, t, bits, codebook), bits), tries)
    return tries[jnp.argmin(jnp.where(errors <= EXCESS * errors[0], sizes, jnp.inf))]


def _narrowed(table: jax.Array, middle: jax.Array, share: jax.Array, codebook: str) -> jax.Array:
    """The levels drawn together around ``middle``, or around zero if they are symmetric."""
    if codebook == "symmetric":
        return share * table
    return jnp.stack([middle + share * (table[0] - middle), share * table[1]])


def _refitted(wide: jax.Array, table: jax.Array, bits: int, codebook: str) -> jax.Array:
    """The evenly spaced levels of least squared error for the codes that ``table`` gives."""
    codes = codes_of(wide, table, bits, codebook).astype(wide.dtype)
    if codebook == "symmetric":
        codes = codes - half(bits)
        spread = jnp.sum(codes * codes)
        return jnp.where(spread > 0, jnp.sum(codes * wide)[None] / spread, table)
    mean = jnp.mean(codes)
    spread = jnp.sum((codes - mean) ** 2)
    step = jnp.sum((codes - mean) * wide) / spread
    found = jnp.stack([jnp.mean(wide) - step * mean, step])
    return jnp.where(spread > 0, found, table)


def _entropy(codes: jax.Array, bits: int) -> jax.Array:
    """The bits of a code on average, were they coded by how often each occurs."""
    share = jnp.zeros(2**bits).at[codes.astype(jnp.int32)].add(1) / codes.size
    return -jnp.sum(jax.scipy.special.xlogy(share, share)) / jnp.log(2.0)
