"""What a matrix plus one of low rank can do, from what the first can do by itself."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._identity import Identity
from structlin.matrices._low_rank import LowRank
from structlin.matrices._scaled import Scaled

__all__ = ["Update", "split"]


class Update(NamedTuple):
    """``rest + left @ right``, square.

    Attributes:
        rest: Any matrix, ``(n, n)``.
        left: ``(n, r)``.
        right: ``(r, n)``.

    Reference:
        Hager (1989), "Updating the inverse of a matrix", eq. 2 and 3, for an update of rank ``r``;
        the determinant is that of ``rest`` times that of the small matrix.
    """

    rest: Matrix
    left: jax.Array
    right: jax.Array

    def _small(self, solved: jax.Array) -> jax.Array:
        """``I + right @ rest^-1 @ left`` from ``rest^-1 @ left``."""
        return jnp.eye(self.left.shape[1], dtype=solved.dtype) + self.right @ solved

    def solve(self, b: jax.Array) -> jax.Array:
        """``x`` with ``(rest + left @ right) @ x == b``."""
        columns = b if b.ndim == 2 else b[:, None]
        both = self.rest._solve(jnp.concatenate([columns, self.left.astype(b.dtype)], axis=1))
        x, solved = jnp.split(both, [columns.shape[1]], axis=1)
        x = x - solved @ jnp.linalg.solve(self._small(solved), self.right @ x)
        return x if b.ndim == 2 else x[:, 0]

    def inverse(self) -> tuple[Matrix, LowRank]:
        """The two terms of the inverse."""
        first = self.rest._inverse()
        solved = first.matmul(self.left)
        left = -jnp.linalg.solve(self._small(solved).T, solved.T).T
        return first, LowRank(left, first.rmatmul(self.right))

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """The sign and the logarithm of the determinant."""
        sign, logdet = self.rest._slogdet()
        small, more = jnp.linalg.slogdet(self._small(self.rest._solve(self.left)))
        return sign * small, logdet + more

    def multiple(self) -> jax.Array | None:
        """``c`` where ``rest`` is ``c`` times the identity."""
        if isinstance(self.rest, Identity):
            return jnp.ones((), self.left.dtype)
        if isinstance(self.rest, Scaled) and isinstance(self.rest.inner, Identity):
            return self.rest.scalar
        return None

    def function(
        self, f: Callable[[jax.Array], jax.Array], multiple: jax.Array
    ) -> tuple[Matrix, LowRank]:
        """The two terms of ``f`` of ``multiple * I + left @ right``, which is Hermitian.

        All eigenvectors but those in the span of ``left`` have the eigenvalue ``multiple``.
        """
        span, _ = jnp.linalg.qr(self.left)
        values, turn = jnp.linalg.eigh((span.conj().T @ self.left) @ (self.right @ span))
        vectors, outside = span @ turn, f(multiple)
        change = f(multiple + values.astype(self.left.dtype)) - outside
        first = Scaled(Identity(self.rest.shape[0], self.left.dtype.name), outside)
        return first, LowRank(vectors * change, vectors.conj().T)


def split(terms: tuple[Matrix, ...]) -> Update | None:
    """``terms`` as one matrix and all of low rank stacked; ``None`` where they are not that."""
    thin = [(t, _factors(t)) for t in terms]
    rest = [t for t, factors in thin if factors is None]
    pairs = [factors for _, factors in thin if factors is not None]
    if len(rest) != 1 or not pairs:
        return None
    dtype = jnp.result_type(*(t.dtype for t in terms))
    left = jnp.concatenate([u for u, _ in pairs], axis=-1).astype(dtype)
    right = jnp.concatenate([v for _, v in pairs], axis=-2).astype(dtype)
    return Update(rest[0], left, right)


def _factors(term: Matrix) -> tuple[jax.Array, jax.Array] | None:
    if isinstance(term, LowRank):
        return jnp.asarray(term.left), jnp.asarray(term.right)
    if isinstance(term, Scaled) and (inner := _factors(term.inner)) is not None:
        return inner[0] * term.scalar, inner[1]
    return None
