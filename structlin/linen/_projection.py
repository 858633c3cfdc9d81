"""A random projection as a layer of Linen."""

import flax.linen as nn
import jax

from structlin import functional

__all__ = ["Projection"]


class Projection(nn.Module):
    """A layer without parameters: products with random columns that are computed, never stored.

    T functions of d bits each are ``T d`` columns; the entry of an input in a column is the hash
    of both. Gradients pass the signs as if they were not there, so the layers below learn.

    Attributes:
        functions: T.
        bits: d.
        kind: The random entries, as in `structlin.matrices.Projection`.
        output: ``"sign"``, ``"ternary"`` or ``"real"``, as in `structlin.functional.project`.
        seed: Which of the random matrices.

    Reference:
        Ravi (2017), "ProjectionNet: learning efficient on-device deep networks using neural
        projections". Gradients through the projection are not theirs.
    """

    functions: int
    bits: int
    kind: str = "sign"
    output: str = "sign"
    seed: int = 0

    @property
    def features(self) -> int:
        """How many numbers come out."""
        return self.functions * self.bits

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Projects arrays, ``(..., in)`` to ``(..., functions * bits)``."""
        return functional.project(
            inputs, self.features, seed=self.seed, kind=self.kind, output=self.output
        )

    def of_features(self, ids: jax.Array, weights: jax.Array | None = None) -> jax.Array:
        """Projects sparse inputs: the mean of the rows of the features each has.

        Args:
            ids: ``(..., count)``, integers below ``2**32``.
            weights: What each counts, ``(..., count)``; 1 if ``None``.

        Returns:
            ``(..., functions * bits)``.
        """
        return functional.project_features(
            ids, weights, self.features, seed=self.seed, kind=self.kind, output=self.output
        )
