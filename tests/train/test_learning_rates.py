"""Fan-ins read off products, and the learning rates that follow from them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import CASES, block_low_rank, make, monarch, toeplitz
from flax import nnx
from numpy.testing import assert_allclose

import structlin as sl
from structlin import specs, train
from structlin.matrices import Diagonal, Product

KEY = jax.random.key(0)

# By hand, from the formulas: (fan in, fan out, factors) of each array of the last of CASES.
BY_HAND = {
    "Dense": [(24, 36, 1)],
    "Diagonal": [(1, 1, 1)],
    "Kronecker": [(4, 6, 2), (6, 6, 2)],
    "LowRank": [(24, 3, 2), (3, 36, 2)],
    "BlockDiagonal": [(4, 6, 1)],
    "Circulant": [(30, 30, 1)],
    "Toeplitz": [(24, 36, 1)],
    "BlockSparse": [(4, None, 1)],
    "Monarch": [(6, 6, 2), (4, 6, 2)],
    "Transposed": [(3, 36, 1), (2, 36, 2), (11, 1, 2)],
    "Sum": [(4, 6, 2), (6, 6, 2), (2, None, 1)],
    "Product": [(24, 2, 3), (2, 36, 3), (1, 1, 3)],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_fans_by_hand(name):
    matrix = make(name, len(CASES[name]) - 1, np.float32)
    found = train.fans({"w": matrix})
    assert {f.rows for f in found.values()} == {matrix.shape[0]}
    for fan, (fan_in, fan_out, factors) in zip(found.values(), BY_HAND[name], strict=True):
        assert (fan.fan_in, fan.factors) == (fan_in, factors)
        assert fan_out is None or fan.fan_out == fan_out


def test_a_factor_that_shares_its_entries_counts_as_alone_inside_a_product():
    matrix = Product((Diagonal(jnp.ones(6)), toeplitz(6, 4)(KEY, jnp.float32)))
    found = [tuple(f)[1:] for f in train.fans(matrix).values()]
    assert found == [(1, 1, 2), (6, 4, 2)]


def test_values_do_not_matter_and_zeros_do_not_hurt():
    matrix = monarch(2, 3, 2, 2, 1, "columns")(KEY, jnp.float32)
    zero = jax.tree.map(jnp.zeros_like, matrix)
    shapes = jax.eval_shape(lambda: matrix)
    assert train.fans(matrix) == train.fans(zero) == train.fans(shapes)


def test_multipliers_follow_the_rule():
    params = {
        "a": {"kernel": specs.LowRank(rank=2).init(KEY, (8, 6)), "bias": jnp.ones(6)},
        "scaled": make("Scaled", len(CASES["Scaled"]) - 1, np.float32),
        "embed": {"embedding": specs.LowRank(rank=2).init(KEY, (8, 6))},
    }
    found = train.learning_rate_multipliers(params)
    assert found["a/kernel/left"] == 8 / 8 / 2
    assert found["a/kernel/right"] == 8 / 2 / 2
    assert found["embed/embedding/left"] == found["embed/embedding/right"] == 1
    assert "a/bias" not in found
    assert found["scaled/scalar"] == 1
    all_of_them = train.learning_rate_multipliers(params, leave=())
    assert all_of_them["embed/embedding/right"] == 2.0


def test_updates_are_scaled_by_path_in_linen_and_nnx():
    model = nnx.Sequential(sl.nnx.DopedKron(8, 6, density=0.5, rngs=nnx.Rngs(0)))
    params = sl.nnx.params(model)
    rule = train.structured_learning_rates(params)
    multipliers = train.learning_rate_multipliers(params)
    assert len(multipliers) == 3
    state = nnx.state(model, nnx.Param)
    for tree in (params, state):
        optimiser = optax.chain(optax.sgd(1.0), rule)
        ones = jax.tree.map(jnp.ones_like, tree)
        updates, _ = jax.jit(optimiser.update)(ones, optimiser.init(tree))
        leaves = jax.tree_util.tree_leaves_with_path(updates)
        seen = set()
        for path, leaf in leaves:
            name = jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")
            assert_allclose(leaf, -multipliers.get(name, 1.0), rtol=1e-6)
            seen.add(name)
        assert set(multipliers) < seen
    optimiser = nnx.Optimizer(
        model,
        train.sparsify(optax.chain(optax.adam(0.1), rule), {".*/sparse/values": 0.5}, end=0),
        wrt=nnx.Param,
    )
    optimiser.update(model, jax.tree.map(jnp.ones_like, state))


def test_initial_scales_by_definition():
    matrix = specs.LowRank(rank=4).init(KEY, (64, 32))
    found = train.initial_scales({"w": matrix})
    left = np.sqrt(np.mean(np.square(matrix.left))) / (np.sqrt(4 / 64) / np.sqrt(64))
    right = np.sqrt(np.mean(np.square(matrix.right))) / (1 / np.sqrt(4))
    assert_allclose([found["w/left"], found["w/right"]], [left, right], rtol=1e-5)


def test_a_spectral_start_scales_factors_alone():
    doped = specs.Doped(specs.LowRank(rank=4), density=0.1).init(KEY, (64, 32))
    params = {
        "kernel": specs.HMD(dense_columns=3).init(KEY, (64, 32)),
        "doped": doped,
        "embedding": specs.LowRank(rank=4).init(KEY, (64, 32)),
        "zero": jax.tree.map(jnp.zeros_like, specs.LowRank(rank=4).init(KEY, (64, 32))),
        "bias": jnp.ones(32),
    }
    after = train.spectral_init(params)
    scales = train.initial_scales(after)
    changed = {path for path in scales if path.split("/")[0] in ("kernel", "doped")}
    changed -= {"doped/sparse/values"}
    assert_allclose([scales[path] for path in changed], 1.0, rtol=1e-5)
    assert len(changed) >= 4
    before, after = (
        {jax.tree_util.keystr(p, simple=True, separator="/"): x for p, x in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (params, after))
    )
    for path in before.keys() - changed:
        np.testing.assert_array_equal(before[path], after[path])


def test_what_cannot_be_scaled():
    params = {"w": specs.LowRank(rank=2).init(KEY, (8, 6))}
    with pytest.raises(ValueError, match="No structured matrix"):
        train.structured_learning_rates({"w": jnp.ones((3, 3))})
    with pytest.raises(ValueError, match=r"lack \['w/left', 'w/right'\]"):
        train.structured_learning_rates(params).init({"v": jnp.ones(3)})
    stack = jax.vmap(lambda k: specs.LowRank(rank=2).init(k, (8, 6)))(jax.random.split(KEY, 3))
    with pytest.raises(ValueError, match="w is a stack"):
        train.fans({"w": stack})


def test_groups_of_rows_each_have_their_own():
    found = list(train.fans(block_low_rank(7, (2, 0), (3, 2))(KEY, jnp.float32)).values())
    assert sorted(f.fan_in for f in found) == [2, 2, 3]
