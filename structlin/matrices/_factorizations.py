"""Linear systems, spectra and functions of a matrix, where its structure permits them.

The public methods check, widen half precision, and name the error; a structure writes the methods
with an underscore, which are called with operands that fit.
"""

import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from structlin.matrices._arithmetic import operand
from structlin.matrices._reductions import Reductions, wide_dtype
from structlin.matrices._registry import combinator, unsupported

if TYPE_CHECKING:
    from structlin.matrices._base import Matrix

__all__ = ["Factorizations", "hermitian_or_nan", "need_hermitian"]


class Factorizations(Reductions):
    """What a matrix can do only where its structure permits.

    All compute in at least single precision and return the dtype of the matrix. What a structure
    cannot do raises `UnsupportedError`, which names the structures that can.
    """

    def solve(self, b: Any) -> jax.Array:
        """``x`` with ``self @ x == b``, for ``b`` of shape ``(m,)`` or ``(m, k)``.

        Raises:
            ValueError: The matrix is not square, or ``b`` does not fit it.
            UnsupportedError: The structure has no solution in closed form;
                `structlin.matrices.solve` iterates.
        """
        _need_square(self, "solve")
        b, m = operand(b), self.shape[0]
        if b.ndim > 2 or b.shape[0] != m:
            raise ValueError(f"solve needs b of shape ({m},) or ({m}, k); given {b.shape}.")
        dtype = jnp.result_type(self.dtype, b)
        return _wide(self)._solve(b.astype(wide_dtype(dtype))).astype(dtype)

    def inverse(self) -> "Matrix":
        """The inverse as a matrix of its own, ``(n, n)``."""
        _need_square(self, "inverse")
        return _wide(self)._inverse().astype(self.dtype)

    def pinv(self, rtol: float | None = None) -> "Matrix":
        """The Moore-Penrose pseudo-inverse, ``(n, m)``.

        Args:
            rtol: Singular values up to this share of the largest count as zero; ``max(m, n)`` units
                of rounding if not given.
        """
        wide = _wide(self)
        share = max(self.shape) * float(jnp.finfo(wide.dtype).eps) if rtol is None else rtol
        return wide._pinv(share).astype(self.dtype)

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """The sign and the natural logarithm of the absolute value of the determinant, ``()``."""
        _need_square(self, "slogdet")
        sign, logdet = _wide(self)._slogdet()
        return sign.astype(self.dtype), logdet.astype(jnp.finfo(self.dtype).dtype)

    def cholesky(self) -> "Matrix":
        """The lower triangular ``L`` with ``L @ L.H == self``, for a positive definite matrix.

        Raises:
            ValueError: The matrix is not Hermitian (seen only outside ``jit``).
        """
        need_hermitian(self, "cholesky")
        return _wide(self)._cholesky().astype(self.dtype)

    def eigh(self) -> tuple[jax.Array, "Matrix"]:
        """Eigenvalues, ascending, ``(n,)``, and eigenvectors, ``(n, n)``, of a Hermitian matrix.

        Raises:
            ValueError: The matrix is not Hermitian (seen only outside ``jit``).
        """
        need_hermitian(self, "eigh")
        values, vectors = _wide(self)._eigh()
        return values.astype(jnp.finfo(self.dtype).dtype), vectors.astype(self.dtype)

    def svd(self) -> tuple["Matrix", jax.Array, "Matrix"]:
        """``u``, ``s``, ``vh`` with ``self == u @ diag(s) @ vh`` and ``s`` descending.

        Returns:
            ``u`` ``(m, k)`` and ``vh`` ``(k, n)``, with orthonormal columns and rows, and ``s``
            ``(k,)``; ``k`` is ``min(m, n)`` or, of a structure of lower rank, that rank.
        """
        u, s, vh = _wide(self)._svd()
        real = jnp.finfo(self.dtype).dtype
        return u.astype(self.dtype), s.astype(real), vh.astype(self.dtype)

    def exp(self) -> "Matrix":
        """The matrix exponential, ``(n, n)``; of Hermitian matrices where it goes by ``eigh``."""
        _need_square(self, "exp")
        return _wide(self)._exp().astype(self.dtype)

    def sqrt(self) -> "Matrix":
        """The principal square root, ``(n, n)``; of positive semi-definite ones by ``eigh``."""
        _need_square(self, "sqrt")
        return _wide(self)._sqrt().astype(self.dtype)

    def power(self, exponent: float) -> "Matrix":
        """``self`` to a power, ``(n, n)``; also written ``self ** exponent``.

        Args:
            exponent: An integer, negative ones being powers of the inverse, or any real number for
                a Hermitian matrix.

        Raises:
            TypeError: ``exponent`` is not a number of Python.
        """
        _need_square(self, "power")
        if not isinstance(exponent, numbers.Real):
            raise TypeError(f"A power is a Python number, known to jit; given {exponent!r}.")
        whole = float(exponent).is_integer()
        return _wide(self)._power(int(exponent) if whole else exponent).astype(self.dtype)

    def __pow__(self, exponent: Any) -> "Matrix":
        return self.power(exponent)

    # What a structure writes.

    def _solve(self, b: jax.Array) -> jax.Array:  # noqa: ARG002 (for those that can)
        raise unsupported(self, "solve")

    def _inverse(self) -> "Matrix":
        raise unsupported(self, "inverse")

    def _pinv(self, rtol: float) -> "Matrix":
        """Derived from the singular values."""
        try:
            u, s, vh = self._svd()
        except NotImplementedError:
            raise unsupported(self, "pinv") from None
        large = s > rtol * jnp.max(s)
        values = jnp.where(large, 1 / jnp.where(large, s, 1), 0).astype(self.dtype)
        return combinator("Product").of(vh.H, combinator("Diagonal")(values), u.H)

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        raise unsupported(self, "slogdet")

    def _cholesky(self) -> "Matrix":
        raise unsupported(self, "cholesky")

    def _eigh(self) -> tuple[jax.Array, "Matrix"]:
        raise unsupported(self, "eigh")

    def _svd(self) -> tuple["Matrix", jax.Array, "Matrix"]:
        raise unsupported(self, "svd")

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> "Matrix":
        """``f`` of a Hermitian matrix, ``f`` acting on eigenvalues; for the operation ``name``."""
        need_hermitian(self, name)
        try:
            values, vectors = self._eigh()
        except NotImplementedError:
            raise unsupported(self, name) from None
        values = hermitian_or_nan(self, f(values))
        inner = combinator("Diagonal")(values.astype(self.dtype))
        return combinator("Product").of(vectors, inner, vectors.H)

    def _exp(self) -> "Matrix":
        return self._function(jnp.exp, "exp")

    def _sqrt(self) -> "Matrix":
        return self._function(jnp.sqrt, "sqrt")

    def _power(self, exponent: int | float) -> "Matrix":
        """An integer power as a product; any other by eigenvalues."""
        if not isinstance(exponent, int):
            return self._function(lambda values: values**exponent, "power")
        if exponent == 0:
            return combinator("Identity")(self.shape[0], self.dtype.name)
        base = self if exponent > 0 else self._inverse()
        return combinator("Product").of(*[base] * abs(exponent))


def _wide(w: Any) -> "Matrix":
    dtype = wide_dtype(w.dtype)
    return w if dtype == w.dtype else w.astype(dtype)


def _need_square(w: Any, operation: str) -> None:
    if w.shape[0] != w.shape[1]:
        raise ValueError(
            f"`{operation}` is of square matrices; {type(w).__name__} has shape {w.shape}. For "
            "least squares use `pinv`."
        )


def need_hermitian(w: Any, operation: str) -> None:
    """That ``w`` is Hermitian, by one product from each side; nothing is known under ``jit``."""
    _need_square(w, operation)
    leaves = jax.tree.leaves(w)
    if not leaves or any(isinstance(x, Tracer) for x in leaves):
        return
    if not bool(_is_hermitian(w)):
        raise ValueError(
            f"`{operation}` of {w!r} needs a Hermitian matrix, and this one is not: "
            "`(W + W.H) / 2` is its Hermitian part."
        )


def hermitian_or_nan(w: Any, values: jax.Array) -> jax.Array:
    """``values``, or NaN where ``w`` turns out not to be Hermitian under ``jit``."""
    if not any(isinstance(x, Tracer) for x in jax.tree.leaves(w)):
        return values
    return jnp.where(_is_hermitian(w), values, jnp.full((), jnp.nan, values.dtype))


def _is_hermitian(w: Any) -> jax.Array:
    wide, n = _wide(w), w.shape[0]
    x = jax.random.normal(jax.random.key(0), (n,), jnp.finfo(wide.dtype).dtype).astype(wide.dtype)
    one, other = wide.matmul(x), wide.H.matmul(x)
    rounding = float(jnp.finfo(w.dtype).eps) * 10 * max(n, 10)
    return jnp.linalg.norm(one - other) <= rounding * jnp.linalg.norm(one)
