"""What structures store, without tracing how they are drawn: matrices that hold only shapes."""

from collections.abc import Callable
from typing import Any

import jax

from structlin import matrices, specs
from structlin.matrices import Matrix

__all__ = ["skeleton"]

Array = Callable[..., jax.ShapeDtypeStruct]


def skeleton(spec: Any, shape: tuple[int, int], dtype: Any) -> Matrix | None:
    """The matrix that ``spec.init`` would make, its arrays as ``jax.ShapeDtypeStruct``.

    Args:
        spec: A spec that was sized for the shape.
        shape: ``(m, n)``.
        dtype: The dtype of its numbers.

    Returns:
        The matrix, or ``None`` where this function has no way.
    """
    make = _KNOWN.get(type(spec))
    return make and make(spec, *shape, lambda *sides: jax.ShapeDtypeStruct(sides, dtype))


def _kron(spec: specs.Kron, m: int, n: int, array: Array) -> Matrix | None:
    del m, n
    if spec.terms != 1 or spec.shapes is None:
        return None
    return matrices.Kronecker(tuple(array(*sides) for sides in spec.shapes))  # pyright: ignore[reportArgumentType]


def _sparse(spec: Any, m: int, n: int, array: Array) -> Matrix | None:
    return None if spec.anneal or not spec.density else spec.masked(array(m, n))


def _doped_kron(spec: specs.DopedKron, m: int, n: int, array: Array) -> Matrix | None:
    if spec.block != (1, 1) or spec.anneal or spec.shapes is None or not spec.density:
        return None
    host = _kron(specs.Kron(shapes=spec.shapes), m, n, array)
    sparse = _sparse(specs.Sparse(density=spec.density), m, n, array)
    return host and sparse and matrices.Sum.of(host, sparse)


def _hmd(spec: specs.HMD, m: int, n: int, array: Array) -> Matrix | None:
    j = spec.dense_columns
    if j is None or spec.columns != "first":
        return None
    return matrices.HMD(array(m, j), array(m, spec.rank_blocks), array(n - j))  # pyright: ignore[reportArgumentType]


def _monarch(spec: specs.Monarch, m: int, n: int, array: Array) -> Matrix | None:
    if not isinstance(spec.blocks, tuple):
        return None
    (k, j), r = spec.blocks, spec.rank
    return matrices.Monarch(array(k, m // k, j * r), array(j, k * r, n // j))  # pyright: ignore[reportArgumentType]


_KNOWN: dict[type, Callable[..., Matrix | None]] = {
    specs.Kron: _kron,
    specs.Sparse: _sparse,
    specs.DopedKron: _doped_kron,
    specs.HMD: _hmd,
    specs.Monarch: _monarch,
}
