"""Matrices to and from SciPy, JAX's own sparse arrays, and the operators of lineax."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin.matrices._base import Matrix
from structlin.matrices._dense import Dense
from structlin.matrices._diagonal import Diagonal
from structlin.matrices._iterative import load_lineax
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._registry import UnsupportedError
from structlin.matrices._sparse import Sparse, index_dtype

__all__ = [
    "as_linear_operator",
    "from_bcoo",
    "from_lineax",
    "from_scipy",
    "to_bcoo",
    "to_lineax",
    "to_scipy",
]


def as_linear_operator(W: Matrix) -> Any:  # noqa: N803 (the field's name)
    """``W`` as a ``scipy.sparse.linalg.LinearOperator``, which multiplies by it on demand.

    Its ``rmatvec`` is the product with the conjugate transpose, as SciPy has it. Half precision,
    which SciPy lacks, becomes single.
    """
    operator: Any = importlib.import_module("scipy.sparse.linalg").LinearOperator

    wide = W if W.dtype == wide_dtype(W.dtype) else W.astype(wide_dtype(W.dtype))
    right = jax.jit(lambda w, v: w.matmul(v.astype(jnp.result_type(w.dtype, v))))

    def times(matrix: Matrix) -> Any:
        return lambda v: np.asarray(right(matrix, np.asarray(v)))

    adjoint = wide.H
    return operator(
        shape=W.shape,
        dtype=wide.dtype,
        matvec=times(wide),
        rmatvec=times(adjoint),
        matmat=times(wide),
        rmatmat=times(adjoint),
    )


def to_scipy(W: Matrix) -> Any:  # noqa: N803
    """``W`` as a ``scipy.sparse.csc_array`` if it holds its entries one by one, else an operator.

    Zeros, padding among them, are left out, and half precision becomes single. Any other structure,
    sums and products among them, gives what `as_linear_operator` gives: it is never formed.
    """
    from scipy.sparse import coo_array

    found = W._entries()
    if found is None:
        return as_linear_operator(W)
    rows, columns, values = (np.asarray(x).reshape(-1) for x in found)
    values = values.astype(wide_dtype(W.dtype))
    used = values != 0
    places = rows[used].astype(np.int64), columns[used].astype(np.int64)
    return coo_array((values[used], places), shape=W.shape).tocsc()


def from_scipy(array: Any) -> Sparse:
    """A sparse array or matrix of SciPy, in any of its formats, as a `Sparse`.

    Duplicates are summed and columns padded to the fullest.

    Raises:
        TypeError: ``array`` is no sparse array of SciPy, or holds no numbers.
    """
    from scipy.sparse import issparse

    if not issparse(array):
        raise TypeError(
            f"from_scipy takes an array or matrix of scipy.sparse; given {type(array).__name__}. A "
            "dense array is `Dense(array)`; `specs.Sparse(...).fit(array)` keeps its largest."
        )
    entries = array.tocoo()
    return _packed(entries.row, entries.col, entries.data, entries.shape)


def to_bcoo(W: Matrix) -> Any:  # noqa: N803
    """``W`` as a ``jax.experimental.sparse.BCOO``; padded slots stay, as entries that are zero.

    Raises:
        UnsupportedError: The structure does not hold its entries one by one.
    """
    from jax.experimental.sparse import BCOO

    found = W._entries()
    if found is None:
        raise UnsupportedError(
            f"{type(W).__name__} of shape {W.shape} does not hold its entries one by one, and all "
            "of them would be many: use `BCOO.fromdense(W.to_dense())` if they fit in memory."
        )
    rows, columns, values = (jnp.reshape(x, -1) for x in found)
    places = jnp.stack([rows.astype(jnp.int32), columns.astype(jnp.int32)], axis=1)
    return BCOO((values, places), shape=W.shape)


def from_bcoo(array: Any) -> Sparse:
    """A ``jax.experimental.sparse.BCOO`` matrix as a `Sparse`; duplicates are summed.

    Raises:
        TypeError: ``array`` is no BCOO, or is traced: how full its columns are must be known.
        ValueError: It is no matrix, or has batch or dense axes.
    """
    from jax.experimental.sparse import BCOO

    if not isinstance(array, BCOO):
        raise TypeError(f"from_bcoo takes a BCOO; given {type(array).__name__}.")
    if isinstance(array.indices, Tracer) or isinstance(array.data, Tracer):
        raise TypeError(
            "from_bcoo counts entries, which a traced array hides: call it outside jit."
        )
    if array.ndim != 2 or array.n_batch or array.n_dense:
        raise ValueError(
            f"from_bcoo takes a matrix without batch or dense axes; given shape {array.shape}, "
            f"n_batch={array.n_batch}, n_dense={array.n_dense}."
        )
    places, values = np.asarray(array.indices), np.asarray(array.data)
    inside = np.all(places < array.shape, axis=1)  # BCOO pads with places outside
    rows, columns = places[inside].T
    return _packed(rows, columns, values[inside], array.shape)


def to_lineax(W: Matrix, tags: Any = ()) -> Any:  # noqa: N803
    """``W`` as an operator of lineax: diagonal and dense as they are, else a function.

    Args:
        W: ``(m, n)``.
        tags: What lineax may rely on, such as ``lineax.positive_semidefinite_tag``; unchecked.

    Raises:
        ImportError: lineax is not installed.
    """
    lx = load_lineax()
    if isinstance(W, Dense):
        return lx.MatrixLinearOperator(W.values, tags)
    if isinstance(W, Diagonal):
        plain = lx.DiagonalLinearOperator(W.values)
        return lx.TaggedLinearOperator(plain, tags) if tags else plain
    return lx.FunctionLinearOperator(W.matmul, jax.ShapeDtypeStruct((W.shape[1],), W.dtype), tags)


def from_lineax(operator: Any) -> Matrix:
    """An operator of lineax as a matrix: dense, diagonal, the identity, and sums and products.

    Raises:
        TypeError: The operator is of another kind, or acts on more than one vector.
        ImportError: lineax is not installed.
    """
    lx = load_lineax()
    if isinstance(operator, lx.TaggedLinearOperator):
        return from_lineax(operator.operator)
    if isinstance(operator, lx.AddLinearOperator):
        return from_lineax(operator.operator1) + from_lineax(operator.operator2)
    if isinstance(operator, lx.ComposedLinearOperator):
        return from_lineax(operator.operator1) @ from_lineax(operator.operator2)
    if isinstance(operator, lx.MulLinearOperator):
        return from_lineax(operator.operator) * operator.scalar
    if isinstance(operator, lx.DivLinearOperator):
        return from_lineax(operator.operator) / operator.scalar
    if isinstance(operator, lx.NegLinearOperator):
        return -from_lineax(operator.operator)
    if isinstance(operator, lx.MatrixLinearOperator):
        return Dense(operator.matrix)
    shape = getattr(operator.in_structure(), "shape", None) if _is_operator(operator) else None
    if shape is not None and len(shape) == 1:
        if isinstance(operator, lx.DiagonalLinearOperator):
            return Diagonal(operator.diagonal)
        same = operator.in_structure() == operator.out_structure()
        if isinstance(operator, lx.IdentityLinearOperator) and same:
            return Diagonal(jnp.ones(shape, operator.in_structure().dtype))
    raise TypeError(
        f"from_lineax takes matrices, diagonals and identities on one vector, and their sums, "
        f"products and multiples; given {type(operator).__name__}. If it fits in memory, "
        "`Dense(operator.as_matrix())` holds any of them."
    )


def _is_operator(operator: Any) -> bool:
    return isinstance(operator, load_lineax().AbstractLinearOperator)


def _packed(rows: Any, columns: Any, values: Any, shape: tuple[int, ...]) -> Sparse:
    """Entries, those of one place summed, slot by slot; padding names rows that are free."""
    m, n = shape
    values = np.asarray(values)
    if not (jnp.issubdtype(values.dtype, jnp.inexact)):
        values = values.astype(np.float32)
    place, where = np.unique(
        np.asarray(columns, np.int64) * m + np.asarray(rows, np.int64), return_inverse=True
    )
    total = np.zeros(place.shape, values.dtype)
    np.add.at(total, where.reshape(-1), values)
    column, row = np.divmod(place, max(m, 1))
    counts = np.bincount(column, minlength=n)
    slots = max(1, int(counts.max(initial=0)))
    slot = np.arange(place.size) - np.repeat(np.cumsum(counts) - counts, counts)
    packed = np.zeros((slots, n), values.dtype)
    packed[slot, column] = total
    index = np.full((slots, n), -1, np.int64)
    index[slot, column] = row
    for j in np.flatnonzero(counts < slots):
        # Among the first `slots` rows at least as many are free as there are slots to pad.
        free = np.setdiff1d(np.arange(slots), index[: counts[j], j])
        index[counts[j] :, j] = free[: slots - counts[j]]
    return Sparse(jnp.asarray(packed), jnp.asarray(index.astype(index_dtype(m))), m)
