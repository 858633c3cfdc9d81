"""Rows of a table by their numbers, on meshes of every kind."""

import jax
import jax.numpy as jnp

__all__ = ["gather_rows"]


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
