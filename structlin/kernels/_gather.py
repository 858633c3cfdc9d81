"""Rows of a table, and what a scan over rows starts from, on meshes of every kind."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = [
    "carry_beside",
    "explicit_mesh",
    "gather_rows",
    "in_one_launch",
    "merge_rows",
    "on_one_device",
    "zeros_beside",
]

LAUNCHED = 1 << 26
"""The most numbers that are gathered at once on an accelerator; XLA may make one kernel of that,
the product and the sum."""


def gather_rows(table: jax.Array, rows: jax.Array) -> jax.Array:
    """``table[rows]`` along the first axis.

    Args:
        table: ``(m, ...)``.
        rows: Integers in ``0 .. m - 1``, of any shape.

    Returns:
        ``(*rows.shape, ...)``. Under a mesh with explicit axes it is sharded as ``rows`` are, which
        plain indexing refuses to guess. Of a NumPy array, which may be mapped from a file, no more
        is read than the rows.
    """
    if isinstance(table, np.ndarray) and not isinstance(rows, Tracer) and not explicit_mesh():
        return jnp.asarray(table[np.asarray(rows)])
    table = jnp.asarray(table)
    if explicit_mesh():
        spec = jax.typeof(jnp.asarray(rows)).sharding.spec
        kept = jax.sharding.PartitionSpec(*spec, *[None] * (table.ndim - 1))
        return table.at[rows].get(out_sharding=kept)
    return table[rows]


def zeros_beside(x: jax.Array, row: jax.Array, dtype: Any = None) -> jax.Array:
    """Zeros ``(*x.shape[:-1], *row.shape)``, to which a scan adds what it makes of ``x``.

    Args:
        x: ``(..., k)``, whose leading axes the result keeps.
        row: An array of the result's last axes.
        dtype: The dtype of the result; that of ``row`` if not given.

    Returns:
        Under a mesh they are sharded as ``x`` and ``row`` are, since a scan's carry may not change
        its sharding, and plain zeros have none.
    """
    dtype = row.dtype if dtype is None else dtype
    batch = jnp.zeros_like(x[..., 0], dtype=dtype)
    return batch.reshape(*batch.shape, *[1] * row.ndim) + jnp.zeros_like(row, dtype=dtype)


def carry_beside(carry: Any, steps: jax.Array) -> Any:
    """What a scan over ``steps`` may carry: ``carry`` where the steps are.

    Args:
        carry: Arrays ``(..., k)``.
        steps: ``(time, ..., n)``.

    Returns:
        Under a mesh with explicit axes the leading axes of ``carry`` are sharded as a step's are,
        since a scan's carry may not change its sharding, and plain zeros have none.
    """
    if not explicit_mesh():
        return carry
    batch = jax.typeof(steps).sharding.spec[1:-1]

    def place(x: jax.Array) -> jax.Array:
        last = jax.typeof(x).sharding.spec[-1]
        return jax.sharding.reshard(x, jax.sharding.PartitionSpec(*batch, last))

    return jax.tree.map(place, carry)


def merge_rows(x: jax.Array) -> jax.Array:
    """The rows of ``x``, ``(..., k)``, along one axis, ``(rows, k)``, where that costs nothing.

    The gradient of a product of such rows is one plain product. Where there may be several devices
    ``x`` stays as it is: rows that are split over them along another axis than the first would be
    gathered.
    """
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) if on_one_device() else x


def on_one_device() -> bool:
    """Whether arrays are known to lie on one device.

    What is traced without a mesh in context cannot tell how its arguments are split, so there must
    be no second device either.
    """
    return jax.device_count() == 1 and jax.sharding.get_abstract_mesh().empty


def in_one_launch(x: jax.Array, count: int) -> bool:
    """Whether to gather ``count`` numbers for each row of ``x`` at once rather than in a loop.

    On an accelerator every step of a loop is a launch, which takes longer than what it computes: a
    loop over the slots of a doped recurrent kernel of 650 units took ten times as long as a dense
    product on an H200 (``benchmarks/results/speed_gpu.json``). The device is the default one when
    the product is traced; what is exported for another has the form for this one.
    """
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    device = chosen or jax.default_backend()
    platform = getattr(device, "platform", device)
    rows = math.prod(x.shape[:-1])
    known = isinstance(rows, int) and isinstance(count, int)
    return known and count > 0 and platform != "cpu" and rows * count <= LAUNCHED


def explicit_mesh() -> bool:
    """Whether there is a mesh with explicit axes."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and jax.sharding.AxisType.Explicit in mesh.axis_types
