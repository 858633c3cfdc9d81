"""Pruning in optax, co-matrix dropout, and packing what they leave."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs, train
from structlin.matrices import Masked, Sum

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (4, 16))


def doped(**kwargs):
    layer = sl.DopedKron(12, compression=2, anneal=True, **kwargs)
    return layer, layer.init(KEY, X)["params"]


def run(layer, params, optimiser, steps, after=lambda i, p, s: None):
    """Trains and returns the parameters, the state and how often the step was traced."""
    traces = []

    @jax.jit
    def step(params, state):
        traces.append(1)
        loss = lambda p: ((layer.apply({"params": p}, X) - 1) ** 2).sum()  # noqa: E731
        updates, state = optimiser.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state = optimiser.init(params)
    for i in range(steps):
        params, state = step(params, state)
        after(i, params, state)
    return params, state, len(traces)


def nonzeros(params):
    return np.count_nonzero(params["kernel"].terms[1].values, axis=0)


def test_cubic_schedule_ends():
    schedule = train.cubic_sparsity(0.9, begin=10, end=20, initial=0.1)
    assert_allclose([schedule(s) for s in (0, 10, 20, 99)], [0.1, 0.1, 0.9, 0.9], atol=1e-6)
    assert_allclose(schedule(15), 0.9 - 0.8 * 0.5**3, atol=1e-6)
    assert_allclose(train.cubic_sparsity(0.5, 0, 0)(0), 0.5)


def test_exact_zeros_after_apply_updates_under_momentum_and_decay():
    layer, params = doped()
    optimiser = train.sparsify(
        optax.adamw(0.1, weight_decay=0.1), train.targets(params), end=8, every=2
    )
    seen = []
    params, state, traces = run(
        layer, params, optimiser, 12, lambda i, p, s: seen.append(nonzeros(p))
    )
    slots = round(params["kernel"].terms[1].density * 16)
    assert traces == 1
    assert_array_equal(seen[0], 16)
    assert all((b <= a).all() for a, b in itertools.pairwise(seen))
    for counts in seen[8:]:
        assert_array_equal(counts, slots)
    for mask in state.masks.values():
        assert_array_equal(mask.sum(0), slots)
    packed = sl.pack(params)
    assert packed["kernel"].cost().bytes == specs.DopedKron(compression=2).cost((16, 12)).bytes
    assert_allclose(
        layer.apply({"params": packed}, X), layer.apply({"params": params}, X), atol=1e-5
    )


def test_pruned_entries_get_no_gradient_and_stay_out_of_the_clipping_norm():
    params = {"w": jnp.array([[1.0, 5.0], [4.0, 2.0]])}
    optimiser = train.sparsify(optax.clip_by_global_norm(1.0), {"w": 0.5}, begin=0, end=0)
    grads = {"w": jnp.array([[1e6, 3.0], [4.0, 1e6]])}
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    assert_allclose(updates["w"], [[-1.0, 0.6], [0.8, -2.0]], rtol=1e-6)
    new = optax.apply_updates(params, updates)["w"]
    assert new[0, 0] == 0.0
    assert new[1, 1] == 0.0


def test_all_entries_compete_without_an_axis():
    values = jnp.array([[9.0, 1.0, 0.5], [8.0, 2.0, 0.1]])
    optimiser = train.sparsify(optax.sgd(0.0), {"w": 1 / 3}, end=0, axis=None)
    updates, _ = optimiser.update(
        jax.tree.map(jnp.zeros_like, {"w": values}), optimiser.init({"w": values}), {"w": values}
    )
    assert_array_equal(values + updates["w"], [[9.0, 0, 0], [8.0, 0, 0]])


def test_patterns():
    _, params = doped()
    tree = {"rnn": params, "out": {"kernel": jnp.ones((3, 3))}}
    assert train.targets(tree) == {"rnn/kernel/sparse/values": params["kernel"].terms[1].density}
    state = train.sparsify(optax.sgd(0.1), {".*/sparse/values": 0.1}).init(tree)
    assert list(state.masks) == ["rnn/kernel/sparse/values"]
    with pytest.raises(ValueError, match=r"matches no parameter.*rnn/kernel/sparse/values"):
        train.sparsify(optax.sgd(0.1), {"sparse": 0.1}).init(tree)
    with pytest.raises(ValueError, match="density is in"):
        train.sparsify(optax.sgd(0.1), {".*": 1.5}).init(tree)
    with pytest.raises(ValueError, match="begin <= end"):
        train.sparsify(optax.sgd(0.1), {".*": 0.5}, begin=5, end=1)
    tx = train.sparsify(optax.sgd(0.1), {".*/sparse/values": 0.5})
    state = tx.init(tree)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(tree, state)
    with pytest.raises(ValueError, match="No sparse matrix"):
        train.targets({"w": jnp.ones(3)})


def test_inside_multisteps_and_serialised():
    layer, params = doped()
    inner = train.sparsify(optax.adam(0.05), train.targets(params), end=3, every=1)
    params, state, traces = run(layer, params, optax.MultiSteps(inner, 2), 12)
    slots = round(params["kernel"].terms[1].density * 16)
    assert traces == 1
    assert_array_equal(nonzeros(params), slots)
    restored = serialization.from_bytes(state, serialization.to_bytes(state))
    jax.tree.map(assert_array_equal, restored, state)


def test_in_an_nnx_optimizer():
    class Model(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(16, 12, rngs=nnx.Rngs(0))

    model = Model()
    transformation = train.sparsify(optax.adam(0.05), {"linear/kernel": 0.25}, end=2, every=1)
    optimiser = nnx.Optimizer(model, transformation, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimiser):
        optimiser.update(model, nnx.grad(lambda m: (m.linear(X) ** 2).sum())(model))

    for _ in range(4):
        step(model, optimiser)
    assert_array_equal(np.count_nonzero(model.linear.kernel[...], axis=0), 4)


def test_support_of_a_pruned_start_can_stay_fixed():
    layer = sl.Sparse(12, density=0.25)
    params = layer.init(KEY, X)["params"]
    before = params["kernel"].values != 0
    optimiser = train.sparsify(optax.adam(0.1), train.targets(params), end=0)
    params, _, _ = run(layer, params, optimiser, 5)
    assert_array_equal(params["kernel"].values != 0, before)


def test_dropout_masks_whole_outputs_of_each_part():
    _, params = doped()
    host, co = params["kernel"].terms
    dropped = train.co_matrix_dropout(params, KEY, 0.5)
    assert isinstance(dropped["kernel"], Sum)
    assert_array_equal(dropped["bias"], params["bias"])
    for part, whole in zip(dropped["kernel"].terms, (host, co), strict=True):
        ratio = part.to_dense() / whole.to_dense()
        assert_allclose(ratio, jnp.broadcast_to(ratio[0], ratio.shape), rtol=1e-5)
        assert set(np.unique(np.round(ratio[0], 5))) == {0.0, 2.0}
    other = train.co_matrix_dropout(params, jax.random.key(1), 0.5)
    assert not jnp.array_equal(other["kernel"].to_dense(), dropped["kernel"].to_dense())


def test_dropout_keeps_how_a_part_is_to_be_pruned():
    spec = sl.specs.DopedKron(density=0.5, block=(2, 1), anneal=True)
    params = {"kernel": spec.init(jax.random.key(0), (8, 12))}
    dropped = sl.train.co_matrix_dropout(params, jax.random.key(1), 0.5)
    assert sl.train.targets(dropped) == sl.train.targets(params)
    assert jax.tree.structure(dropped["kernel"].terms[1]) == jax.tree.structure(
        params["kernel"].terms[1]
    )


def test_dropout_keeps_the_mean_and_is_nothing_at_rate_zero():
    _, params = doped()
    keys = jax.random.split(KEY, 4000)
    drop = jax.jit(lambda p, k, r: train.co_matrix_dropout(p, k, r)["kernel"].to_dense())
    mean = jax.vmap(drop, (None, 0, None))(params, keys, 0.3).mean(0)
    whole = params["kernel"].to_dense()
    assert_allclose(mean, whole, atol=0.05 * float(jnp.abs(whole).max()))
    assert_allclose(drop(params, KEY, 0.0), whole, atol=1e-6)


def test_dropout_passes_gradients_only_to_what_is_kept():
    layer, params = doped()

    def loss(p):
        return layer.apply({"params": train.co_matrix_dropout(p, KEY, 0.5)}, X).sum()

    kept = np.any(train.co_matrix_dropout(params, KEY, 0.5)["kernel"].terms[1].values != 0, axis=0)
    grad = jax.grad(loss)(params)["kernel"].terms[1]
    assert isinstance(grad, Masked)
    assert_array_equal(np.any(np.asarray(grad.values) != 0, axis=0), kept)
    assert 0 < kept.sum() < 12


def test_dropout_refuses_what_makes_no_sense():
    _, params = doped()
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"rate in \[0, 1\)"):
            train.co_matrix_dropout(params, KEY, rate)
    with pytest.raises(ValueError, match="No doped matrix"):
        train.co_matrix_dropout({"w": jnp.ones(3)}, KEY, 0.1)


def test_a_packed_model_is_tuned_further():
    model = nn.Sequential([sl.DopedKron(12, compression=2), nn.relu, sl.Sparse(4, density=0.5)])
    packed = sl.pack(model.init(KEY, X))
    trainable, fixed = sl.partition(packed)
    optimiser = optax.adam(0.02)

    @jax.jit
    def step(trainable, state):
        def loss(t):
            return ((model.apply(sl.combine(t, fixed), X) - 1) ** 2).mean()

        value, grads = jax.value_and_grad(loss)(trainable)
        updates, state = optimiser.update(grads, state)
        return optax.apply_updates(trainable, updates), state, value

    state, values = optimiser.init(trainable), []
    for _ in range(30):
        trainable, state, value = step(trainable, state)
        values.append(float(value))
    assert values[-1] < 0.5 * values[0]
    tuned = sl.combine(trainable, fixed)
    assert jax.tree.structure(tuned) == jax.tree.structure(packed)
