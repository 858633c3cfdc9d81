"""The arithmetic of a dense layer on an array or a structured matrix."""

import contextlib
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from structlin.kernels import merge_rows
from structlin.matrices import ColumnBlocks, Dense, Matrix, Native

__all__ = ["Kernel", "dense", "precise", "promote", "side_by_side"]

Kernel = jax.Array | Matrix
"""A weight: a dense array or a structured matrix, ``(in, out)`` either way."""

T = TypeVar("T")


def dense(
    inputs: jax.Array, kernel: Kernel, bias: jax.Array | None = None, *, dtype: Any = None
) -> jax.Array:
    """``inputs @ kernel + bias``.

    Args:
        inputs: ``(..., in)``.
        kernel: ``(in, out)``.
        bias: ``(out,)``, or ``None``.
        dtype: The dtype to compute in; by default the one that all of them promote to.

    Returns:
        ``(..., out)`` in that dtype.
    """
    inputs, kernel, bias = promote((inputs, kernel, bias), dtype)
    outputs = (merge_rows(inputs) @ kernel).reshape(*inputs.shape[:-1], kernel.shape[-1])
    return outputs if bias is None else outputs + bias


def promote(tree: T, dtype: Any = None) -> T:
    """Casts every floating and complex leaf of ``tree``, and an integer array that stands alone.

    Args:
        tree: Arrays, matrices and ``None``; the integer indices inside a matrix stay as they are.
        dtype: What to cast to; by default the dtype that all castable leaves promote to, at least a
            floating one.
    """
    nodes = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, Matrix))
    dtypes = [x.dtype if isinstance(x, Matrix) else jnp.result_type(x) for x in nodes]
    target = jnp.dtype(dtype) if dtype is not None else jnp.result_type(*dtypes)
    if not jnp.issubdtype(target, jnp.inexact):
        target = jnp.promote_types(jnp.float32, target)

    def cast(node: Any) -> Any:
        return node.astype(target) if isinstance(node, Matrix) else jnp.asarray(node, target)

    return jax.tree.map(cast, tree, is_leaf=lambda x: isinstance(x, Matrix))


def precise(precision: Any, owner: str = "") -> contextlib.AbstractContextManager[Any]:
    """The context in which the products of a matrix have the ``precision`` of a layer.

    Args:
        precision: ``None``, a name, or a ``jax.lax.Precision``.
        owner: The path of the layer, for the message.

    Raises:
        ValueError: ``precision`` is a pair or anything else.
    """
    if precision is None:
        return contextlib.nullcontext()
    name = precision.name.lower() if isinstance(precision, jax.lax.Precision) else precision
    if not isinstance(name, str):
        raise ValueError(
            f"{owner + ': ' if owner else ''}A structured weight takes one precision for all its "
            f"products; given {precision!r}."
        )
    return jax.default_matmul_precision(name)


def side_by_side(kernels: list[Kernel]) -> Kernel:
    """The kernels of several gates as one, ``(in, total out)``: dense if all of them are."""
    if len(kernels) == 1:
        return kernels[0]
    if all(isinstance(k, Native) for k in kernels):
        return Native(ColumnBlocks(tuple(k.inner for k in kernels if isinstance(k, Native))))
    if any(isinstance(k, Matrix) for k in kernels):
        return ColumnBlocks(tuple(k if isinstance(k, Matrix) else Dense(k) for k in kernels))
    return jnp.concatenate([jnp.asarray(k) for k in kernels], axis=-1)
