"""Numbers about a matrix, from its rows a few at a time: nothing here forms it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from structlin.decompose import wide_dtype
from structlin.matrices._arithmetic import Arithmetic
from structlin.matrices._interface import Interface
from structlin.matrices._registry import able, combinator

if TYPE_CHECKING:
    from structlin.matrices._base import Matrix

__all__ = ["Reductions", "wide_dtype"]

POWER_STEPS = 1000
"""The most products with ``W^H W`` that ``norm(2)`` takes."""


class Reductions(Arithmetic):
    """Diagonal, trace, norms and Gram matrix; a structure with a closed form overrides them.

    Sums over many entries accumulate in at least single precision and come back in the dtype of the
    matrix (norms in its real dtype).
    """

    def diagonal(self) -> jax.Array:
        """The entries ``i, i``, ``(min(m, n),)``."""
        count = min(self.shape)
        return _map_rows(self, _own_column, count).reshape(-1)[:count]

    def trace(self) -> jax.Array:
        """The sum of the diagonal, ``()``."""
        return jnp.sum(self.diagonal().astype(wide_dtype(self.dtype))).astype(self.dtype)

    def frobenius_norm(self) -> jax.Array:
        """The root of the sum of the squared magnitudes of all entries, ``()``."""
        squares = _map_rows(self, lambda y, _: jnp.sum(_square(y), axis=1), self.shape[0])
        return jnp.sqrt(jnp.sum(squares)).astype(_real(self.dtype))

    def norm(self, ord: Any = "fro") -> jax.Array:
        """A norm of the matrix, ``()``, named as in ``numpy.linalg.norm``.

        Args:
            ord: ``"fro"`` or ``None``; ``1`` (largest column sum of magnitudes); ``inf`` (largest
                row sum); ``2`` (largest singular value; structures without ``svd`` find it by
                power iteration until it changes by less than a few units of rounding, so it is a
                lower bound); ``-2`` and ``"nuc"`` (smallest, and sum of the singular values; only
                where there is an ``svd``).

        Raises:
            ValueError: ``ord`` is none of these.
            UnsupportedError: ``-2`` or ``"nuc"`` of a structure that has no ``svd``.
        """
        if ord in (None, "fro"):
            return self.frobenius_norm()
        if ord == float("inf"):
            sums = _map_rows(self, lambda y, _: jnp.sum(_magnitude(y), axis=1), self.shape[0])
            return jnp.max(sums).astype(_real(self.dtype))
        if ord == 1:
            return self.T.norm(float("inf"))
        if ord == 2 and not _has_svd(self):
            return _power_iteration(self).astype(_real(self.dtype))
        if ord in (2, -2, "nuc"):
            reduce: Callable[..., jax.Array] = {2: jnp.max, -2: jnp.min, "nuc": jnp.sum}[ord]
            return reduce(_singular_values(self))
        raise ValueError(f"norm has ord 'fro', 'nuc', 1, 2, -2 and inf; given {ord!r}.")

    def gram(self) -> "Matrix":
        """``W^H W``, ``(n, n)``."""
        return combinator("Product").of(self.H, self)


def _own_column(y: jax.Array, numbers: jax.Array) -> jax.Array:
    return jnp.take_along_axis(y, numbers[:, None], axis=1)[:, 0]


def _real(dtype: Any) -> Any:
    return jnp.finfo(dtype).dtype


def _magnitude(y: jax.Array) -> jax.Array:
    return jnp.abs(y.astype(wide_dtype(y.dtype)))


def _square(y: jax.Array) -> jax.Array:
    wide = y.astype(wide_dtype(y.dtype))
    return (wide * wide.conj()).real


def _map_rows(w: Any, function: Callable[..., jax.Array], count: int) -> jax.Array:
    """``function(rows, numbers)`` over the first ``count`` rows, a part at a time; zeros after."""
    m, n = w.shape
    width = m + n if _picks_by_products(w) else n  # numbers for one row
    part = max(1, min(m * n // (4 * width), 65536 // width, count))
    parts = -(-count // part)
    numbers = jnp.arange(parts * part, dtype=jnp.int32).reshape(parts, part)

    def of_part(i: jax.Array) -> jax.Array:
        inside = jnp.minimum(i, count - 1)
        found = function(w._take(inside), inside)
        return jnp.where(i < count, found, jnp.zeros((), found.dtype))

    return jax.lax.map(of_part, numbers)


def _picks_by_products(w: Any) -> bool:
    """Whether ``_take`` of ``w`` or of a part of it multiplies unit rows, ``(rows, m)``."""
    if type(w)._take is Interface._take:
        return True
    parts = jax.tree.leaves(w, is_leaf=lambda part: isinstance(part, Interface) and part is not w)
    return any(_picks_by_products(part) for part in parts if isinstance(part, Interface))


def _singular_values(w: Any) -> jax.Array:
    """All ``min(m, n)`` of them; a structure of lower rank leaves out zeros."""
    s = w.svd()[1]
    return jnp.pad(s, (0, min(w.shape) - s.shape[0]))


def _has_svd(w: Any) -> bool:
    if type(w).__name__ not in able("svd"):
        return False
    # A combinator may or may not have one, as its parts decide: trace it without computing it.
    try:
        jax.eval_shape(lambda w: w._svd()[1], w)
    except NotImplementedError:
        return False
    return True


def _power_iteration(w: Any) -> jax.Array:
    """The largest singular value from products with ``W^H W``."""
    w = w.astype(wide_dtype(w.dtype))
    adjoint, n = w.H, w.shape[1]
    start = jax.random.normal(jax.random.key(0), (n,), _real(w.dtype)).astype(w.dtype)
    enough = 4 * jnp.finfo(w.dtype).eps

    def unfinished(state: tuple) -> jax.Array:
        step, _, now, before = state
        return (step < POWER_STEPS) & (jnp.abs(now - before) > enough * now)

    def step(state: tuple) -> tuple:
        count, v, now, _ = state
        u = w.matmul(v)
        size = jnp.linalg.norm(u)
        v = adjoint.matmul(u / jnp.where(size > 0, size, 1))
        length = jnp.linalg.norm(v)
        return count + 1, v / jnp.where(length > 0, length, 1), length, now

    v = start / jnp.linalg.norm(start)
    zero = jnp.zeros((), _real(w.dtype))
    first = step((0, v, zero, zero))
    return jax.lax.while_loop(unfinished, step, (jnp.asarray(1), *first[1:]))[2]
