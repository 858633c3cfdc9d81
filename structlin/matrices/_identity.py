"""The identity, which stores nothing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin.matrices._base import Matrix, static
from structlin.matrices._registry import combinator

__all__ = ["Identity"]


class Identity(Matrix):
    """Ones on the diagonal of a square matrix; products with it leave the other factor alone.

    Formula: ``W[i, j] = 1 if i == j else 0``
    Storage: none
    FLOPs: none
    Rank: ``n``
    Suits: residual connections, damping, and the unchanged part of a low-rank update

    Attributes:
        size: ``n``.
        dtype_name: The dtype of its ones, such as ``"float32"``.
    """

    size: int = static()
    dtype_name: str = static(default="float32")

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def dtype(self) -> np.dtype:
        return jnp.dtype(self.dtype_name)

    def astype(self, dtype: Any) -> "Identity":
        return Identity(self.size, jax.dtypes.canonicalize_dtype(dtype).name)

    def conj(self) -> "Identity":
        return self

    def rmatmul(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        return x.astype(jnp.result_type(x, self.dtype))

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.rmatmul(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        return jax.nn.one_hot(rows, self.size, dtype=self.dtype)

    def transpose(self) -> "Identity":
        return self

    def to_dense(self) -> jax.Array:
        return jnp.eye(self.size, dtype=self.dtype)

    def _entries(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        places = jnp.arange(self.size)
        return places, places, jnp.ones(self.size, self.dtype)

    def flops(self) -> int:
        return 0

    def diagonal(self) -> jax.Array:
        return jnp.ones(self.size, self.dtype)

    def trace(self) -> jax.Array:
        return jnp.asarray(self.size, self.dtype)

    def frobenius_norm(self) -> jax.Array:
        return jnp.asarray(self.size**0.5, jnp.finfo(self.dtype).dtype)

    def gram(self) -> "Identity":
        return self

    def _plus(self, other: Matrix) -> Matrix | None:
        if not isinstance(other, Identity):
            return None
        dtype = jnp.result_type(self.dtype, other.dtype)
        return combinator("Scaled")(self.astype(dtype), jnp.asarray(2, dtype))

    def _solve(self, b: jax.Array) -> jax.Array:
        return b

    def _inverse(self) -> "Identity":
        return self

    def _pinv(self, rtol: float) -> "Identity":
        del rtol  # all singular values are equal
        return self

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return jnp.ones((), self.dtype), jnp.zeros((), jnp.finfo(self.dtype).dtype)

    def _cholesky(self) -> "Identity":
        return self

    def _eigh(self) -> tuple[jax.Array, "Identity"]:
        return jnp.ones(self.size, jnp.finfo(self.dtype).dtype), self

    def _svd(self) -> tuple["Identity", jax.Array, "Identity"]:
        return self, jnp.ones(self.size, jnp.finfo(self.dtype).dtype), self

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> Matrix:
        del name
        return combinator("Scaled")(self, f(jnp.ones((), self.dtype)).astype(self.dtype))

    def _sqrt(self) -> "Identity":
        return self

    def _power(self, exponent: int | float) -> "Identity":
        del exponent
        return self
