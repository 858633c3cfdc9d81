"""What the operators of Python mean on a matrix."""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.matrices._interface import Interface
from structlin.matrices._registry import combinator

if TYPE_CHECKING:
    from structlin.matrices._base import Matrix

__all__ = ["Arithmetic", "operand"]


class Arithmetic(Interface):
    """The operators ``@ + - * /``, the choice of rows, and what a matrix refuses to become."""

    __array_priority__ = 1000
    __array_ufunc__ = None  # NumPy operands leave the operators to us

    def matmul(self, v: jax.Array) -> jax.Array:
        """``self @ v`` for ``v`` of shape ``(n,)`` or ``(..., n, k)``, as in ``numpy.matmul``."""
        _check_inner(self.shape, v.shape, left=True)
        if v.ndim == 1:
            return self.rmatmul_transposed(v)
        if v.ndim == 2:
            return self._matmul(v)
        return jnp.swapaxes(self.rmatmul_transposed(jnp.swapaxes(v, -1, -2)), -1, -2)

    def kron(self, other: "Matrix") -> "Matrix":
        """The Kronecker product of ``self`` and ``other``."""
        return combinator("Kronecker").of(self, other)

    def take(self, rows: Any) -> jax.Array:
        """The rows at ``rows``, ``(*rows.shape, n)``.

        Args:
            rows: Integers of any shape, negative ones counted from the end. Under ``jit``, where
                their values are not known, those out of range become the nearest row.

        Raises:
            IndexError: A row is out of range.
            TypeError: ``rows`` are not integers.
        """
        return self._take(_row_numbers(rows, self.shape[0]))

    def __matmul__(self, other: Any) -> Any:
        if _is_matrix(other):
            _check_inner(self.shape, other.shape, left=True)
            return combinator("Product").of(self, other)
        return self.matmul(operand(other))

    def __rmatmul__(self, other: Any) -> jax.Array:
        x = operand(other)
        _check_inner(self.shape, x.shape, left=False)
        return self.rmatmul(x)

    def __add__(self, other: Any) -> "Matrix":
        if not _is_matrix(other):
            return NotImplemented
        if self.shape != other.shape:
            raise ValueError(f"Cannot add matrices of shapes {self.shape} and {other.shape}.")
        return combinator("Sum").of(self, other)

    def __sub__(self, other: Any) -> "Matrix":
        return self + (-other) if _is_matrix(other) else NotImplemented

    def __neg__(self) -> "Matrix":
        return self * -1

    def __mul__(self, scalar: Any) -> "Matrix":
        if _is_matrix(scalar) or jnp.ndim(scalar) != 0:
            raise TypeError(
                f"A matrix times {getattr(scalar, 'shape', type(scalar).__name__)}: `*` scales by "
                "a number; use `@` for a product, or `.to_dense()` for an elementwise one."
            )
        merged = self._times_scalar(jnp.asarray(scalar, jnp.result_type(self.dtype, scalar)))
        return combinator("Scaled").of(self, scalar) if merged is None else merged

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> "Matrix":
        return self * (1 / scalar)

    def __getitem__(self, rows: Any) -> jax.Array:
        """``W[i]``, ``W[i:j]`` or ``W[ids]``: rows as an array."""
        if isinstance(rows, tuple):
            raise TypeError("A matrix is indexed by rows; take columns from `W.T`.")
        return self.take(np.arange(self.shape[0])[rows] if isinstance(rows, slice) else rows)

    def __len__(self) -> int:
        return self.shape[0]

    __iter__ = None  # a matrix is no sequence of rows: iterating would form it

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            f"{self!r} does not become an array by itself: call `.to_dense()` to form all "
            f"{math.prod(self.shape):,} numbers."
        )

    # How two matrices may become one that is cheaper than the pair; `None` where they may not.

    def _times(self, other: "Matrix") -> "Matrix | None":  # noqa: ARG002
        """``self @ other`` as one matrix; a class knows only its own kind."""
        return None

    def _plus(self, other: "Matrix") -> "Matrix | None":  # noqa: ARG002
        """``self + other`` as one matrix; a class knows only its own kind."""
        return None

    def _times_scalar(self, scalar: jax.Array) -> "Matrix | None":  # noqa: ARG002
        """``scalar * self`` in the fields of this structure."""
        return None


def operand(x: Any) -> jax.Array:
    """``x`` as an array that can stand beside a matrix in a product."""
    array = jnp.asarray(x)
    if array.ndim == 0:
        raise ValueError("A matrix product with a scalar: use `*` to scale.")
    return array


def _is_matrix(other: Any) -> bool:
    return isinstance(other, Arithmetic)


def _row_numbers(rows: Any, count: int) -> jax.Array:
    """``rows`` as indices in ``0 .. count - 1``; arrays of JAX keep their sharding."""
    known = not isinstance(rows, Tracer) and getattr(rows, "is_fully_addressable", True)
    values = np.asarray(rows) if known else rows
    if known and values.size == 0:
        rows = values = values.astype(np.int32)  # `[]` chooses nothing; NumPy says floats
    dtype = jax.dtypes.canonicalize_dtype(values.dtype)
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"Rows are picked by integers; given {dtype}. For a boolean mask, give "
            "`numpy.flatnonzero(mask)`."
        )
    rows = rows if isinstance(rows, jax.Array) else values
    # Bytes may number the rows of a table that has more of them than a byte can count.
    rows = rows.astype(np.int32) if dtype.itemsize < 4 else rows
    if not known:
        return jnp.clip(jnp.where(rows < 0, rows + count, rows), 0, count - 1)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < -count or high >= count:
        raise IndexError(
            f"Row {low if low < -count else high} of a matrix of {count} rows: rows are numbered "
            f"from {-count} to {count - 1}."
        )
    return jnp.asarray(rows) if low >= 0 else jnp.where(rows < 0, rows + count, rows)


def _check_inner(matrix: tuple[int, int], other: tuple[int, ...], *, left: bool) -> None:
    axis = -1 if not left or len(other) == 1 else -2
    mine = matrix[1] if left else matrix[0]
    if other[axis] != mine:
        pair = f"{matrix} @ {other}" if left else f"{other} @ {matrix}"
        raise ValueError(
            f"Shapes do not match in {pair}: the array's axis {axis} has {other[axis]} entries and "
            f"needs {mine}."
        )
