"""Rows of a table, and where a scan over rows starts, on meshes of every kind."""

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["gather_rows", "zeros_beside"]


def gather_rows(table: jax.Array, rows: jax.Array) -> jax.Array:
    """``table[rows]`` along the first axis.

    Args:
        table: ``(m, ...)``.
        rows: Integers in ``0 .. m - 1``, of any shape.

    Returns:
        ``(*rows.shape, ...)``. Under a mesh with explicit axes it is sharded as ``rows`` are, which
        plain indexing refuses to guess.
    """
    table = jnp.asarray(table)
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty and jax.sharding.AxisType.Explicit in mesh.axis_types:
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
