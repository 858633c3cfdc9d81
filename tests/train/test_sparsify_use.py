"""Pruning in patterns through real models and wrappers: packing, NNX, checks, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import matrices as ms
from structlin import specs, train
from structlin.train import Support

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (4, 16))
DRAWN = {
    "block": specs.Sparse(density=0.25, block=(4, 3), anneal=True).init(KEY, (16, 12)),
    "nm": specs.Sparse(pattern="2:4", anneal=True).init(KEY, (16, 12)),
    "doped": specs.Doped(specs.LowRank(rank=2), density=0.5, block=(2, 2), anneal=True).init(
        KEY, (16, 12)
    ),
    "plain": specs.Sparse(density=0.25, anneal=True).init(KEY, (16, 12)),
}


def weights(shape=(8, 4), seed=0):
    return {"w": jnp.asarray(np.random.default_rng(seed).normal(size=shape), "f")}


def train_with(tx, params, steps, loss=lambda p: ((p["w"] - 1) ** 2).sum()):
    """The parameters and the state after each step."""

    @jax.jit
    def step(params, state):
        traces.append(1)
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    state, seen, traces = tx.init(params), [], []
    for _ in range(steps):
        params, state = step(params, state)
        seen.append((params, state))
    assert len(traces) == 1
    return seen


def product_loss(params):
    return sum(((X @ w - 1) ** 2).mean() for w in params.values())


def test_targets_hold_blocks_and_patterns():
    assert train.targets(DRAWN) == {
        "block/values": Support(0.25, (4, 3)),
        "nm/values": Support(pattern="2:4"),
        "doped/sparse/values": Support(0.5, (2, 2)),
        "plain/values": 0.25,
    }
    assert train.targets(DRAWN["plain"]) == {"values": 0.25}


def test_annealed_matrices_pack_to_what_their_specs_promise():
    tx = train.sparsify(
        optax.adamw(0.05, weight_decay=0.1), train.targets(DRAWN), begin=1, end=4, every=1
    )
    params, _ = train_with(tx, DRAWN, 6, product_loss)[-1]
    found = train.check_sparse(params, train.targets(DRAWN))
    assert found == {
        **{"block/values": 0.25, "nm/values": 0.5},
        **{"doped/sparse/values": 0.5, "plain/values": 0.25},
    }
    packed = sl.pack(params)
    kinds = [type(packed[k]) for k in ("block", "nm", "plain")]
    assert kinds == [ms.BlockSparse, ms.NMSparse, ms.Sparse]
    assert isinstance(packed["doped"].terms[1], ms.BlockSparse)
    promised = {
        "block": specs.Sparse(density=0.25, block=(4, 3)),
        "nm": specs.Sparse(pattern="2:4"),
        "doped": specs.Doped(specs.LowRank(rank=2), density=0.5, block=(2, 2)),
    }
    for name, spec in promised.items():
        assert packed[name].cost() == spec.cost((16, 12))
        assert_allclose(packed[name].to_dense(), params[name].to_dense(), atol=1e-6)


def test_stacked_matrices_pack_one_by_one():
    values = jnp.stack([DRAWN["nm"].values, DRAWN["nm"].values[::-1]])
    params = {"w": ms.Masked(values, 0.5, pattern="2:4")}
    tx = train.sparsify(optax.sgd(0.1), train.targets(params), end=0)
    ((params, _),) = train_with(tx, params, 1, lambda p: (p["w"].values ** 2).sum())
    for values in params["w"].values:
        packed = ms.Masked(values, 0.5, pattern="2:4").pack()
        assert_array_equal(packed.to_dense(), values)
        assert packed.values.shape == (4, 2, 12)


def test_in_an_nnx_optimizer_with_blocks_and_sums():
    class Model(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(16, 12, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.linear(x)

    small = sl.compress(
        Model(), {".*kernel": specs.Sparse(density=0.5, block=(4, 3), anneal=True)}
    ).model
    targets = train.targets(small)
    assert targets == {"linear/kernel/values": Support(0.5, (4, 3))}
    tx = train.sparsify(optax.adam(0.05), targets, end=2, every=1, score="movement")
    optimiser = nnx.Optimizer(small, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimiser):
        optimiser.update(model, nnx.grad(lambda m: ((m(X) - 1) ** 2).sum())(model))

    for _ in range(4):
        step(small, optimiser)
    assert train.check_sparse(small, targets) == {"linear/kernel/values": 0.5}
    assert train.check_sparse(nnx.state(small, nnx.Param), targets) == {"linear/kernel/values": 0.5}
    assert isinstance(sl.pack(small).linear.kernel, ms.BlockSparse)


def test_multisteps_sums_the_mean_gradients():
    rng = np.random.default_rng(0)
    grads = [{"w": jnp.asarray(rng.normal(size=(8, 4)), "f")} for _ in range(8)]
    inner = train.sparsify(optax.sgd(0.1), {"w": 0.25}, end=3, every=1, score="fisher")
    tx = optax.MultiSteps(inner, 2)
    steps = [jax.jit(t.update) for t in (tx, inner)]
    params, plain = weights(), weights()
    state, bare = tx.init(params), inner.init(plain)
    for one, two in zip(grads[::2], grads[1::2], strict=True):
        for g in one, two:
            updates, state = steps[0](g, state, params)
            params = optax.apply_updates(params, updates)
        mean = jax.tree.map(lambda a, b: (a + b) / 2, one, two)
        updates, bare = steps[1](mean, bare, plain)
        plain = optax.apply_updates(plain, updates)
    assert_allclose(params["w"], plain["w"], atol=1e-6)
    inner_state = state.inner_opt_state
    assert_allclose(inner_state.sums["w"], bare.sums["w"], rtol=1e-5)
    assert_array_equal(inner_state.masks["w"].sum(0), 2)


def test_half_precision_sums_in_single_precision():
    params = {"w": weights()["w"].astype(jnp.bfloat16), "b": jnp.ones(3, jnp.bfloat16)}
    tx = train.sparsify(optax.sgd(0.1), {"w": 0.5}, end=1, every=1, score="movement")
    state = tx.init(params)
    assert state.sums["w"].dtype == jnp.float32
    params, state = train_with(tx, params, 3)[-1]
    assert params["w"].dtype == jnp.bfloat16
    assert_array_equal(np.count_nonzero(params["w"], axis=0), 4)


def test_a_random_support_never_changes():
    params = weights()
    tx = train.sparsify(optax.adamw(0.1), {"w": 0.25}, end=0, key=KEY)
    first = tx.init(params).masks["w"]
    assert_array_equal(first.sum(0), 2)
    other = train.sparsify(optax.sgd(0.1), {"w": 0.25}, end=0, key=jax.random.key(7))
    assert not jnp.array_equal(other.init(params).masks["w"], first)
    for now, state in train_with(tx, params, 3):
        assert_array_equal(state.masks["w"], first)
        assert_array_equal(now["w"] != 0, first)


def test_a_random_support_is_that_of_a_pruned_start_and_uniform_otherwise():
    pruned = specs.Sparse(density=0.25).init(KEY, (16, 12))
    tx = train.sparsify(optax.sgd(0.1), {"values": 0.25}, end=0, key=KEY)
    assert_array_equal(tx.init(pruned).masks["values"], pruned.values != 0)
    wide = {"w": jnp.ones((4, 4000))}
    mask = train.sparsify(optax.sgd(0.1), {"w": 0.5}, key=KEY).init(wide).masks["w"]
    assert_allclose(mask.mean(1), 0.5, atol=0.04)


def test_two_groups_draw_different_supports():
    params = {"a": weights((16, 4))["w"], "b": weights((16, 4))["w"]}
    masks = train.sparsify(optax.sgd(0.1), {"a|b": 0.5}, key=KEY).init(params).masks
    assert not jnp.array_equal(masks["a"], masks["b"])


def test_check_sparse_finds_what_was_wrapped_wrongly():
    params, asked = weights(), {"w": 0.25}
    right = train.sparsify(optax.sgd(0.1), asked, end=1, every=1)
    trained, _ = train_with(optax.MultiSteps(right, 1), params, 3)[-1]
    assert train.check_sparse(trained, asked) == {"w": 0.25}
    wrong = optax.chain(right, optax.scale(0.5))
    trained, _ = train_with(wrong, params, 3)[-1]
    with pytest.raises(ValueError, match=r"w \(8 where 2 may stay\).*outermost"):
        train.check_sparse(trained, asked)


def test_check_sparse_counts_units():
    w = jnp.zeros((4, 6)).at[0].set(1.0).at[3, 2].set(1.0)
    assert train.check_sparse({"w": w}, {"w": 0.5}) == {"w": 7 / 24}
    assert train.check_sparse({"w": w}, {"w": Support(0.5, (1, None))}) == {"w": 7 / 24}
    for support in (Support(0.5, (2, 2)), Support(0.25, (1, None)), Support(pattern="1:4")):
        with pytest.raises(ValueError, match="2 where 1 may stay"):
            train.check_sparse({"w": w}, {"w": support})
    with pytest.raises(ValueError, match="7 where 6 may stay"):
        train.check_sparse({"w": w}, {"w": 0.25}, axis=None)
    with pytest.raises(ValueError, match=r"v, w \(7 where 4 may stay\)"):
        train.check_sparse({"w": w, "v": 0 * w}, {"v|w": 1 / 12}, axis="all")
    ramp = Support(threshold=train.threshold_ramp(1.0, 0, 1, 2))
    assert train.check_sparse({"w": w}, {"w": ramp}) == {"w": 7 / 24}
    with pytest.raises(ValueError, match="matches no parameter"):
        train.check_sparse({"w": w}, {"u": 0.5})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "one of density, pattern and threshold; given 0"),
        ({"density": 0.5, "pattern": "2:4"}, "given 2"),
        ({"density": 0.0}, "density is in"),
        ({"density": 0.5, "axis": 1}, "axis of a Support"),
        ({"density": 0.5, "block": (0, 2)}, "A block is"),
        ({"density": 0.5, "block": (1, 2, 3)}, "A block is"),
        ({"density": 0.5, "block": (None, 1)}, "axis=None or axis='all'"),
        ({"pattern": "4:2"}, "1 <= N <= M"),
        ({"pattern": "2/4"}, "1 <= N <= M"),
        ({"pattern": "2:4", "axis": None}, "leave out block and axis"),
    ],
)
def test_supports_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Support(**arguments)


def test_bad_input():
    sgd, params = optax.sgd(0.1), weights()
    with pytest.raises(ValueError, match=r"has the scores magnitude, movement, fisher; given 'l1'"):
        train.sparsify(sgd, {"w": 0.5}, score="l1")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"regrow in \[0, 1\)"):
        train.sparsify(sgd, {"w": 0.5}, regrow=1.0)
    for support in (Support(0.5, (3, 1)), Support(pattern="2:3"), Support(0.5, (1, 3))):
        with pytest.raises(ValueError, match=r"w: Blocks or groups of .* do not tile 8 x 4"):
            train.sparsify(sgd, {"w": support}).init(params)
    ramp = {"w": Support(threshold=train.threshold_ramp(1.0, 0, 1, 2))}
    for wrong in ({"score": "fisher"}, {"regrow": 0.1}, {"key": KEY}):
        with pytest.raises(ValueError, match="neither regrow nor key"):
            train.sparsify(sgd, ramp, **wrong).init(params)
    for order in ((1.0, 3, 2, 5), (1.0, 2, 2, 2), (0.0, 1, 2, 3)):
        with pytest.raises(ValueError, match="threshold_ramp needs"):
            train.threshold_ramp(*order)


def test_one_entry_of_each_column_stays_at_least():
    tx = train.sparsify(optax.sgd(0.1), {"w": 0.01}, end=5, every=1)
    counts = [np.count_nonzero(p["w"], axis=0) for p, _ in train_with(tx, weights(), 7)]
    assert_array_equal(counts[-3:], 1)
    assert train.check_sparse({"w": jnp.eye(8)}, {"w": 0.01}) == {"w": 1 / 8}
