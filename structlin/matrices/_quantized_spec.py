"""Asking for a matrix in few bits."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._cost import Cost
from structlin.matrices._quantized import Quantized, check_codes
from structlin.matrices._spec import Spec
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["QuantizedSpec"]


class QuantizedSpec(Spec):
    """Asks for any kind of matrix with its numbers stored in few bits.

    Codes do not train: train the inner kind and quantise it when it is trained, by
    ``Quantized.of(matrix.pack(), ...)``. `init` draws the inner matrix, packs it and quantises it;
    of an inner kind that has exact zeros (`Sparse`, `Doped`) it must run outside ``jit``.

    Attributes:
        inner: How the matrix is made; a compression of its own counts the bytes before they are
            quantised.
        bits: The bits of each number, 1 to 8.
        codebook: ``"uniform"``, ``"symmetric"``, ``"kmeans"`` or ``"quantile"``.
        per: What has levels of its own.
        clip: Where evenly spaced levels end.
        feedback: Whether the later terms of a sum take up what the earlier ones lose. These four
            are as in `Quantized.of`.

    Raises:
        ValueError: One of these is none of what it can be.
    """

    weighs = (Rows, Fisher, Covariance)

    inner: Spec
    bits: int = 8
    codebook: str = "uniform"
    per: int | str = "tensor"
    clip: str | None = None
    feedback: bool = False

    def __post_init__(self) -> None:
        check_codes(self.bits, self.codebook, self.per, self.clip)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "QuantizedSpec":
        return dataclasses.replace(self, inner=self.inner.sized(shape, dtype))

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Quantized:
        return self._coded(self.inner.init(key, shape, dtype).pack())

    def _fit(self, dense: jax.Array, weights: Any) -> Quantized:
        return self._coded(self.inner.fit(dense, weights).pack())

    def _coded(self, matrix: Matrix) -> Quantized:
        given = self.bits, self.codebook, self.per, self.clip, self.feedback
        return Quantized.of(matrix, *given)

    def cost(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> Cost:
        made = jax.eval_shape(lambda key: self.inner.init(key, shape, dtype), jax.random.key(0))
        packed = made.pack()
        return jax.eval_shape(self._coded, packed).cost()
