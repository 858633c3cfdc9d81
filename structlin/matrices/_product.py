"""Products of matrices, applied one after the other."""

import functools

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix

__all__ = ["Product"]


class Product(Matrix):
    """``factors[0] @ factors[1] @ ...``.

    Attributes:
        factors: Matrices whose inner sizes match.
    """

    factors: tuple[Matrix, ...]

    @classmethod
    def of(cls, *factors: Matrix) -> Matrix:
        """The product of ``factors``; products among them are taken apart, neighbours may merge."""
        kept: list[Matrix] = []
        for factor in (p for f in factors for p in (f.factors if isinstance(f, Product) else (f,))):
            merged = kept[-1]._times(factor) if kept else None
            kept[-1:] = [*kept[-1:], factor] if merged is None else [merged]
        return kept[0] if len(kept) == 1 else Product(tuple(kept))

    @property
    def shape(self) -> tuple[int, int]:
        return self.factors[0].shape[0], self.factors[-1].shape[1]

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return functools.reduce(lambda y, factor: factor.rmatmul(y), self.factors, x)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return functools.reduce(lambda y, f: f.rmatmul_transposed(y), reversed(self.factors), x)

    def _take(self, rows: jax.Array) -> jax.Array:
        return Product(self.factors[1:]).rmatmul(self.factors[0]._take(rows))

    def transpose(self) -> "Product":
        return Product(tuple(f.T for f in reversed(self.factors)))

    def to_dense(self) -> jax.Array:
        return functools.reduce(jnp.matmul, (f.to_dense() for f in self.factors))

    def flops(self) -> int:
        return sum(f.flops() for f in self.factors)

    def _solve(self, b: jax.Array) -> jax.Array:
        self._check_square("solve")
        return functools.reduce(lambda x, factor: factor._solve(x), self.factors, b)

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        self._check_square("slogdet")
        signs, logs = zip(*(f._slogdet() for f in self.factors), strict=True)
        return jnp.prod(jnp.stack(signs)), jnp.sum(jnp.stack(logs))

    def _check_square(self, operation: str) -> None:
        for factor in self.factors:
            if factor.shape[0] != factor.shape[1]:
                raise ValueError(
                    f"`{operation}` of a product needs square factors; one is {factor!r}. Call "
                    "`.to_dense()` first if the product itself is square."
                )
