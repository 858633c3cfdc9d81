"""Linen's dense layer on a structured kernel."""

import contextlib
import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax

from structlin import functional, specs
from structlin.linen._param import has_matrix, kernel_param

__all__ = ["HMD", "Dense", "DopedKron", "Kron", "LowRank", "Sparse"]

Shapes = tuple[tuple[int, int], ...]


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


class _Named(Dense):
    """A `Dense` whose spec's fields are its own."""

    spec_type: ClassVar[type[specs.Spec]]

    def structure(self) -> specs.Spec:
        if self.spec is not None:
            raise ValueError(
                f"{type(self).__name__} is described by its own fields; give spec= to Dense."
            )
        fields = dataclasses.fields(self.spec_type)
        return self.spec_type(**{f.name: getattr(self, f.name) for f in fields})


class DopedKron(_Named):
    """``nn.Dense`` with a Kronecker product plus a sparse co-matrix as its kernel.

    The fields of ``nn.Dense`` come first; ``compression``, ``density``, ``shapes`` and ``anneal``
    are those of `structlin.specs.DopedKron`. Compressed 10 times if no size is given.
    """

    spec_type = specs.DopedKron

    compression: float | None = None
    density: float | None = None
    shapes: Shapes | None = None
    anneal: bool = False


class Kron(_Named):
    """``nn.Dense`` with a Kronecker product as its kernel.

    The fields of ``nn.Dense`` come first; ``compression``, ``factors`` and ``shapes`` are those of
    `structlin.specs.Kron`. The smallest product of full rank if no size is given.
    """

    spec_type = specs.Kron

    compression: float | None = None
    factors: int = 2
    shapes: Shapes | None = None


class HMD(_Named):
    """``nn.Dense`` with dense columns beside rank-one blocks as its kernel.

    The fields of ``nn.Dense`` come first; ``dense_columns``, ``compression`` and ``rank_blocks``
    are those of `structlin.specs.HMD`; one of the first two is needed.
    """

    spec_type = specs.HMD

    dense_columns: int | None = None
    compression: float | None = None
    rank_blocks: int = 1


class LowRank(_Named):
    """``nn.Dense`` with a low-rank kernel.

    The fields of ``nn.Dense`` come first; ``rank`` and ``compression`` are those of
    `structlin.specs.LowRank`; one of them is needed.
    """

    spec_type = specs.LowRank

    rank: int | None = None
    compression: float | None = None


class Sparse(_Named):
    """``nn.Dense`` with a sparse kernel.

    The fields of ``nn.Dense`` come first; ``density``, ``compression`` and ``anneal`` are those of
    `structlin.specs.Sparse`. Compressed 10 times if no size is given.
    """

    spec_type = specs.Sparse

    density: float | None = None
    compression: float | None = None
    anneal: bool = False


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
