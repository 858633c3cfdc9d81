"""Linen's dense layers on a structured kernel."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin import functional, specs
from structlin.linen._param import default, has_matrix, kernel_param, where

__all__ = ["Dense", "DenseGeneral"]


class Dense(nn.Dense):
    """``nn.Dense`` with a kernel of any structure.

    Every field and every number is that of ``nn.Dense`` while there is no spec and the parameters
    hold no structured matrix. The kernel is one parameter, ``kernel``, whose value is the matrix.

    Attributes:
        spec: How the kernel is made; ``None`` for a dense one. A ``kernel_init`` other than the
            default draws a dense kernel that the spec is fitted to.

    Raises:
        ValueError: On a call, when a field that only a dense kernel can honour is set beside a
            structure (``dot_general``, ``dot_general_cls``, ``promote_dtype``), or when the
            parameters hold a kernel of another shape.
    """

    spec: specs.Spec | None = None

    def structure(self) -> specs.Spec | None:
        """The spec of the kernel."""
        return self.spec

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """``inputs @ kernel + bias`` over the last axis, ``(..., in)`` to ``(..., features)``."""
        spec = self.structure()
        if spec is None and not has_matrix(self):
            return super().__call__(inputs)
        _check_fields(self)
        shape = inputs.shape[-1], self.features
        original = default(nn.Dense, "kernel_init")
        kernel = kernel_param(self, spec, shape, self.param_dtype, self.kernel_init, original)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        with functional.precise(self.precision, "/".join(self.path)):
            return functional.dense(inputs, kernel, bias, dtype=self.dtype)


class DenseGeneral(nn.DenseGeneral):
    """``nn.DenseGeneral`` with a kernel of any structure.

    Every field and every number is that of ``nn.DenseGeneral`` while there is no spec and the
    parameters hold no structured matrix. The structure is of the kernel flattened to two axes:
    rows are all inputs of ``axis``, in ascending order as in Flax, and columns all features. The
    bias keeps Flax's shape.

    Attributes:
        spec: How the kernel is made; ``None`` for a dense one. A ``kernel_init`` other than the
            default draws a dense kernel that the spec is fitted to.

    Raises:
        ValueError: As for `Dense`, and for ``batch_dims`` beside a structure.
    """

    spec: specs.Spec | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """``inputs`` over ``axis`` times the kernel: the other axes, then ``features``."""
        held = nn.meta.unbox(self.get_variable("params", "kernel"))
        plain = self.spec is None and not has_matrix(self)
        if plain or getattr(held, "ndim", 2) > 2:  # an array of Flax's own shape
            return super().__call__(inputs)
        _check_fields(self)
        if _tuple(self.batch_dims):
            raise ValueError(
                f"{where(self)} was given batch_dims={self.batch_dims}: a structured "
                "kernel is one matrix for all of the batch. Use nn.vmap for one for each."
            )
        features = _tuple(self.features)
        axes = sorted(a % inputs.ndim for a in _tuple(self.axis))  # sorted as Flax does
        kept = [i for i in range(inputs.ndim) if i not in axes]
        rows = jnp.moveaxis(inputs, axes, range(len(kept), inputs.ndim))
        rows = rows.reshape(*(inputs.shape[i] for i in kept), -1)
        shape = rows.shape[-1], math.prod(features)
        original = default(nn.DenseGeneral, "kernel_init")
        kernel = kernel_param(self, self.spec, shape, self.param_dtype, self.kernel_init, original)
        bias = None
        if self.use_bias:
            init = _flat(self.bias_init, features)
            bias = self.param("bias", init, features, self.param_dtype).reshape(-1)
        with functional.precise(self.precision, "/".join(self.path)):
            outputs = functional.dense(rows, kernel, bias, dtype=self.dtype)
        return outputs.reshape(*outputs.shape[:-1], *features)


def _check_fields(module: Dense | DenseGeneral) -> None:
    for name in ("dot_general", "dot_general_cls", "promote_dtype"):
        if getattr(module, name) is not default(nn.Dense, name):
            raise ValueError(
                f"{where(module)} was given {name}=, which a structured kernel cannot "
                "honour: its product is not one dot_general. Leave the field, or the spec, out."
            )


def _tuple(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _flat(init: Any, shape: tuple[int, ...]) -> Any:
    """``init`` drawn flat, as Flax draws the bias of several axes."""

    def reshaped(key: jax.Array, _: Any, dtype: Any) -> Any:
        drawn = init(key, (math.prod(shape),), dtype)
        if isinstance(drawn, nn.meta.AxisMetadata):
            return drawn.replace_boxed(drawn.unbox().reshape(shape))
        return drawn.reshape(shape)

    return reshaped
