"""The same products by structlin, by hand and by the libraries that a user might take instead.

Each function draws one structure and returns contenders ``name -> (parameters, product)``;
``product(parameters, v)`` is ``W @ v`` for ``v`` of shape ``(n,)`` or ``(n, k)``. A name that ends
in "rows" computes ``v @ W`` for rows ``(m,)`` or ``(k, m)`` instead. Libraries that are not
installed are left out.
"""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import matrices as ms

__all__ = ["STRUCTURES", "Contender"]

Contender = tuple[Any, Callable[[Any, jax.Array], jax.Array]]
SIDE = 1024


def library(name: str) -> Any:
    """The module, or ``None`` if it cannot be imported here."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def ours(matrix: ms.Matrix) -> dict[str, Contender]:
    """Both sides of a matrix of this library."""
    return {
        "structlin": (matrix, lambda w, v: w @ v),
        "structlin, rows": (matrix, lambda w, v: v @ w),
    }


def operator(matrix: Any) -> Contender:
    """What multiplies by ``@`` and is a pytree."""
    return matrix, lambda w, v: w @ v


def closed(build: Callable[[Any], Any], arrays: Any) -> Contender:
    """What has to be built inside the traced function, since it is no pytree."""
    return arrays, lambda p, v: build(p) @ v


def by_lineax(arrays: Any, mv: Callable[[Any, jax.Array], jax.Array]) -> dict[str, Contender]:
    """A subclass of lineax's operator, as its users would write it."""
    lx, eqx = library("lineax"), library("equinox")
    if lx is None or eqx is None:
        return {}

    class Operator(lx.AbstractLinearOperator):
        arrays: Any

        def mv(self, vector: Any) -> Any:
            return mv(self.arrays, vector)

        def as_matrix(self) -> Any:
            raise NotImplementedError("as_matrix is not timed")

        def transpose(self) -> Any:
            raise NotImplementedError("transpose is not timed")

        def in_structure(self) -> Any:
            return jax.ShapeDtypeStruct((SIDE,), jnp.float32)

        def out_structure(self) -> Any:
            return jax.ShapeDtypeStruct((SIDE,), jnp.float32)

    for check in ("symmetric", "diagonal", "tridiagonal", "unit_triangular", "lower_triangular"):
        _register(
            lx, f"is_{check}" if check != "unit_triangular" else "has_unit_diagonal", Operator
        )
    for check in ("is_upper_triangular", "is_positive_semidefinite", "is_negative_semidefinite"):
        _register(lx, check, Operator)

    def product(op: Any, v: jax.Array) -> jax.Array:
        return op.mv(v) if v.ndim == 1 else jax.vmap(op.mv, in_axes=1, out_axes=1)(v)

    return {"lineax": (Operator(arrays), product)}


def _register(lx: Any, name: str, cls: type) -> None:
    if hasattr(lx, name):
        getattr(lx, name).register(cls)(lambda _: False)


def by_quax(arrays: Any, matvec: Callable[[Any, jax.Array], jax.Array]) -> dict[str, Contender]:
    """An array type of quax with one rule, for ``W @ v``."""
    quax = library("quax")
    if quax is None:
        return {}
    eqx = importlib.import_module("equinox")

    class Structured(quax.ArrayValue):
        arrays: Any
        side: int = eqx.field(static=True, default=SIDE)

        def aval(self) -> Any:
            return importlib.import_module("jax.core").ShapedArray(
                (self.side, self.side), jnp.dtype("float32")
            )

        def materialise(self) -> Any:
            raise ValueError("this would form the matrix")

    def rule(w: Any, v: Any, **kwargs: Any) -> Any:
        del kwargs  # one contraction is asked for here, of the last axis with the first
        return matvec(w.arrays, v)

    rule.__annotations__ = {"w": Structured, "v": jax.Array}
    quax.register(jax.lax.dot_general_p)(rule)
    return {"quax": (Structured(arrays), quax.quaxify(lambda w, v: jnp.matmul(w, v)))}


def kronecker(rng: np.random.Generator) -> dict[str, Contender]:
    """32 x 32 by 32 x 32."""
    a, b = (jnp.asarray(rng.normal(size=(32, 32)) / 6, jnp.float32) for _ in range(2))

    def einsum(p: Any, v: jax.Array) -> jax.Array:
        folded = v.reshape(32, 32, *v.shape[1:])
        return jnp.einsum("ai,bj,ij...->ab...", *p, folded).reshape(v.shape)

    def two_dots(p: Any, v: jax.Array) -> jax.Array:
        first = (p[0] @ v.reshape(32, -1)).reshape(32, 32, *v.shape[1:])
        return jnp.einsum("bj,aj...->ab...", p[1], first).reshape(v.shape)

    def rows(p: Any, v: jax.Array) -> jax.Array:
        folded = v.reshape(*v.shape[:-1], 32, 32)
        return jnp.einsum("...ij,ia,jb->...ab", folded, *p).reshape(v.shape)

    def rows_two_dots(p: Any, v: jax.Array) -> jax.Array:
        first = jnp.einsum("ia,...ij->...aj", p[0], v.reshape(*v.shape[:-1], 32, 32))
        return (first.reshape(-1, 32) @ p[1]).reshape(v.shape)

    found: dict[str, Contender] = ours(ms.Kronecker((a, b)))
    found |= {"by hand (einsum)": ((a, b), einsum), "by hand (two dots)": ((a, b), two_dots)}
    found |= {"by hand (einsum), rows": ((a, b), rows)}
    found |= {"by hand (two dots), rows": ((a, b), rows_two_dots)}
    if linox := library("linox"):
        found["linox"] = operator(linox.Kronecker(a, b))
    if pykronecker := library("pykronecker"):
        found["pykronecker"] = closed(pykronecker.KroneckerProduct, (a, b))
    if cola := library("cola"):
        found["cola"] = closed(lambda p: cola.kron(*map(cola.ops.Dense, p)), (a, b))
    return found | by_lineax((a, b), einsum) | by_quax((a, b), einsum)


def low_rank(rng: np.random.Generator) -> dict[str, Contender]:
    """Rank 32."""
    u, v = (jnp.asarray(rng.normal(size=(SIDE, 32)) / 16, jnp.float32) for _ in range(2))
    vt = jnp.asarray(np.asarray(v).T)

    def by_hand(p: Any, x: jax.Array) -> jax.Array:
        return p[0] @ (p[1] @ x)

    found: dict[str, Contender] = ours(ms.LowRank(u, vt))
    found |= {"by hand": ((u, vt), by_hand)}
    found |= {"by hand, rows": ((u, vt), lambda p, x: (x @ p[0]) @ p[1])}
    if linox := library("linox"):
        found["linox"] = operator(linox.LowRank(u, jnp.ones(32), v))
    if cola := library("cola"):
        product = closed(lambda p: cola.ops.Dense(p[0]) @ cola.ops.Dense(p[1]), (u, vt))
        found["cola"] = product
    return found | by_lineax((u, vt), by_hand) | by_quax((u, vt), by_hand)


def block_diagonal(rng: np.random.Generator) -> dict[str, Contender]:
    """16 blocks of 64 x 64."""
    blocks = jnp.asarray(rng.normal(size=(16, 64, 64)) / 8, jnp.float32)

    def by_hand(p: Any, v: jax.Array) -> jax.Array:
        folded = v.reshape(16, 64, *v.shape[1:])
        return jnp.einsum("bij,bj...->bi...", p, folded).reshape(v.shape)

    def rows(p: Any, v: jax.Array) -> jax.Array:
        folded = v.reshape(*v.shape[:-1], 16, 64)
        return jnp.einsum("...bi,bij->...bj", folded, p).reshape(v.shape)

    found: dict[str, Contender] = ours(ms.BlockDiagonal(blocks))
    found |= {"by hand": (blocks, by_hand), "by hand, rows": (blocks, rows)}
    if linox := library("linox"):
        found["linox"] = operator(linox.BlockDiagonal(*map(linox.Matrix, blocks)))
    if cola := library("cola"):
        found["cola"] = closed(lambda p: cola.ops.BlockDiag(*map(cola.ops.Dense, p)), blocks)
    return found | by_lineax(blocks, by_hand) | by_quax(blocks, by_hand)


def sparse(rng: np.random.Generator) -> dict[str, Contender]:
    """10 entries in each column: 1 in 102."""
    slots = 10
    order = np.argsort(rng.random((SIDE, SIDE)), axis=0)[:slots]
    values = rng.normal(size=(slots, SIDE)).astype(np.float32) / 4
    matrix = ms.Sparse(jnp.asarray(values), jnp.asarray(order.astype(np.uint16)), SIDE)
    dense = np.asarray(matrix.to_dense())
    i, j = np.nonzero(dense)
    data, place = jnp.asarray(dense[i, j]), (jnp.asarray(i), jnp.asarray(j))

    def segments(p: Any, v: jax.Array) -> jax.Array:
        parts = p[:, None] * v[place[1]] if v.ndim == 2 else p * v[place[1]]
        return jax.ops.segment_sum(parts, place[0], SIDE, indices_are_sorted=True)

    sparse_module = importlib.import_module("jax.experimental.sparse")
    bcoo = sparse_module.BCOO((data, jnp.stack(place, axis=1)), shape=(SIDE, SIDE))

    def by_bcoo(p: Any, v: jax.Array) -> jax.Array:
        return sparse_module.BCOO((p, bcoo.indices), shape=bcoo.shape) @ v

    def bcoo_rows(p: Any, v: jax.Array) -> jax.Array:
        return v @ sparse_module.BCOO((p, bcoo.indices), shape=bcoo.shape)

    found: dict[str, Contender] = {
        "structlin": (matrix.values, lambda p, v: ms.Sparse(p, matrix.indices, SIDE) @ v),
        "structlin, rows": (matrix.values, lambda p, v: v @ ms.Sparse(p, matrix.indices, SIDE)),
        "by hand (segments)": (data, segments),
        "jax.experimental.sparse": (data, by_bcoo),
        "jax.experimental.sparse, rows": (data, bcoo_rows),
    }
    if cola := library("cola"):
        found["cola"] = operator(cola.ops.Sparse(data, *place, (SIDE, SIDE)))
    return found | by_lineax(data, segments) | by_quax(data, segments)


STRUCTURES: dict[str, Callable[[np.random.Generator], dict[str, Contender]]] = {
    "Kronecker 32x32 (x) 32x32": kronecker,
    "Low rank 32": low_rank,
    "Block diagonal 16 of 64x64": block_diagonal,
    "Sparse, 10 a column": sparse,
}
"""Structure -> its contenders; all are 1024 x 1024, in single precision."""
