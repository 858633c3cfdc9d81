"""Kernels on plain arrays: the order of a Kronecker product and products by slots."""

import functools
import itertools
import math

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from structlin import kernels

SHAPES = [
    ((2, 3), (3, 2)),
    ((4, 1), (1, 5)),
    ((1, 7), (3, 1), (2, 2)),
    ((8, 2), (2, 8), (3, 3)),
    ((6, 5),),
]


def step_by_step(shapes, order):
    """Multiply-adds times two of contracting one folded row axis by axis."""
    sizes, total = [m for m, _ in shapes], 0
    for i in order:
        rest = int(np.prod([s for j, s in enumerate(sizes) if j != i]))
        total += 2 * rest * shapes[i][0] * shapes[i][1]
        sizes[i] = shapes[i][1]
    return total


@pytest.mark.parametrize("shapes", SHAPES)
def test_the_order_is_the_cheapest(shapes):
    costs = {o: step_by_step(shapes, o) for o in itertools.permutations(range(len(shapes)))}
    assert kernels.kronecker_flops(shapes) == min(costs.values())
    assert costs[kernels.kronecker_order(shapes)] == min(costs.values())


def test_the_order_depends_on_the_shapes():
    assert kernels.kronecker_order(((4, 1), (1, 5)))[0] == 0
    assert kernels.kronecker_order(((1, 5), (4, 1)))[0] == 1
    assert kernels.kronecker_order(((3, 3), (3, 3)))[0] == 1  # a tie: the last first


@pytest.mark.parametrize("shapes", SHAPES)
def test_kronecker_rmatmul_equals_kron(shapes, rng):
    factors = [rng.normal(size=s).astype("f") for s in shapes]
    dense = np.ones((1, 1))
    for f in factors:
        dense = np.kron(dense, f)
    xs = [rng.normal(size=(*b, len(dense))).astype("f") for b in [(), (1,), (3,), (2, 0), (2, 3)]]
    results = jax.jit(lambda xs: [kernels.kronecker_rmatmul(x, factors) for x in xs])(xs)
    for x, y in zip(xs, results, strict=True):
        assert_allclose(y, x @ dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shapes", [((3, 5), (4, 2)), ((2, 3), (5, 4)), ((32, 33), (34, 31))])
@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_derivatives_of_kronecker_products(shapes, batch, rng, x64):
    """Small and large ones of one row go different ways, and integer rows go with all factors."""
    factors = [rng.normal(size=s) for s in shapes]
    x = rng.normal(size=(*batch, shapes[0][0] * shapes[1][0]))

    def loss(product, x, factors):
        return jnp.sum(jnp.sin(product(x, factors)))

    def plain(x, factors):
        return x @ jnp.kron(*factors)

    for k in (0, 1):
        found, want = (
            jax.jit(jax.grad(functools.partial(loss, f), argnums=k))(x, factors)
            for f in (kernels.kronecker_rmatmul, plain)
        )
        jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-9, atol=1e-9), found, want)
    rows = np.arange(x.size).reshape(x.shape) % 3
    found, want = (
        jax.grad(functools.partial(loss, f), argnums=1)(rows, factors)
        for f in (kernels.kronecker_rmatmul, plain)
    )
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-9, atol=1e-9), found, want)
    several = jax.vmap(lambda x: kernels.kronecker_rmatmul(x, factors))(np.stack([x, 2 * x]))
    assert_allclose(several[1], 2 * plain(x, factors), rtol=1e-9, atol=1e-9)


def slots(rng, k=3, m=5, n=4):
    """Values, unsigned row numbers with a repeat, and the dense matrix of the two."""
    values = rng.normal(size=(k, n)).astype("f")
    indices = rng.integers(0, m, (k, n)).astype(np.uint8)
    indices[1] = indices[0]
    dense = np.zeros((m, n), "f")
    for s, j in itertools.product(range(k), range(n)):
        dense[indices[s, j], j] += values[s, j]
    return values, indices, dense


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_slot_products_equal_dense(kind, rng):
    values, indices, dense = slots(rng)
    indices = indices.astype(kind)
    for batch in [(), (2,), (0,)]:
        x, y = rng.normal(size=(*batch, 5)).astype("f"), rng.normal(size=(*batch, 4)).astype("f")
        right = kernels.slot_rmatmul(x, values, indices)
        left = kernels.slot_matmul(y, values, indices, 5)
        assert_allclose(right, x @ dense, rtol=1e-5, atol=1e-6)
        assert_allclose(left, y @ dense.T, rtol=1e-5, atol=1e-6)


def plain_rmatmul(x, values, indices):
    """The definition of a product by slots, for JAX to derive."""
    return jnp.einsum("...kn,kn->...n", x[..., indices.astype(int)], values)


@pytest.mark.parametrize("rows", [9, 24, 25, 64, 65, 130])
def test_many_rows_of_slot_products_equal_dense(rows, rng):
    values, indices, dense = slots(rng, k=9, m=11, n=10)
    x, y = rng.normal(size=(1, rows, 11)).astype("f"), rng.normal(size=(rows, 10)).astype("f")
    right, left = kernels.slot_rmatmul, functools.partial(kernels.slot_matmul, rows=11)
    assert_allclose(right(x, values, indices), x @ dense, rtol=1e-4, atol=1e-5)
    assert_allclose(left(y, values, indices), y @ dense.T, rtol=1e-4, atol=1e-5)
    several = jax.vmap(left, (None, 0, None))(y, np.stack([values, 2 * values]), indices)
    assert_allclose(several[1], 2 * y @ dense.T, rtol=1e-4, atol=1e-5)
    tangent = jax.jvp(lambda x: right(x, values, indices), (x,), (x,))[1]
    assert_allclose(tangent, x @ dense, rtol=1e-4, atol=1e-5)


def test_any_number_of_rows_may_be_exported(rng):
    values, indices, dense = slots(rng, k=9, m=11, n=10)
    rows = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 11"), np.float32)
    product = jax.jit(lambda x: kernels.slot_rmatmul(x, values, indices))
    x = rng.normal(size=(20, 11)).astype("f")
    assert_allclose(jax.export.export(product)(rows).call(x), x @ dense, rtol=1e-4, atol=1e-5)


def test_many_rows_times_no_columns_are_empty():
    values, indices = np.ones((9, 0), "f"), np.ones((9, 0), np.uint8)
    assert kernels.slot_rmatmul(np.ones((9, 11), "f"), values, indices).shape == (9, 0)
    assert not kernels.slot_matmul(np.ones((9, 0), "f"), values, indices, 11).any()


BATCHES = [((), 3), ((2, 3), 3), ((0,), 3), ((3, 5), 9), ((64,), 9), ((2, 64), 9), ((70,), 9)]


@pytest.mark.parametrize(("batch", "k"), BATCHES)
def test_the_written_gradient_equals_the_derived_one(batch, k, rng, x64):
    values, indices, _ = slots(rng, k)
    x = rng.normal(size=(*batch, 5))

    def loss(rmatmul, x, values):
        return jnp.sum(jnp.sin(rmatmul(x, values, indices)))

    arguments = x, values.astype(float)
    got = jax.jit(jax.grad(lambda *a: loss(kernels.slot_rmatmul, *a), (0, 1)))(*arguments)
    want = jax.jit(jax.grad(lambda *a: loss(plain_rmatmul, *a), (0, 1)))(*arguments)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        assert_allclose(g, w, rtol=1e-10, atol=1e-12)


def test_gradients_of_mixed_precision_keep_each_dtype(rng):
    values, indices, _ = slots(rng)
    x = rng.normal(size=(2, 5)).astype(jnp.bfloat16)
    out = kernels.slot_rmatmul(x, values, indices)
    assert out.dtype == np.float32
    dx, dv = jax.grad(lambda *a: jnp.sum(kernels.slot_rmatmul(*a, indices)), (0, 1))(x, values)
    assert (dx.dtype, dv.dtype) == (jnp.bfloat16, np.float32)


@pytest.mark.parametrize(("rows", "k"), [(2, 3), (64, 9)])
def test_slot_gradients_of_integers(rows, k, rng):
    values, indices, _ = slots(rng, k)
    x = np.arange(5 * rows).reshape(rows, 5)
    got = jax.grad(lambda v: jnp.sum(kernels.slot_rmatmul(x, v, indices)))(values)
    assert_allclose(got, x.sum(0)[indices], rtol=1e-6)
    ones = np.ones(values.shape, np.int32)
    left = jax.grad(lambda x: jnp.sum(kernels.slot_rmatmul(x, ones, indices)))(x * 1.0)
    counts = np.bincount(indices.ravel(), minlength=5)
    assert_allclose(left, np.broadcast_to(counts, x.shape), rtol=1e-6)


def test_slot_products_of_conflicting_shapes_raise(rng):
    values, indices, _ = slots(rng)
    with pytest.raises((TypeError, ValueError)):
        kernels.slot_rmatmul(np.ones(5, "f"), values, indices[:, :2])


@pytest.fixture
def accelerated(monkeypatch):
    """Traces as on an accelerator, where loops are launches, and computes here."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


@pytest.mark.parametrize("batch", [(), (3, 5), (0,), (70,)])
def test_slots_are_gathered_at_once_on_an_accelerator(batch, rng, x64, accelerated):
    values, indices, dense = slots(rng, k=9, m=11, n=10)
    x, y = rng.normal(size=(*batch, 11)), rng.normal(size=(*batch, 10))
    right, left = kernels.slot_rmatmul, kernels.slot_matmul
    assert "scan" not in str(jax.make_jaxpr(lambda v: right(x, v, indices))(values))
    assert_allclose(right(x, values, indices), x @ dense, rtol=1e-6, atol=1e-6)
    assert_allclose(left(y, values, indices, 11), y @ dense.T, rtol=1e-6, atol=1e-6)
    got = jax.grad(lambda v: jnp.sum(jnp.sin(right(x, v, indices))))(values.astype(float))
    want = jax.grad(lambda v: jnp.sum(jnp.sin(plain_rmatmul(x, v, indices))))(values.astype(float))
    assert_allclose(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (3,), (2, 40)])
def test_blocks_are_gathered_at_once_on_an_accelerator(batch, rng, accelerated, monkeypatch):
    monkeypatch.setattr("structlin.kernels._block_sparse._small", lambda *_: False)
    values = rng.normal(size=(3, 4, 2, 5)).astype("f")  # 3 blocks of 2 x 5 in each of 4 columns
    indices = rng.integers(0, 6, (3, 4)).astype(np.uint8)
    dense = np.zeros((12, 20), "f")
    for s, b in itertools.product(range(3), range(4)):
        i, j = 2 * indices[s, b], 5 * b
        dense[i : i + 2, j : j + 5] += values[s, b]
    x, y = rng.normal(size=(*batch, 12)).astype("f"), rng.normal(size=(*batch, 20)).astype("f")
    assert "scan" not in str(jax.make_jaxpr(lambda v: kernels.block_rmatmul(x, v, indices))(values))
    assert_allclose(kernels.block_rmatmul(x, values, indices), x @ dense, rtol=1e-4, atol=1e-5)
    left = kernels.block_matmul(y, values, indices, 12)
    assert_allclose(left, y @ dense.T, rtol=1e-4, atol=1e-5)


def test_too_many_rows_are_scanned_on_an_accelerator_too(rng, accelerated, monkeypatch):
    monkeypatch.setattr("structlin.kernels._gather.LAUNCHED", 100)
    values, indices, dense = slots(rng)
    x = rng.normal(size=(9, 5)).astype("f")
    assert "scan" in str(jax.make_jaxpr(lambda v: kernels.slot_rmatmul(x, v, indices))(values))
    assert_allclose(kernels.slot_rmatmul(x, values, indices), x @ dense, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [2, 24, 72])
def test_slot_products_stack_nothing(batch, rng):
    k, m, n = 9, 5, 4
    values, indices, _ = slots(rng, k, m, n)

    def sizes(jaxpr):
        for equation in jaxpr.eqns:
            yield from (v.aval.size for v in equation.outvars)
            for inner in equation.params.values():
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from sizes(inner)

    def loss(x, values):
        return jnp.sum(kernels.slot_rmatmul(x, values, indices) ** 2)

    traced = jax.make_jaxpr(jax.grad(loss, (0, 1)))(np.ones((batch, m), "f"), values)
    assert max(sizes(traced.jaxpr)) < k * n * batch


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 0), (0, 3, 4), (4,)])
def test_rows_are_merged_whatever_is_empty(shape):
    alone = jax.device_count() == 1
    want = (math.prod(shape[:-1]), shape[-1]) if alone else shape
    assert kernels.merge_rows(jnp.zeros(shape)).shape == want
