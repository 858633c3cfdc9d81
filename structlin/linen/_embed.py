"""Linen's embedding on a structured matrix."""

from typing import Any

import flax.linen as nn
import jax

from structlin import functional, specs
from structlin.linen._param import default, has_matrix, kernel_param, where
from structlin.matrices import Matrix

__all__ = ["Embed"]


class Embed(nn.Embed):
    """``nn.Embed`` with an embedding of any structure.

    Every field and every number is that of ``nn.Embed`` while there is no spec and the parameters
    hold no structured matrix. The embedding is one parameter, ``embedding``, whose value is the
    matrix; what the spec draws is scaled to Flax's variance, 1 / features.

    Attributes:
        spec: How the embedding ``(num_embeddings, features)`` is made; ``None`` for a dense one.
            An ``embedding_init`` other than the default draws a dense one that the spec is fitted
            to.

    Raises:
        ValueError: On a call, when ``promote_dtype`` is set beside a structure, or when the
            parameters hold an embedding of another shape.
    """

    spec: specs.Spec | None = None

    def setup(self) -> None:
        """Comes by the embedding."""
        if self.spec is None and not has_matrix(self):
            super().setup()
            return
        if self.promote_dtype is not default(nn.Embed, "promote_dtype"):
            raise ValueError(
                f"{where(self)} was given promote_dtype=, which a structured embedding "
                "cannot honour: it is not one array. Leave the field, or the spec, out."
            )
        self.embedding: Any = kernel_param(
            self,
            self.spec,
            (self.num_embeddings, self.features),
            self.param_dtype,
            self.embedding_init,
            default(nn.Embed, "embedding_init"),
            name="embedding",
            scale=(self.num_embeddings / self.features) ** 0.5,
        )

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """The rows at ``inputs``, integers of any shape: ``(*inputs.shape, features)``."""
        if not isinstance(self.embedding, Matrix):
            return super().__call__(inputs)
        return functional.embed(inputs, self.embedding, dtype=self.dtype)

    def attend(self, query: jax.Array) -> jax.Array:
        """``query @ embedding.T``, ``(..., features)`` to ``(..., num_embeddings)``."""
        if not isinstance(self.embedding, Matrix):
            return super().attend(query)
        return functional.attend(query, self.embedding, dtype=self.dtype)
