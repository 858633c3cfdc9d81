"""Products of matrices, applied one after the other."""

import functools

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._diagonal import Diagonal
from structlin.matrices._identity import Identity
from structlin.matrices._registry import unsupported

__all__ = ["Product"]


class Product(Matrix):
    """``factors[0] @ factors[1] @ ...``.

    Systems and determinants need square factors. A pseudo-inverse is not the product of those of
    the factors unless their ranks permit it, so there is none.

    Formula: ``W = F_1 F_2 ... F_k``
    Storage: that of the factors
    FLOPs: those of the factors
    Rank: at most the least of the factors'
    Suits: matrices that are several steps, such as transforms between scales

    Attributes:
        factors: Matrices whose inner sizes match.
    """

    needs = dict.fromkeys(("solve", "inverse", "slogdet"), "square factors")

    factors: tuple[Matrix, ...]

    @classmethod
    def of(cls, *factors: Matrix) -> Matrix:
        """The product of ``factors``; products among them are taken apart, neighbours may merge."""
        flat = [p for f in factors for p in (f.factors if isinstance(f, Product) else (f,))]
        told = [f for f in flat if not isinstance(f, Identity)] or flat[:1]
        kept: list[Matrix] = []
        for factor in told:
            merged = kept[-1]._times(factor) if kept else None
            kept[-1:] = [*kept[-1:], factor] if merged is None else [merged]
        product = kept[0] if len(kept) == 1 else Product(tuple(kept))
        if len(told) == len(flat):
            return product
        dtype = jnp.result_type(*(f.dtype for f in flat))
        return product if product.dtype == dtype else product.astype(dtype)

    @property
    def shape(self) -> tuple[int, int]:
        return self.factors[0].shape[0], self.factors[-1].shape[1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return functools.reduce(lambda y, factor: factor.rmatmul(y), self.factors, x)

    def _program(self) -> kernels.native.Program | None:
        return kernels.native.chain_program(f._program() for f in self.factors)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return functools.reduce(lambda y, f: f.rmatmul_transposed(y), reversed(self.factors), x)

    def _matmul(self, v: jax.Array) -> jax.Array:
        return functools.reduce(lambda y, f: f._matmul(y), reversed(self.factors), v)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return functools.reduce(lambda y, f: f._matmul_transposed(y), self.factors, v)

    def _take(self, rows: jax.Array) -> jax.Array:
        return Product(self.factors[1:]).rmatmul(self.factors[0]._take(rows))

    def transpose(self) -> "Product":
        return Product(tuple(f.T for f in reversed(self.factors)))

    def to_dense(self) -> jax.Array:
        plain = (i for i, f in enumerate(self.factors) if not isinstance(f, Diagonal))
        first = next(plain, 0)  # a diagonal scales what another factor forms
        dense = self.factors[first].to_dense()
        dense = functools.reduce(lambda x, f: f.rmatmul(x), self.factors[first + 1 :], dense)
        return functools.reduce(lambda x, f: f._matmul(x), reversed(self.factors[:first]), dense)

    def flops(self) -> int:
        return sum(f.flops() for f in self.factors)

    def _solve(self, b: jax.Array) -> jax.Array:
        self._need_square_factors("solve")
        return functools.reduce(lambda x, factor: factor._solve(x), self.factors, b)

    def _inverse(self) -> Matrix:
        self._need_square_factors("inverse")
        return Product.of(*(f._inverse() for f in reversed(self.factors)))

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        self._need_square_factors("slogdet")
        signs, logs = zip(*(f._slogdet() for f in self.factors), strict=True)
        return functools.reduce(jnp.multiply, signs), functools.reduce(jnp.add, logs)

    def _need_square_factors(self, operation: str) -> None:
        for factor in self.factors:
            if factor.shape[0] != factor.shape[1]:
                raise unsupported(self, operation, f"square factors, and one is {factor!r}")
