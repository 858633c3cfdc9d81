"""NNX's linear layers and embedding on structured weights."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from structlin import functional
from structlin.nnx._fields import check_fields, drawn_by, placed, takes_fields_of
from structlin.nnx._variables import hold, is_structured, value
from structlin.specs import Spec

__all__ = ["Embed", "Linear", "LinearGeneral"]


class Linear(nnx.Linear):
    """``nnx.Linear`` with a kernel of any structure.

    Every field and every number is that of ``nnx.Linear`` while the kernel is dense. A structured
    ``kernel`` is the matrix itself, with an ``nnx.Param`` for each of its arrays: in the state, its
    paths are ``kernel/factors/0`` and so on.

    Attributes:
        spec: How the kernel was drawn; ``None`` for a dense one. A ``kernel_init`` other than the
            default draws a dense kernel that the spec is fitted to.

    Raises:
        ValueError: When made or called, if a field that only a dense kernel can honour is set
            beside a structure (``dot_general``, ``promote_dtype``, ``preferred_element_type``,
            metadata that place one array on a mesh).
    """

    spec: Spec | None = None

    @takes_fields_of(nnx.Linear)
    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        rngs: nnx.Rngs,
        spec: Spec | None = None,
        **fields: Any,
    ):
        if spec is not None:
            fields["kernel_init"] = drawn_by(spec, nnx.Linear, fields, "kernel_init")
        super().__init__(in_features, out_features, rngs=rngs, **fields)
        self.spec = spec
        if spec is not None:
            check_fields(self, nnx.Linear)
            self.kernel = hold(self.kernel.get_value(), fields.get("kernel_metadata"))

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """``inputs @ kernel + bias`` over the last axis, ``(..., in)`` to ``(..., out)``."""
        if not is_structured(self.kernel):
            return super().__call__(inputs, out_sharding=out_sharding)
        check_fields(self, nnx.Linear)
        with functional.precise(self.precision):
            outputs = functional.dense(
                inputs, value(self.kernel), value(self.bias), dtype=self.dtype
            )
        return placed(outputs, out_sharding)


class LinearGeneral(nnx.LinearGeneral):
    """``nnx.LinearGeneral`` with a kernel of any structure.

    The matrix stands for the kernel with its input axes and its output axes flattened. Everything
    else is as in `Linear`.

    Attributes:
        spec: How the kernel was drawn; ``None`` for a dense one.

    Raises:
        ValueError: As `Linear`, or if there are batch axes, which make one kernel many.
    """

    spec: Spec | None = None

    @takes_fields_of(nnx.LinearGeneral)
    def __init__(
        self,
        in_features: Any,
        out_features: Any,
        *,
        rngs: nnx.Rngs,
        spec: Spec | None = None,
        **fields: Any,
    ):
        drawn = []
        if spec is not None:
            draw = drawn_by(spec, nnx.LinearGeneral, fields, "kernel_init")

            # Flax reshapes what its initializer returns, which a matrix refuses: keep it aside.
            def init(key: jax.Array, shape: tuple[int, int], dtype: Any) -> jax.Array:
                drawn.append(draw(key, shape, dtype))
                return jnp.zeros(shape, dtype)

            fields["kernel_init"] = init
        super().__init__(in_features, out_features, rngs=rngs, **fields)
        self.spec = spec
        if spec is not None:
            self._check()
            self.kernel = hold(drawn[0], fields.get("kernel_metadata"))

    def _check(self) -> None:
        check_fields(self, nnx.LinearGeneral)
        if self.batch_axis:
            raise ValueError(
                f"{type(self).__name__} was given batch_axis={dict(self.batch_axis)}: its kernel "
                "is one matrix for each batch entry. Leave the batch axes, or the spec, out."
            )

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """The product over ``axis``; the output axes come last."""
        if not is_structured(self.kernel):
            return super().__call__(inputs, out_sharding=out_sharding)
        self._check()
        axes = sorted(a % inputs.ndim for a in self.axis)  # sorted as Flax does
        found = tuple(inputs.shape[a] for a in axes)
        if found != tuple(self.in_features):
            raise ValueError(
                f"{type(self).__name__} multiplies axes {tuple(axes)} of size "
                f"{tuple(self.in_features)}; given inputs of shape {inputs.shape}."
            )
        rest = [a for a in range(inputs.ndim) if a not in axes]
        rows = inputs.transpose(*rest, *axes).reshape(*(inputs.shape[a] for a in rest), -1)
        bias = None if self.bias is None else value(self.bias).reshape(-1)
        with functional.precise(self.precision):
            outputs = functional.dense(rows, value(self.kernel), bias, dtype=self.dtype)
        return placed(outputs.reshape(*rows.shape[:-1], *self.out_features), out_sharding)


class Embed(nnx.Embed):
    """``nnx.Embed`` with an embedding of any structure.

    Every field and every number is that of ``nnx.Embed`` while the embedding is dense. Rows are
    computed as they are asked for, and `attend` multiplies by the transpose; neither forms the
    table.

    Attributes:
        spec: How the embedding was drawn; ``None`` for a dense one. An ``embedding_init`` other
            than the default draws a dense embedding that the spec is fitted to.

    Raises:
        ValueError: When made or called, if ``promote_dtype`` is set beside a structure.
    """

    spec: Spec | None = None

    @takes_fields_of(nnx.Embed)
    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        spec: Spec | None = None,
        **fields: Any,
    ):
        if spec is not None:
            fields["embedding_init"] = drawn_by(spec, nnx.Embed, fields, "embedding_init")
        super().__init__(num_embeddings, features, rngs=rngs, **fields)
        self.spec = spec
        if spec is not None:
            check_fields(self, nnx.Embed)
            self.embedding = hold(self.embedding.get_value(), fields.get("embedding_metadata"))

    def __call__(self, inputs: jax.Array, out_sharding: Any = None) -> jax.Array:
        """The rows at ``inputs``, integers of any shape, ``(*inputs.shape, features)``."""
        if not is_structured(self.embedding):
            return super().__call__(inputs, out_sharding=out_sharding)
        check_fields(self, nnx.Embed)
        rows = functional.embed(inputs, value(self.embedding), dtype=self.dtype)
        return placed(rows, out_sharding)

    def attend(self, query: jax.Array, out_sharding: Any = None) -> jax.Array:
        """``query @ embedding.T``, ``(..., features)`` to ``(..., num_embeddings)``."""
        if not is_structured(self.embedding):
            return super().attend(query, out_sharding=out_sharding)
        check_fields(self, nnx.Embed)
        scores = functional.attend(query, value(self.embedding), dtype=self.dtype)
        return placed(scores, out_sharding)
