"""Training that sees the numbers that codes will name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs, train
from structlin.matrices import Masked

RNG = np.random.default_rng(0)
W = jnp.asarray(RNG.normal(size=(16, 12)), jnp.float32)
KINDS = ["uniform", "symmetric", "kmeans", "quantile"]


@pytest.mark.parametrize("codebook", KINDS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_loss_sees_what_is_stored(codebook, dtype):
    w = W.astype(dtype)
    seen = train.fake_quantize({"w": w}, {"w": 3}, codebook)["w"]
    stored = specs.Quantized(specs.Dense(), 3, codebook).fit(w)
    assert_array_equal(seen, stored.to_dense())
    assert len(np.unique(np.asarray(seen, np.float32))) <= 8
    tables = train.codebooks({"w": w}, {"w": 3}, codebook)
    assert_array_equal(train.fake_quantize({"w": w}, {"w": 3}, codebook, tables)["w"], seen)


def test_factors_of_an_inner_structure_and_arrays_too_small_for_codes():
    inner = specs.LowRank(rank=2)
    params = {"w": inner.fit(W), "tiny": jnp.array([1.0, 1.27, 2.5], jnp.bfloat16)}
    seen = train.fake_quantize(params, {".*": 4})
    stored = specs.Quantized(inner, 4).fit(W).decode()
    jax.tree.map(assert_array_equal, seen["w"], stored)
    assert_array_equal(seen["tiny"], params["tiny"])


@pytest.mark.parametrize("codebook", KINDS)
def test_pruned_entries_stay_zero_and_out_of_the_table(codebook):
    alive = np.argsort(np.argsort(RNG.random((16, 12)), axis=0), axis=0) < 4
    shifted = jnp.where(alive, W + 4.0, 0.0)  # all positive: a table with zero would differ
    matrix = Masked(shifted, 0.25)
    seen = train.fake_quantize({"w": matrix}, {"w/values": 3}, codebook)["w"]
    stored = sl.matrices.Quantized.of(matrix.pack(), 3, codebook)
    assert_array_equal(seen.values, stored.to_dense())
    assert_array_equal(seen.values != 0, alive)
    jitted = jax.jit(lambda p: train.fake_quantize(p, {"w/values": 3}, codebook)["w"].values)
    if codebook in ("uniform", "symmetric"):
        assert_allclose(jitted({"w": matrix}), seen.values, rtol=1e-6)
    else:
        with pytest.raises(ValueError, match="give tables="):
            jitted({"w": matrix})


def test_gradients_pass_straight_through_and_stop_beyond_the_range():
    weights = jnp.arange(1.0, 193.0).reshape(16, 12)
    loss = lambda p: (train.fake_quantize(p, {"w": 3})["w"] * weights).sum()  # noqa: E731
    assert_array_equal(jax.grad(loss)({"w": W})["w"], weights)
    tables = train.codebooks({"w": W}, {"w": 3}, "symmetric")
    step = float(tables["w"][0])
    outer = 3 * step
    moved = W.at[0, :4].set(jnp.array([1.1, -1.1, 1.4, -1.4]) * outer)
    stale = lambda p: (  # noqa: E731
        train.fake_quantize(p, {"w": 3}, "symmetric", tables)["w"] * weights
    ).sum()
    grad = jax.grad(stale)({"w": moved})["w"]
    assert_array_equal(grad[0, :4], [1.0, 2.0, 0.0, 0.0])  # half a step is a sixth of the range
    assert_array_equal(grad[1:], weights[1:])
    seen = train.fake_quantize({"w": moved}, {"w": 3}, "symmetric", tables)["w"]
    assert_allclose(seen[0, :4], [outer, -outer, outer, -outer], rtol=1e-6)


@pytest.mark.parametrize("codebook", ["uniform", "kmeans"])
def test_after_training_the_stored_model_has_the_loss_that_training_saw(codebook):
    x = jnp.asarray(RNG.normal(size=(32, 16)), jnp.float32)
    y = x @ W
    bits, params = {"w": 2}, {"w": jnp.zeros((16, 12)) + 0.3 * W}
    optimiser = optax.adam(0.02)
    error = lambda w: jnp.mean((x @ w - y) ** 2)  # noqa: E731

    @jax.jit
    def step(params, state, tables):
        loss = lambda p: error(train.fake_quantize(p, bits, codebook, tables)["w"])  # noqa: E731
        updates, state = optimiser.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    tables = None
    spec, state = specs.Quantized(specs.Dense(), 2, codebook), optimiser.init(params)
    for i in range(60):
        if i % 5 == 0:
            tables = train.codebooks(params, bits, codebook)
        params, state = step(params, state, tables)
    seen = train.fake_quantize(params, bits, codebook)["w"]
    assert_array_equal(seen, spec.fit(params["w"]).to_dense())
    assert error(seen) < 0.7 * error(spec.fit(0.3 * W).to_dense())


def test_a_model_of_nnx_and_its_state():
    model = nnx.Linear(16, 12, rngs=nnx.Rngs(0))
    stored = specs.Quantized(specs.Dense(), 3).fit(model.kernel[...]).to_dense()
    x = jnp.ones((2, 16))
    assert_allclose(train.fake_quantize(model, {"kernel": 3})(x), x @ stored, rtol=1e-5)
    graph, state = nnx.split(model)
    merged = nnx.merge(graph, train.fake_quantize(state, {"kernel": 3}))
    assert_array_equal(merged.kernel[...], stored)
    grad = nnx.grad(lambda m: train.fake_quantize(m, {"kernel": 3})(x).sum())(model)
    assert_allclose(grad["kernel"][...], 2.0)


def test_what_cannot_be_quantised():
    with pytest.raises(ValueError, match="'v' matches no parameter"):
        train.fake_quantize({"w": W}, {"v": 3})
    with pytest.raises(ValueError, match="1 to 8 bits"):
        train.fake_quantize({"w": W}, {"w": 9})
    with pytest.raises(ValueError, match="No codebook"):
        train.codebooks({"w": W}, {"w": 3}, "cubic")
    with pytest.raises(ValueError, match="takes real numbers; w is complex64"):
        train.fake_quantize({"w": W.astype(jnp.complex64)}, {"w": 3})
