"""Sums of matrices; with a sparse term, the doped structures."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices._base import Matrix
from structlin.matrices._factorizations import need_hermitian
from structlin.matrices._low_rank_update import Update, split
from structlin.matrices._registry import unsupported

__all__ = ["Sum"]


_NEEDS: dict[str, str] = {
    **dict.fromkeys(("solve", "inverse", "slogdet"), "one term that can, beside terms of low rank"),
    **dict.fromkeys(
        ("exp", "sqrt", "power"), "a multiple of the identity, beside Hermitian terms of low rank"
    ),
}


class Sum(Matrix):
    """``terms[0] + terms[1] + ...``.

    One term that solves and others of low rank solve together, by small systems of that rank; a
    multiple of the identity and terms of low rank have functions.

    Formula: ``W = T_1 + T_2 + ... + T_k``
    Storage: that of the terms
    FLOPs: those of the terms, and ``n`` to add each
    Rank: at most the sum of the terms'
    Suits: a structure and what it misses: doped structures, low-rank updates, damping

    In the path of a leaf a term goes by its structure: ``kernel/kronecker/factors/0``,
    ``kernel/sparse/values``.

    Attributes:
        terms: Matrices of one shape.
    """

    needs = _NEEDS

    terms: tuple[Matrix, ...]

    @classmethod
    def _register(cls) -> None:
        def with_keys(matrix: "Sum"):
            names = _names(matrix.terms)
            keys = (jax.tree_util.GetAttrKey(name) for name in names)
            return tuple(zip(keys, matrix.terms, strict=True)), None

        jax.tree_util.register_pytree_with_keys(
            cls, with_keys, lambda _, terms: cls(tuple(terms)), lambda matrix: (matrix.terms, None)
        )

    @classmethod
    def of(cls, *terms: Matrix) -> Matrix:
        """The sum of ``terms``; sums among them are taken apart, and terms that merge do."""
        kept: list[Matrix] = []
        for term in (p for t in terms for p in (t.terms if isinstance(t, Sum) else (t,))):
            merged = ((i, k._plus(term)) for i, k in enumerate(kept))
            place, one = next((pair for pair in merged if pair[1] is not None), (-1, None))
            if one is None:
                kept.append(term)
            else:
                kept[place] = one
        return kept[0] if len(kept) == 1 else Sum(tuple(kept))

    @property
    def shape(self) -> tuple[int, int]:
        return self.terms[0].shape

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return _total(t.rmatmul(x) for t in self.terms)

    def _program(self) -> kernels.native.Program | None:
        return kernels.native.sum_program(t._program() for t in self.terms)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return _total(t.rmatmul_transposed(x) for t in self.terms)

    def _matmul(self, v: jax.Array) -> jax.Array:
        return _total(t._matmul(v) for t in self.terms)

    def _matmul_transposed(self, v: jax.Array) -> jax.Array:
        return _total(t._matmul_transposed(v) for t in self.terms)

    def _take(self, rows: jax.Array) -> jax.Array:
        return _total(t._take(rows) for t in self.terms)

    def transpose(self) -> "Sum":
        return Sum(tuple(t.T for t in self.terms))

    def to_dense(self) -> jax.Array:
        return _total(t.to_dense() for t in self.terms)

    def flops(self) -> int:
        return sum(t.flops() for t in self.terms) + (len(self.terms) - 1) * self.shape[1]

    def diagonal(self) -> jax.Array:
        return _total(t.diagonal() for t in self.terms)

    def trace(self) -> jax.Array:
        return _total(t.trace() for t in self.terms)

    def _solve(self, b: jax.Array) -> jax.Array:
        return self._update("solve").solve(b)

    def _inverse(self) -> Matrix:
        return Sum.of(*self._update("inverse").inverse())

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        return self._update("slogdet").slogdet()

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> Matrix:
        need_hermitian(self, name)
        update = split(self.terms)
        multiple = None if update is None else update.multiple()
        if update is None or multiple is None:
            needs = "a multiple of the identity, beside terms of low rank"
            raise unsupported(self, name, needs)
        return Sum.of(*update.function(f, multiple))

    def _update(self, operation: str) -> Update:
        found = split(self.terms)
        if found is None:
            raise unsupported(self, operation, "one term that solves, beside terms of low rank")
        return found


def _total(parts: Any) -> jax.Array:
    return functools.reduce(jnp.add, parts)


def _names(terms: tuple[Any, ...]) -> list[str]:
    names: list[str] = []
    for i, term in enumerate(terms):
        name = getattr(term, "label", "") or f"term_{i}"
        names.append(name if name not in names else f"{name}_{i}")
    return names
