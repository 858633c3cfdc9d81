"""What a matrix costs to store and to apply."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

__all__ = ["Cost"]


@dataclasses.dataclass(frozen=True)
class Cost:
    """Four counts that are never confused, with the dense form to compare with.

    Attributes:
        params: Stored floating point and complex numbers; a code that stands for one counts as one.
        bytes: Stored bytes: numbers, indices, scales and padding.
        flops: Floating point operations of one row's product, a multiply-add counted as two.
        dense_params: The numbers of the dense matrix, ``m * n``.
        dense_bytes: The bytes of the dense matrix in the same dtype.
    """

    params: int
    bytes: int
    flops: int
    dense_params: int
    dense_bytes: int

    @property
    def compression(self) -> float:
        """Dense bytes over stored bytes: the honest factor."""
        return self.dense_bytes / max(self.bytes, 1)

    @property
    def compression_params(self) -> float:
        """Dense numbers over stored numbers, indices uncounted: the factor that papers quote."""
        return self.dense_params / max(self.params, 1)

    def __add__(self, other: "Cost") -> "Cost":
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Cost(*(a + b for a, b in zip(mine, theirs, strict=True)))


def leaf_params(leaf: Any) -> int:
    """How many floating point or complex numbers ``leaf`` holds."""
    return math.prod(leaf.shape) if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0


def leaf_bytes(leaf: Any) -> int:
    """How many bytes ``leaf`` takes."""
    return math.prod(leaf.shape) * leaf.dtype.itemsize
