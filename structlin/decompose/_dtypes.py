"""The precision in which fits and sums are computed."""

from typing import Any

import jax.numpy as jnp

__all__ = ["wide_dtype"]


def wide_dtype(dtype: Any) -> Any:
    """Single precision for half precision; any other floating or complex dtype as it is."""
    return dtype if jnp.finfo(dtype).bits >= 32 else jnp.dtype(jnp.float32)
