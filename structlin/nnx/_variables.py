"""How an NNX module holds a structured matrix: a variable for each of its arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from structlin.functional import Kernel
from structlin.matrices import Matrix

__all__ = ["Index", "hold", "is_structured", "of_variables", "value"]


class Index(nnx.Variable):
    """An array of a matrix that does not train: the integers of a packed one.

    ``nnx.grad`` and ``nnx.Optimizer`` with ``wrt=nnx.Param`` leave it alone; a model's stored
    numbers are ``nnx.state(model, (nnx.Param, structlin.nnx.Index))``.
    """


def hold(kernel: Kernel, metadata: Mapping[str, Any] | None = None) -> Any:
    """What a module's attribute is set to so that it holds ``kernel``.

    Args:
        kernel: An array or a matrix, ``(in, out)``.
        metadata: Of the variables.
    """
    if isinstance(kernel, Matrix):
        return nnx.data(of_variables(kernel, metadata))
    return nnx.Param(jnp.asarray(kernel), **(metadata or {}))


def of_variables(matrix: Matrix, metadata: Mapping[str, Any] | None = None) -> Any:
    """A matrix with an ``nnx.Param`` or an `Index` in place of each of its arrays.

    One ``nnx.Param`` of a whole matrix would also run, but ``nnx.Optimizer`` cannot update it.
    """

    def one(leaf: jax.Array) -> nnx.Variable:
        kind = nnx.Param if jnp.issubdtype(leaf.dtype, jnp.inexact) else Index
        return kind(leaf, **(metadata or {}))

    return jax.tree.map(one, matrix)


def value(held: Any) -> Any:
    """The array or matrix that an attribute holds, without variables; ``None`` stays."""

    def one(variable: Any) -> Any:
        return variable[...] if isinstance(variable, nnx.Variable) else variable

    return jax.tree.map(one, held, is_leaf=lambda x: isinstance(x, nnx.Variable))


def is_structured(held: Any) -> bool:
    """Whether an attribute holds a structured matrix."""
    return isinstance(held, Matrix)
