"""Projections of arrays and of hashed features: signs, gradients, angles, bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import functional as fn
from structlin import kernels, matrices

KINDS = ["sign", "ternary", "uniform", "normal"]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_signs_of_products(kind, rng):
    x = rng.normal(size=(3, 20)).astype("f")
    dense = np.asarray(matrices.Projection.of((20, 16), 5, kind).to_dense())
    products = x @ dense
    sizes = {"real": 16, "sign": 16, "ternary": 8}

    @jax.jit
    def every(x):
        return [fn.project(x, n, seed=5, kind=kind, output=o) for o, n in sizes.items()]

    real, signs, ternary = every(x)
    bits = np.where(products < 0, -1, 1)
    assert_allclose(real, products, atol=1e-5)
    assert_array_equal(signs, bits)
    assert_array_equal(ternary, (bits[:, ::2] - bits[:, 1::2]) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_means_of_rows(kind, rng):
    ids = jnp.asarray(rng.integers(0, 2**32, (2, 9), np.uint32))
    weights = jnp.asarray([[1] * 9, [3, 0, 2] + [0] * 6])
    words = kernels.hash_words(ids[..., None], jnp.arange(8), 7)
    rows = np.asarray(kernels.HASH_ENTRIES[kind](words), np.float64)
    want = (rows * weights[..., None]).sum(1) / weights.sum(1)[:, None]

    @jax.jit
    def every(weights):
        how = {"features": 8, "seed": 7, "kind": kind}
        means = [
            fn.project_features(ids, w, output="real", **how)
            for w in (weights, weights.astype(jnp.float32) / 4)
        ]
        return *means, fn.project_features(ids, None, **how)

    counted, weighted, signs = every(weights)
    assert_allclose(counted, want, atol=1e-6)
    assert_allclose(weighted, want, atol=1e-6)
    assert_array_equal(signs[0], np.where(want[0] < 0, -1, 1))


def test_many_features_go_in_parts(rng):
    ids = jnp.asarray(rng.integers(0, 2**32, 1000, np.uint32))
    rows = np.asarray(kernels.hash_sign(kernels.hash_words(ids[:, None], jnp.arange(300), 0)))
    found = jax.jit(lambda i: fn.project_features(i, None, 300, output="real"))(ids)
    assert_allclose(found, rows.mean(0), atol=1e-7)
    nothing = fn.project_features(ids[:0], None, 3, output="real")
    assert_array_equal(nothing, np.zeros(3))


def test_the_part_of_bits_that_differ_is_the_angle():
    angles = np.linspace(0, np.pi, 7)
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("f")
    bits = np.asarray(fn.project(x, 4000, kind="normal"))
    differ = (bits != bits[0]).mean(axis=1)
    assert np.abs(differ - angles / np.pi).max() < 5 * 0.5 / 4000**0.5


def test_gradients_pass_signs(rng):
    x = jnp.asarray(rng.normal(size=20), jnp.float32)

    @jax.jit
    def grads(x):
        outputs = "sign", "ternary"
        return [jax.grad(lambda x, o=o: fn.project(x, 6, output=o).sum())(x) for o in outputs]

    of_signs, of_ternary = grads(x)
    dense = np.asarray(matrices.Projection.of((20, 12)).to_dense())
    assert_allclose(of_signs, dense[:, :6].sum(1), atol=1e-5)
    assert_allclose(of_ternary, (dense[:, ::2] - dense[:, 1::2]).sum(1) / 2, atol=1e-5)


@pytest.mark.parametrize("count", [1, 8, 13])
def test_signs_are_packed_in_bits(count, rng):
    signs = rng.choice([-1.0, 1.0], (2, count)).astype("f")
    ternary = rng.choice([-1.0, 0.0, 1.0], (2, count)).astype("f")
    for x, output, bits in ((signs, "sign", 1), (ternary, "ternary", 2)):
        packed = fn.pack_signs(x, output)
        assert packed.dtype == jnp.uint8
        assert packed.shape == (2, -(-count * bits // 8))
        assert_array_equal(fn.unpack_signs(packed, count, output), x)


def test_layers_project_and_hold_nothing(rng):
    x = rng.normal(size=(2, 12)).astype("f")
    ids = jnp.asarray(rng.integers(0, 2**32, (2, 5), np.uint32))
    settings = {"kind": "normal", "output": "ternary", "seed": 3}
    want = fn.project(x, 6, **settings)
    linen, of_nnx = (f(2, 3, **settings) for f in (sl.Projection, sl.nnx.Projection))
    assert linen.features == of_nnx.features == 6
    assert linen.init(jax.random.key(0), x) == {}
    assert not jax.tree.leaves(nnx.state(of_nnx))
    assert_array_equal(linen.apply({}, x), want)
    assert_array_equal(of_nnx(x), want)
    want = fn.project_features(ids, None, 6, **settings)
    assert_array_equal(linen.apply({}, ids, method="of_features"), want)
    assert_array_equal(of_nnx.of_features(ids), want)


def test_dtypes(rng):
    assert fn.project(np.ones((2, 4), np.uint8), 3).dtype == jnp.float32
    assert fn.project(jnp.ones((2, 4), jnp.bfloat16), 3).dtype == jnp.bfloat16
    same = fn.project(np.full(4, 200, np.uint8), 9), fn.project(np.full(4, 200.0), 9)
    assert_array_equal(*same)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fn.project(np.ones(3), 2, output="bits"), "real, sign, ternary; given output"),
        (lambda: fn.project(np.ones(3), 2, kind="gauss"), "of kind .*; given 'gauss'"),
        (lambda: fn.pack_signs(jnp.ones(3), "real"), "can be packed; given output='real'"),
        (lambda: fn.project_features(jnp.ones(3, int), None, 2, kind="gauss"), "given 'gauss'"),
    ],
)
def test_what_is_no_projection(call, message):
    with pytest.raises(ValueError, match=message):
        call()
