"""Checks of matrices on meshes of eight devices; prints a line of JSON: check -> what went wrong.

Run by ``test_matrices_sharding.py`` in a process that has eight devices.
"""

import functools
import warnings

import conftest  # noqa: F401 (the settings of the tests)
import jax
import jax.numpy as jnp
import numpy as np
from cases import CASES, make
from devices import mesh_of, near, on, report
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from structlin import matrices as ms

BATCH = 16


def inputs(name, index):
    matrix = make(name, index, np.float32)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, matrix.shape[0])).astype("f")
    return matrix, x, rng.integers(0, matrix.shape[0], BATCH).astype(np.int32)


def results(trained, fixed, x, ids):
    """Products and rows, and the gradient of both."""

    def loss(trained, x):
        w = ms.combine(trained, fixed)
        y, rows = x @ w, w.take(ids)
        return jnp.sum(y * y) + jnp.sum(rows * rows), (y, rows)

    (_, made), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(trained, x)
    return made, grads


def data_parallel(axis_type, name):
    """Rows and row numbers split over the data axis, the matrix on every device."""
    mesh = mesh_of(axis_type)
    matrix, x, ids = inputs(name, -1)
    parts = ms.partition(matrix)
    want = jax.jit(results)(*parts, x, ids)
    with jax.set_mesh(mesh):
        everywhere = jax.tree.map(lambda leaf: on(mesh, leaf), parts)
        xs, rows = on(mesh, x, "data"), on(mesh, ids, "data")
        got = jax.jit(results)(*everywhere, xs, rows)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        near(g, w)
    for made in got[0]:
        assert made.sharding.spec[:1] == ("data",), f"result is sharded as {made.sharding.spec}"


def eager_take(axis_type):
    """Outside ``jit`` too, rows are sharded as their numbers are."""
    mesh = mesh_of(axis_type)
    matrix, _, ids = inputs("Dense", -1)
    with jax.set_mesh(mesh):
        got = jax.tree.map(lambda leaf: on(mesh, leaf), matrix).take(on(mesh, ids, "data"))
    near(got, np.asarray(matrix.to_dense())[ids])
    assert got.sharding.spec[:1] == ("data",), f"result is sharded as {got.sharding.spec}"


def shard_mapped(name):
    mesh = mesh_of(AxisType.Auto)
    matrix, x, ids = inputs(name, 1)

    def one(w, x, ids):
        return x @ w, w.take(ids)

    split = jax.shard_map(one, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P("data"))
    for g, w in zip(jax.jit(split)(matrix, x, ids), one(matrix, x, ids), strict=True):
        near(g, w)


def split_columns(axis_type, name):
    """The factor that makes the columns is split over the model axis, and so is the product."""
    mesh = mesh_of(axis_type)
    matrix, x, ids = inputs(name, -1)
    n = matrix.shape[1]

    def place(leaf):
        wide = leaf.ndim and leaf.shape[-1] == n
        return on(mesh, leaf, *[None] * (leaf.ndim - 1), "model") if wide else on(mesh, leaf)

    def made(w, x, ids):
        return x @ w, w.take(ids)

    with jax.set_mesh(mesh):
        split = jax.tree.map(place, matrix)
        got = jax.jit(made)(split, on(mesh, x, "data"), on(mesh, ids, "data"))
    for g, w in zip(got, made(matrix, x, ids), strict=True):
        near(g, w)
    assert got[0].sharding.spec == P("data", "model"), f"sharded as {got[0].sharding.spec}"


def main():
    checks = {}
    for name in CASES:
        checks[f"auto {name}"] = functools.partial(data_parallel, AxisType.Auto, name)
        checks[f"explicit {name}"] = functools.partial(data_parallel, AxisType.Explicit, name)
        checks[f"shard_map {name}"] = functools.partial(shard_mapped, name)
    for kind in AxisType.Auto, AxisType.Explicit:
        checks[f"{kind.name.lower()} eager rows"] = functools.partial(eager_take, kind)
        for name in ("Dense", "LowRank"):
            check = functools.partial(split_columns, kind, name)
            checks[f"columns {name} {kind.name.lower()}"] = check
    report(checks)


if __name__ == "__main__":
    with warnings.catch_warnings():
        main()
