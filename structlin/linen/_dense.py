"""Linen's dense layer on a structured kernel."""

import contextlib
import dataclasses
from typing import Any

import flax.linen as nn
import jax

from structlin import functional, specs
from structlin.linen._param import has_matrix, kernel_param

__all__ = ["Dense"]


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
        self._check_fields()
        shape = inputs.shape[-1], self.features
        default = _default(nn.Dense, "kernel_init")
        kernel = kernel_param(self, spec, shape, self.param_dtype, self.kernel_init, default)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        with _precision(self.precision):
            return functional.dense(inputs, kernel, bias, dtype=self.dtype)

    def _check_fields(self) -> None:
        for name in ("dot_general", "dot_general_cls", "promote_dtype"):
            if getattr(self, name) is not _default(nn.Dense, name):
                raise ValueError(
                    f"{type(self).__name__} was given {name}=, which a structured kernel cannot "
                    "honour: its product is not one dot_general. Leave the field, or the spec, out."
                )


def _default(module: type[nn.Module], name: str) -> Any:
    return next(f.default for f in dataclasses.fields(module) if f.name == name)


def _precision(precision: object) -> contextlib.AbstractContextManager:
    if precision is None:
        return contextlib.nullcontext()
    name = precision.name.lower() if isinstance(precision, jax.lax.Precision) else precision
    if not isinstance(name, str):
        raise ValueError(
            f"A structured kernel takes one precision for all its products; given {precision!r}."
        )
    return jax.default_matmul_precision(name)
