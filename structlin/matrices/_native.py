"""A matrix whose products with rows run in native code, where there is any."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin.kernels import native
from structlin.matrices._base import Matrix
from structlin.matrices._registry import HOOKS

__all__ = ["Native"]


class Native(Matrix):
    """``inner``, with products of few rows, and the recurrences it is in, in native code.

    Native code needs single precision and a CPU, and takes few rows at a time: a product of others,
    every other operation and every derivative are those of ``inner``, in XLA. So are all of them
    where native code cannot be built. The numbers agree to single precision.

    ``jax.export`` refuses functions with native code in them: export those of ``inner``.

    Formula: ``W[i, j] = V[i, j]``
    Storage: that of ``V``
    FLOPs: those of ``V``
    Rank: that of ``V``
    Suits: inference at batch 1 on a CPU

    Attributes:
        inner: ``(m, n)``.
    """

    needs = dict.fromkeys(HOOKS, "an inner matrix that can")

    inner: Matrix

    @classmethod
    def of(cls, matrix: Matrix) -> Matrix:
        """The packed form of ``matrix``, native if its structure has native code.

        `Dense`, `Kronecker`, `LowRank`, `HMD`, `Sparse`, `BlockSparse`, dense matrices quantised to
        4 or 8 bits, and sums, products and columns of these have.
        """
        packed = matrix.pack()
        known = packed.ndim == 2 and packed._program() is not None
        return packed if isinstance(packed, Native) or not known else Native(packed)

    @property
    def shape(self) -> tuple[int, int]:
        return self.inner.shape

    def _program(self) -> native.Program | None:
        return self.inner._program()

    def rmatmul(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        if native.fits(self._program(), x.size // max(x.shape[-1], 1), x):
            return _product(x, self.inner)
        return self.inner.rmatmul(x)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.inner.rmatmul_transposed(x)

    def _matmul(self, v: jax.Array) -> jax.Array:
        return self.inner._matmul(v)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return self.inner._matmul_transposed(v)

    def _take(self, rows: jax.Array) -> jax.Array:
        return self.inner._take(rows)

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array] | None:
        return self.inner._entries()

    def transpose(self) -> Matrix:
        return self.inner.transpose()

    def to_dense(self) -> jax.Array:
        return self.inner.to_dense()

    def flops(self) -> int:
        return self.inner.flops()

    def diagonal(self) -> jax.Array:
        return self.inner.diagonal()

    def trace(self) -> jax.Array:
        return self.inner.trace()

    def frobenius_norm(self) -> jax.Array:
        return self.inner.frobenius_norm()

    def gram(self) -> Matrix:
        return self.inner.gram()

    def _solve(self, b: jax.Array) -> jax.Array:
        return self.inner._solve(b)

    def _inverse(self) -> Matrix:
        return self.inner._inverse()

    def _pinv(self, rtol: float) -> Matrix:
        return self.inner._pinv(rtol)

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return self.inner._slogdet()

    def _cholesky(self) -> Matrix:
        return self.inner._cholesky()

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        return self.inner._eigh()

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        return self.inner._svd()

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> Matrix:
        return self.inner._function(f, name)

    def _exp(self) -> Matrix:
        return self.inner._exp()

    def _sqrt(self) -> Matrix:
        return self.inner._sqrt()

    def _power(self, exponent: int | float) -> Matrix:
        return self.inner._power(exponent)


# A derivative is that of the definition, and never sees native code.
@jax.custom_jvp
def _product(x: jax.Array, inner: Matrix) -> jax.Array:
    return jax.lax.platform_dependent(x, inner, cpu=_call, default=_definition)


@_product.defjvp
def _product_jvp(primals: Any, tangents: Any) -> Any:
    return jax.jvp(_definition, primals, tangents)


def _definition(x: jax.Array, inner: Matrix) -> jax.Array:
    return inner.rmatmul(x)


@jax.custom_batching.custom_vmap
def _call(x: jax.Array, inner: Matrix) -> jax.Array:
    program = inner._program()
    assert program is not None  # `fits` has seen it
    return native.product(program, x)


@_call.def_vmap
def _call_batched(size: int, batched: Any, x: jax.Array, inner: Matrix) -> Any:
    """Batched rows are more rows; too many of them, and batched matrices, are for XLA."""
    del size
    one = not any(jax.tree.leaves(batched[1]))
    if one and native.fits(inner._program(), x.size // x.shape[-1], x):
        return _call(x, inner), True
    axes = jax.tree.map(lambda b: 0 if b else None, batched)
    return jax.vmap(_definition, in_axes=tuple(axes))(x, inner), True
