"""The interface of a structured matrix and everything that follows from it."""

import abc
import dataclasses
import math
from typing import Any, ClassVar, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np

from structlin.matrices._cost import Cost, leaf_bytes, leaf_params

__all__ = ["REGISTRY", "Matrix", "UnsupportedError", "static"]

REGISTRY: dict[str, "type[Matrix]"] = {}
"""Every structure by its class name; filled as classes are defined."""


class UnsupportedError(NotImplementedError):
    """An operation that this structure has no structured way to do."""


def static(**kwargs: Any) -> Any:
    """A dataclass field that describes the matrix rather than holding its numbers.

    Its value is an int, a string, or a tuple of those: it is hashed and compared when ``jit`` looks
    up a trace, so arrays have no place in it.
    """
    return dataclasses.field(metadata={"static": True}, **kwargs)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
class Matrix(abc.ABC):
    """An ``(m, n)`` matrix that is never formed: a frozen dataclass that is a pytree.

    A subclass is made a dataclass and registered on definition; it writes ``shape``, ``rmatmul``,
    ``transpose``, ``to_dense`` and ``flops``, and may do better than the rest of what is here.
    Fields made by `static` are metadata; all others hold arrays or matrices. A field's shape is
    read from its last axes, so that matrices stacked by ``vmap`` or ``scan`` keep their ``shape``.
    Nothing is validated on construction, since pytree operations rebuild matrices from tracers,
    ``None`` and shapes; specs and factory functions check.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]  # of each subclass
    __array_priority__ = 1000
    __array_ufunc__ = None  # NumPy operands leave the operators to us

    label: ClassVar[str] = ""
    """The name of this structure in the path of a sum's terms; the class name in lower case."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        taken = REGISTRY.get(cls.__name__)
        if taken is not None and taken.__module__ != cls.__module__:
            raise TypeError(
                f"A structure named {cls.__name__} is already defined in {taken.__module__}. Saved "
                "files find structures by name: give this one another name."
            )
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        cls.label = cls.__dict__.get("label", cls.__name__.lower())
        cls._register()
        REGISTRY[cls.__name__] = cls

    @classmethod
    def _register(cls) -> None:
        fields = dataclasses.fields(cls)
        meta = [f.name for f in fields if f.metadata.get("static")]
        data = [f.name for f in fields if not f.metadata.get("static")]
        jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=meta)

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

    # What may be done better.

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        """``x @ self.T`` for ``x`` of shape ``(..., n)``; derived as the adjoint of ``rmatmul``."""
        rows = jnp.zeros((*x.shape[:-1], self.shape[0]), jnp.result_type(x, self.dtype))
        _, pull = jax.vjp(self.rmatmul, rows)
        return pull(x.astype(rows.dtype))[0]

    def take(self, rows: jax.Array) -> jax.Array:
        """The rows at ``rows`` (integers of any shape), ``(*rows.shape, n)``."""
        return self.rmatmul(jax.nn.one_hot(_row_numbers(rows), self.shape[0], dtype=self.dtype))

    def solve(self, b: jax.Array) -> jax.Array:  # noqa: ARG002 (for those that can)
        """``x`` with ``self @ x == b``, for ``b`` of shape ``(m,)`` or ``(m, k)``."""
        raise UnsupportedError(_unsupported(self, "solve"))

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """The sign and the natural logarithm of the absolute value of the determinant."""
        raise UnsupportedError(_unsupported(self, "slogdet"))

    def pack(self) -> "Matrix":
        """The form for inference: trained values with integer indices in place of exact zeros."""
        return jax.tree.map(
            lambda t: t.pack() if isinstance(t, Matrix) else t,
            self,
            is_leaf=lambda t: isinstance(t, Matrix) and t is not self,
        )

    # What follows.

    @property
    def T(self) -> "Matrix":  # noqa: N802 (NumPy's name)
        """The transpose."""
        return self.transpose()

    @property
    def ndim(self) -> int:
        """Always 2."""
        return 2

    @property
    def dtype(self) -> np.dtype:
        """The dtype to which the floating and complex fields promote."""
        return jnp.result_type(*(x.dtype for x in jax.tree.leaves(self) if _is_inexact(x)))

    def astype(self, dtype: Any) -> Self:
        """The same matrix with its floating and complex fields in ``dtype``; indices stay."""
        return jax.tree.map(lambda x: x.astype(dtype) if _is_inexact(x) else x, self)

    def cost(self) -> Cost:
        """What it takes to store and to apply this matrix."""
        leaves = jax.tree.leaves(self)
        m, n = self.shape
        return Cost(
            params=sum(map(leaf_params, leaves)),
            bytes=sum(map(leaf_bytes, leaves)),
            flops=self.flops(),
            dense_params=m * n,
            dense_bytes=m * n * self.dtype.itemsize,
        )

    def matmul(self, v: jax.Array) -> jax.Array:
        """``self @ v`` for ``v`` of shape ``(n,)`` or ``(..., n, k)``, as in ``numpy.matmul``."""
        _check_inner(self.shape, v.shape, left=True)
        if v.ndim == 1:
            return self.rmatmul_transposed(v)
        return jnp.swapaxes(self.rmatmul_transposed(jnp.swapaxes(v, -1, -2)), -1, -2)

    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, Matrix):
            _check_inner(self.shape, other.shape, left=True)
            return _combinator("Product").of(self, other)
        return self.matmul(_operand(other))

    def __rmatmul__(self, other: Any) -> jax.Array:
        x = _operand(other)
        _check_inner(self.shape, x.shape, left=False)
        return self.rmatmul(x)

    def __add__(self, other: "Matrix") -> "Matrix":
        if not isinstance(other, Matrix):
            return NotImplemented
        if self.shape != other.shape:
            raise ValueError(f"Cannot add matrices of shapes {self.shape} and {other.shape}.")
        return _combinator("Sum").of(self, other)

    def __sub__(self, other: "Matrix") -> "Matrix":
        return self + (-other) if isinstance(other, Matrix) else NotImplemented

    def __neg__(self) -> "Matrix":
        return self * -1

    def __mul__(self, scalar: Any) -> "Matrix":
        if isinstance(scalar, Matrix) or jnp.ndim(scalar) != 0:
            raise TypeError(
                f"A matrix times {getattr(scalar, 'shape', type(scalar).__name__)}: `*` scales by "
                "a number; use `@` for a product, or `.to_dense()` for an elementwise one."
            )
        return _combinator("Scaled").of(self, scalar)

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> "Matrix":
        return self * (1 / scalar)

    def __getitem__(self, rows: Any) -> jax.Array:
        """``W[i]``, ``W[i:j]`` or ``W[ids]``: rows as an array."""
        if isinstance(rows, tuple):
            raise TypeError("A matrix is indexed by rows; take columns from `W.T`.")
        if isinstance(rows, slice):
            rows = np.arange(self.shape[0])[rows]
        rows = _row_numbers(rows)
        return self.take(jnp.where(rows < 0, rows + self.shape[0], rows))

    def __len__(self) -> int:
        return self.shape[0]

    __iter__ = None  # a matrix is no sequence of rows: iterating would form it

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            f"{self!r} does not become an array by itself: call `.to_dense()` to form all "
            f"{math.prod(self.shape):,} numbers."
        )

    def __repr__(self) -> str:
        name = type(self).__name__
        try:
            (m, n), cost = self.shape, self.cost()
            return f"{name}({m}x{n}, {self.dtype}, {cost.params:,} params, {cost.bytes:,} bytes)"
        except Exception:  # a tree of shapes, specs or None has no cost; it still prints
            parts = (f"{f.name}={_brief(getattr(self, f.name))}" for f in dataclasses.fields(self))
            return f"{name}({', '.join(parts)})"


def _brief(value: Any) -> str:
    """``value`` on one line; of an array its dtype and shape."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_brief, value))})"
    if isinstance(value, jax.Array | np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)


def _combinator(name: str) -> Any:
    # Found by name, not imported: combinators are structures, and structures import this file.
    return REGISTRY[name]


def _is_inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _row_numbers(rows: Any) -> jax.Array:
    rows = jnp.asarray(rows)
    if not jnp.issubdtype(rows.dtype, jnp.integer):
        raise TypeError(
            f"Rows are picked by integers; given {rows.dtype}. For a boolean mask, give "
            "`numpy.flatnonzero(mask)`."
        )
    # Bytes may number the rows of a table that has more of them than a byte can count.
    return rows.astype(jnp.int32) if rows.dtype.itemsize < 4 else rows


def _operand(x: Any) -> jax.Array:
    array = jnp.asarray(x)
    if array.ndim == 0:
        raise ValueError("A matrix product with a scalar: use `*` to scale.")
    return array


def _check_inner(matrix: tuple[int, int], other: tuple[int, ...], *, left: bool) -> None:
    axis = -1 if not left or len(other) == 1 else -2
    mine = matrix[1] if left else matrix[0]
    if other[axis] != mine:
        pair = f"{matrix} @ {other}" if left else f"{other} @ {matrix}"
        raise ValueError(
            f"Shapes do not match in {pair}: the array's axis {axis} has {other[axis]} entries and "
            f"needs {mine}."
        )


def _unsupported(matrix: Matrix, operation: str) -> str:
    default = getattr(Matrix, operation)
    able = sorted(name for name, c in REGISTRY.items() if getattr(c, operation) is not default)
    m, n = matrix.shape
    return (
        f"{type(matrix).__name__} of shape {matrix.shape} has no structured `{operation}`. "
        f"Structures that do: {', '.join(able)}. Call `.to_dense()` first if {m:,} x {n:,} numbers "
        "fit in memory."
    )
