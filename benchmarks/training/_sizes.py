"""How small the two kernels of a recurrent layer are asked to be, and how large models are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import structlin as sl
from structlin import specs

__all__ = ["Asked", "Shape", "kernel_specs", "sizes"]

Shape = tuple[int, int]
Asked = Callable[[float], specs.Spec]
"""A compression to the spec of a kernel."""


def kernel_specs(
    spec: Asked, shapes: tuple[Shape, Shape], asked: float
) -> tuple[specs.Spec, specs.Spec]:
    """Specs of both kernels, which together are as small as asked.

    The input kernel is as small itself or, where its few rows forbid it, as small as can be; the
    recurrent one has the bytes that are left.

    Args:
        spec: A compression in bytes to the spec of a float32 kernel.
        shapes: Of the input kernel and the recurrent kernel.
        asked: Dense bytes of both over stored bytes of both.

    Raises:
        ValueError: They cannot be so small.
    """
    first, (rows, columns) = shapes
    total = sum(4 * m * n for m, n in shapes) / asked
    small = _within_reach(spec, first, asked)
    taken = small.cost(first).bytes
    if taken >= total:
        raise ValueError(
            f"The smallest input kernel of {first} takes {taken:,} bytes, and there are "
            f"{total:,.0f} for both kernels. Ask for less compression than {asked:g}."
        )
    return small, spec(4 * rows * columns / (total - taken)).sized((rows, columns))


def _within_reach(spec: Asked, shape: Shape, asked: float) -> specs.Spec:
    """A spec as small as asked for a kernel of this shape, or the smallest."""
    for compression in np.geomspace(asked, 1.0, 100):
        try:
            return spec(float(compression)).sized(shape)
        except ValueError:
            continue
    raise ValueError(f"{spec(1.0)} is larger than a dense {shape}: take wider layers.")


def sizes(params: Any, dense: Any) -> dict[str, dict[str, float]]:
    """Of the kernels, of the recurrent layer with its biases, and of the whole model, packed.

    Args:
        params: Of a model.
        dense: Those of the dense one that it is compared with, or their shapes.

    Returns:
        For each, its numbers, its bytes, indices counted, and both as factors of the dense ones.
    """
    small, large = _parts(sl.pack(params)), _parts(dense)
    return {part: _size(small[part], large[part]) for part in small}


def _parts(params: Any) -> dict[str, list[Any]]:
    paths = jax.tree_util.tree_leaves_with_path(params["cell"])
    kernels = [x for path, x in paths if "kernel" in jax.tree_util.keystr(path)]
    layer = [x for _, x in paths]
    return {"kernels": kernels, "layer": layer, "model": layer + jax.tree.leaves(params["out"])}


def _size(small: list[Any], large: list[Any]) -> dict[str, float]:
    def count(leaves: list[Any]) -> tuple[int, int]:
        numbers = sum(x.size for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))
        return numbers, sum(x.size * x.dtype.itemsize for x in leaves)

    (params, size), (dense_params, dense_size) = count(small), count(large)
    return {
        "params": params,
        "bytes": size,
        "compression": round(dense_size / size, 3),
        "compression_params": round(dense_params / params, 3),
    }
