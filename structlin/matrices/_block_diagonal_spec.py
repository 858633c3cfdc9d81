"""The spec of block diagonal matrices with blocks of one shape."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._block_diagonal import BlockDiagonal
from structlin.matrices._spec import Spec, check_size, too_small
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["BlockDiagonalSpec"]


class BlockDiagonalSpec(Spec):
    """Asks for a block diagonal matrix with blocks of one shape.

    The fit keeps the entries of the blocks; with a covariance it is the regression of each block's
    outputs on its inputs. Both are the optimum.

    Attributes:
        blocks: How many; it divides both sides.
        compression: Dense bytes over stored bytes to reach: the fewest blocks within the budget.

    Raises:
        ValueError: Not exactly one of the two is given, or one that makes no sense.
    """

    weighs = (Rows, Fisher, Covariance)
    size_field = "blocks"

    blocks: int | None = None
    compression: float | None = None

    def __post_init__(self) -> None:
        check_size(self, required=True)
        if self.blocks is not None and self.blocks < 1:
            raise ValueError(f"BlockDiagonal needs at least one block; given blocks={self.blocks}.")

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "BlockDiagonalSpec":
        m, n = shape
        most = math.gcd(m, n)
        counts = [k for k in range(1, most + 1) if most % k == 0]
        if self.blocks is not None:
            if self.blocks not in counts:
                raise ValueError(
                    f"{self} does not divide both sides of a {m} x {n} matrix: blocks= can be "
                    f"{', '.join(map(str, counts))}."
                )
            return self
        enough = [k for k in counts if k >= (self.compression or 1)]
        if not enough:
            least = m * n // most * jnp.dtype(dtype).itemsize
            raise too_small(self, shape, dtype, least, f"blocks={most}")
        return BlockDiagonalSpec(blocks=enough[0])

    def init(
        self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32
    ) -> BlockDiagonal:
        (m, n), count = shape, self.sized(shape, dtype).blocks or 1
        draw = jax.nn.initializers.lecun_normal(batch_axis=(0,))
        return BlockDiagonal(draw(key, (count, m // count, n // count), dtype))

    def _fit(self, dense: jax.Array, weights: Any) -> BlockDiagonal:
        count = self.sized_for(dense).blocks or 1
        kept = _own_blocks(dense, count)
        if not isinstance(weights, Covariance):
            return BlockDiagonal(kept)
        # What is left out is regressed on the inputs of each block: tr (W - V)^H C (W - V) is
        # least where C_kk (V_k - W_kk) = C_k (what is left out).
        covariance = weights.values.astype(dense.dtype)
        rest = dense - BlockDiagonal(kept).to_dense()
        inverse = jnp.linalg.pinv(_own_blocks(covariance, count), hermitian=True)
        return BlockDiagonal(kept + inverse @ _own_blocks(covariance @ rest, count))


def _own_blocks(dense: jax.Array, count: int) -> jax.Array:
    """The diagonal blocks of ``dense``, ``(count, m / count, n / count)``."""
    m, n = dense.shape
    cut = dense.reshape(count, m // count, count, n // count)
    return jnp.moveaxis(jnp.diagonal(cut, axis1=0, axis2=2), -1, 0)
