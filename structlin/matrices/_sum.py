"""Sums of matrices; with a sparse term, the doped structures."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix

__all__ = ["Sum"]


class Sum(Matrix):
    """``terms[0] + terms[1] + ...``.

    In the path of a leaf a term goes by its structure: ``kernel/kronecker/factors/0``,
    ``kernel/sparse/values``.

    Attributes:
        terms: Matrices of one shape.
    """

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

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return _total(t.rmatmul_transposed(x) for t in self.terms)

    def _take(self, rows: jax.Array) -> jax.Array:
        return _total(t._take(rows) for t in self.terms)

    def transpose(self) -> "Sum":
        return Sum(tuple(t.T for t in self.terms))

    def to_dense(self) -> jax.Array:
        return _total(t.to_dense() for t in self.terms)

    def flops(self) -> int:
        return sum(t.flops() for t in self.terms) + (len(self.terms) - 1) * self.shape[1]


def _total(parts: Any) -> jax.Array:
    return functools.reduce(jnp.add, parts)


def _names(terms: tuple[Any, ...]) -> list[str]:
    names: list[str] = []
    for i, term in enumerate(terms):
        name = getattr(term, "label", "") or f"term_{i}"
        names.append(name if name not in names else f"{name}_{i}")
    return names
