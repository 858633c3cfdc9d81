"""Fan-in and fan-out of each factor of a structured matrix, read off its products.

A matrix is a chain of small maps, and its classes do not say which. But a product tells: entries of
a factor that feed the same output of it move the product of a constant row in the same direction.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from structlin.matrices import Matrix, combine, is_matrix, partition
from structlin.train._supports import leaf_path

__all__ = ["Fans", "fans"]

_PROBES = 4
_NEAR = 1e-3  # far above rounding, and far below what is between random directions


class Fans(NamedTuple):
    """What surrounds one array of a structured matrix.

    Attributes:
        rows: The inputs of the whole matrix.
        fan_in: How many inputs each output of this factor sums.
        fan_out: How many outputs each input of this factor feeds.
        factors: How many factors, this one included, stand on the way through it.
    """

    rows: int
    fan_in: int
    fan_out: int
    factors: int


def fans(params: Any) -> dict[str, Fans]:
    """Fan-in and fan-out of each floating array of each structured matrix in a tree.

    They follow from the shapes and the integer indices; values do not matter and may be shapes
    alone. A factor after which all goes through one number cannot be told apart from it.

    Args:
        params: A tree of arrays and matrices; of an NNX model ``structlin.nnx.params(model)``.

    Returns:
        The leaf's path to its `Fans`. The fan-ins of a low-rank matrix are ``m`` and ``r``, those
        of a Kronecker product the rows of its factors, that of a packed sparse matrix its slots.

    Raises:
        ValueError: There is no structured matrix, or one is a stack of several.
    """
    found = {
        leaf_path((*path, *below)): end
        for path, node in jax.tree_util.tree_leaves_with_path(params, is_leaf=is_matrix)
        if is_matrix(node)
        for below, end in _of_matrix(leaf_path(path), node)
    }
    if not found:
        raise ValueError(
            "No structured matrix is in these parameters; of an NNX model take "
            "structlin.nnx.params(model), not its state."
        )
    return found


def _of_matrix(path: str, matrix: Matrix) -> list[tuple[Any, Fans]]:
    """For each floating array of a matrix its path within, and its fans."""
    drawn = _drawn(matrix)
    rows, columns = drawn.shape
    out = jax.eval_shape(drawn.rmatmul, jax.ShapeDtypeStruct((rows,), jnp.float32))
    if out.shape != (columns,):
        raise ValueError(f"{path} is a stack of matrices: take fans of one, such as the first.")
    leaves = zip(
        jax.tree_util.tree_leaves_with_path(drawn), _ends(drawn), _degrees(drawn), strict=True
    )
    return [
        (below, Fans(rows, *ends, degree))
        for (below, leaf), ends, degree in leaves
        if _is_array(leaf)
    ]


def _drawn(matrix: Matrix) -> Any:
    """The matrix with positive random numbers in its floating arrays, so that nothing cancels."""
    rng = np.random.default_rng(0)

    def one(leaf: Any) -> Any:
        if not _is_array(leaf):
            return leaf
        wide = jnp.promote_types(leaf.dtype, jnp.float32)
        return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), wide)

    return jax.tree.map(one, matrix)


def _ends(matrix: Matrix) -> list[tuple[int, int]]:
    """Fan-in and fan-out of each leaf; of the arrays in an inner matrix as that one has them."""
    parts = jax.tree.leaves(matrix, is_leaf=lambda x: is_matrix(x) and x is not matrix)
    own = _own_ends(matrix) if any(map(_is_array, parts)) else [(1, 1)] * _size(matrix)
    found: list[tuple[int, int]] = []
    for part in parts:
        size, inner = _size(part), own[len(found) :]
        if is_matrix(part) and any(map(_is_array, jax.tree.leaves(part))):
            inner = _ends(part)
            if matrix.transpose() is part:  # what only wraps a matrix turns it around
                inner = [(b, a) for a, b in inner]
        found += inner[:size]
    return found


def _is_array(part: Any) -> bool:
    """Whether it is a floating array, and no matrix."""
    return not is_matrix(part) and jnp.issubdtype(part.dtype, jnp.inexact)


def _size(part: Any) -> int:
    return len(jax.tree.leaves(part))


def _own_ends(matrix: Matrix) -> list[tuple[int, int]]:
    """Fan-in and fan-out of each leaf, from the products of this matrix."""
    moved = iter(jax.tree.leaves(_moved(matrix)))
    found: list[tuple[int, int]] = []
    leaves = zip(jax.tree.leaves(matrix), _degrees(matrix), strict=True)
    for place, (leaf, degree) in enumerate(leaves):
        if not _is_array(leaf):
            found.append((1, 1))
            continue
        by_output, by_input = next(moved)
        alone = degree == 1 and leaf.size > 1
        ends = _parallel(by_output), _parallel(by_input)
        found.append(_reached(matrix, place) if alone else ends)
    return found


def _moved(matrix: Matrix) -> Any:
    """How each entry moves the products of the matrix, ``(2, probes, ...)`` for each array.

    First that of a constant row in random directions, then that of random rows in a constant one.
    """
    (m, n), rng = matrix.shape, np.random.default_rng(1)
    x, y = (np.ones((2, _PROBES, k), np.float32) for k in (m, n))
    x[1], y[0] = rng.normal(size=x[1].shape), rng.normal(size=y[0].shape)
    return _gradients(*partition(matrix), x, y)


@jax.jit
def _gradients(arrays: Any, fixed: Any, x: jax.Array, y: jax.Array) -> Any:
    """The gradients of ``x @ matrix @ y`` in the arrays, for each of the rows of both."""

    def form(arrays: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.real(jnp.sum(combine(arrays, fixed).rmatmul(x) * y))

    each = jax.vmap(jax.vmap(jax.grad(form), (None, 0, 0)), (None, 0, 0))
    return each(arrays, x, y)


def _parallel(directions: jax.Array) -> int:
    """How many entries move the probes ``(probes, ...)`` as the one does that moves them most."""
    flat = np.asarray(directions).reshape(_PROBES, -1)
    sizes = np.linalg.norm(flat, axis=0)
    flat = flat / np.where(sizes > 0, sizes, 1)
    apart = np.linalg.norm(flat - flat[:, [sizes.argmax()]], axis=0)
    return int(np.sum((apart < _NEAR) & (sizes > 0)))


def _reached(matrix: Matrix, place: int) -> tuple[int, int]:
    """The entries of one array that reach an output and that an input reaches, at most.

    For an array that is a factor by itself; it may use an entry for several outputs.
    """
    leaves, form = jax.tree.flatten(matrix)
    told = [jnp.full_like(x, i == place) if _is_array(x) else x for i, x in enumerate(leaves)]
    fan_in, fan_out = (round(float(e)) for e in _largest_sums(jax.tree.unflatten(form, told)))
    return fan_in, fan_out


@jax.jit
def _largest_sums(matrix: Matrix) -> tuple[jax.Array, jax.Array]:
    """The largest sum of a column, and of a row."""
    m, n = matrix.shape
    columns, rows = matrix.rmatmul(jnp.ones(m)), matrix.rmatmul_transposed(jnp.ones(n))
    return jnp.max(columns.real), jnp.max(rows.real)


def _degrees(matrix: Matrix) -> list[int]:
    """The number of factors on the way through each leaf, the leaf's own included.

    Through ``k`` factors the gradient in one is of degree ``k - 1``: it grows so many times twofold
    as all arrays are doubled. Single numbers are scales and no factors.
    """
    doubled = jax.tree.map(lambda x: 2 * x if _is_array(x) and x.size > 1 else x, matrix)
    pairs = zip(*(jax.tree.leaves(_moved(w)) for w in (matrix, doubled)), strict=True)

    def degree(leaf: Any) -> int:
        if not _is_array(leaf):
            return 1
        before, after = (float(jnp.abs(g).max()) for g in next(pairs))
        return 1 + max(0, round(math.log2(after / before)))

    return [degree(leaf) for leaf in jax.tree.leaves(matrix)]
