"""What a structure writes, and the little that needs nothing else."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from structlin.kernels.native import Program

if TYPE_CHECKING:
    from structlin.matrices._base import Matrix

__all__ = ["Interface"]


class Interface(abc.ABC):
    """The five methods of a structure, and what may be done better for products and rows."""

    # What a structure writes.

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(m, n)``."""

    @abc.abstractmethod
    def rmatmul(self, x: jax.Array) -> jax.Array:
        """``x @ self`` for rows ``x`` of shape ``(..., m)``; returns ``(..., n)``."""

    @abc.abstractmethod
    def transpose(self) -> "Matrix":
        """The transpose, without conjugation, ``(n, m)``."""

    @abc.abstractmethod
    def to_dense(self) -> jax.Array:
        """The matrix as an array, ``(m, n)``: the only door to a dense form."""

    @abc.abstractmethod
    def flops(self) -> int:
        """Floating point operations of ``rmatmul`` on one row, a multiply-add counted as two."""

    # What may be done better; so may everything of the classes above.

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        """``x @ self.T`` for ``x`` of shape ``(..., n)``; derived as the adjoint of ``rmatmul``."""
        rows = jnp.zeros((*x.shape[:-1], self.shape[0]), jnp.result_type(x, self.dtype))
        _, pull = jax.vjp(self.rmatmul, rows)
        return pull(x.astype(rows.dtype))[0]

    def _matmul(self, v: jax.Array) -> jax.Array:
        """``self @ v`` for columns ``v`` of shape ``(n, k)``; derived from the product of rows."""
        return self.rmatmul_transposed(v.T).T

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        """``self.T @ v`` for columns ``v`` of shape ``(m, k)``; derived likewise."""
        return self.rmatmul(v.T).T

    def _take(self, rows: jax.Array) -> jax.Array:
        """The rows at ``rows``, integers in ``0 .. m - 1`` of any shape, ``(*rows.shape, n)``."""
        return self.rmatmul(jax.nn.one_hot(rows, self.shape[0], dtype=self.dtype))

    def _program(self) -> Program | None:
        """What native code needs for products with rows; if there is native code for them."""
        return None

    # What follows.

    @property
    def T(self) -> "Matrix":  # noqa: N802 (NumPy's name)
        """The transpose."""
        return self.transpose()

    @property
    def H(self) -> "Matrix":  # noqa: N802 (the field's name)
        """The conjugate transpose."""
        return self.conj().transpose()

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    @property
    def dtype(self) -> np.dtype:
        """The dtype to which the floating and complex fields promote."""
        return jnp.result_type(*(x.dtype for x in _fields(self) if _is_inexact(x)))

    def conj(self) -> Self:
        """The complex conjugate, ``(m, n)``; every entry is a polynomial of the fields."""
        return jax.tree.map(lambda x: x.conj() if _is_complex(x) else x, self, is_leaf=_part(self))

    def astype(self, dtype: Any) -> Self:
        """The same matrix with its floating and complex fields in ``dtype``; indices stay."""
        return jax.tree.map(
            lambda x: x.astype(dtype) if _is_inexact(x) else x, self, is_leaf=_part(self)
        )


# A field that is a matrix is asked itself, since it may hold a dtype and no array.


def _part(whole: Interface) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, Interface) and x is not whole


def _fields(whole: Interface) -> list[Any]:
    return jax.tree.leaves(whole, is_leaf=_part(whole))


def _is_complex(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.complexfloating)


def _is_inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)
