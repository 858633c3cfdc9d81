"""A random projection as a layer of NNX."""

import jax
from flax import nnx

from structlin import functional

__all__ = ["Projection"]


class Projection(nnx.Module):
    """A layer without variables: products with random columns that are computed, never stored.

    The results are those of `structlin.Projection` with the same fields.

    Attributes:
        functions: T.
        bits: d; there are ``T d`` columns.
        kind: The random entries, as in `structlin.matrices.Projection`.
        output: ``"sign"``, ``"ternary"`` or ``"real"``, as in `structlin.functional.project`.
        seed: Which of the random matrices.

    Reference:
        Ravi (2017), "ProjectionNet: learning efficient on-device deep networks using neural
        projections". Gradients through the projection are not theirs.
    """

    def __init__(
        self,
        functions: int,
        bits: int,
        *,
        kind: str = "sign",
        output: str = "sign",
        seed: int = 0,
    ):
        self.functions = functions
        self.bits = bits
        self.kind = kind
        self.output = output
        self.seed = seed

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
        """The mean of the rows of hashed features, as in `structlin.Projection`."""
        return functional.project_features(
            ids, weights, self.features, seed=self.seed, kind=self.kind, output=self.output
        )
