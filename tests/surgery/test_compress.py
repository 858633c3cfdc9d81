"""Whole models by recipe: what is fitted, what stays, and what is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import structlin as sl
from structlin import specs

LOW = specs.LowRank(rank=2)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def lstm(rows=3, hidden=4, seed=0):
    cell = nn.OptimizedLSTMCell(hidden)
    carry = jnp.zeros(hidden), jnp.zeros(hidden)
    return cell.init(jax.random.key(seed), carry, jnp.zeros(rows))["params"]


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_each_weight_is_what_its_spec_fits():
    params = {
        "a": {"kernel": normal(0, 6, 5), "bias": jnp.ones(5)},
        "b": {"kernel": normal(1, 5, 4)},
    }
    copy = jax.tree.map(jnp.array, params)
    found = sl.compress(params, {"a/kernel": LOW, "b/kernel": None})
    want = LOW.fit(params["a"]["kernel"])
    same(found.params["a"]["kernel"], want)
    assert found.params["b"]["kernel"] is params["b"]["kernel"]
    assert found.params["a"]["bias"] is params["a"]["bias"]
    same(params, copy)


def test_dense_leaves_a_bare_array():
    params = {"kernel": normal(0, 6, 5)}
    found = sl.compress(params, {"kernel": specs.Dense()})
    assert found.params["kernel"] is params["kernel"]
    assert not found.report.rows
    assert found.report.untouched.bytes == 120


def test_tied_weights_stay_one_object():
    table = normal(0, 6, 5)
    params = {
        "in": {"embedding": table},
        "out": {"embedding": table},
        "x": {"kernel": normal(1, 5, 5)},
    }
    found = sl.compress(params, {".*/embedding": LOW}).params
    assert found["in"]["embedding"] is found["out"]["embedding"]
    with pytest.raises(ValueError, match="in/embedding and out/embedding are tied.*copy"):
        sl.compress(params, {"in/embedding": LOW})
    with pytest.raises(ValueError, match="tied"):
        sl.compress(params, {"in/embedding": LOW, "out/embedding": specs.Kron()})


def test_a_matrix_is_fitted_again():
    params = {"kernel": specs.LowRank(rank=3).fit(normal(0, 6, 5))}
    found = sl.compress(params, {"kernel": LOW}).params["kernel"]
    np.testing.assert_allclose(
        found.to_dense(), LOW.fit(params["kernel"].to_dense()).to_dense(), atol=1e-5
    )


def test_gates_fuse_in_order_with_their_biases():
    params = {"cell": lstm()}
    params["cell"]["hf"]["bias"] = jnp.ones(4)
    found = sl.compress(params, {"cell/h/kernel": specs.Sparse(density=1.0)}, fuse=True)
    cell = found.params["cell"]
    assert set(cell) == {"h", "ii", "if", "ig", "io"}
    whole = np.concatenate([params["cell"][f"h{g}"]["kernel"] for g in "ifgo"], axis=1)
    np.testing.assert_array_equal(cell["h"]["kernel"].to_dense(), whole)
    np.testing.assert_array_equal(cell["h"]["bias"], np.repeat([0, 1, 0, 0], 4))
    same(found.densify(), params)


def test_a_fused_cell_runs_as_this_librarys():
    params = lstm()
    recipe = {"[ih]/kernel": specs.Sparse(density=1.0)}
    small = sl.compress(params, recipe, fuse=True).params
    carry, x = (normal(1, 4), normal(2, 4)), normal(3, 3)
    (c, h), _ = sl.LSTMCell(4).apply({"params": small}, carry, x)
    (want_c, want_h), _ = nn.OptimizedLSTMCell(4).apply({"params": params}, carry, x)
    np.testing.assert_allclose(c, want_c, atol=1e-6)
    np.testing.assert_allclose(h, want_h, atol=1e-6)


def test_more_axes_become_a_matrix_and_come_back():
    params = {
        "conv": {"kernel": normal(0, 3, 2, 4), "bias": jnp.zeros(4)},
        "query": {"kernel": normal(1, 6, 2, 3), "bias": jnp.zeros((2, 3))},
    }
    found = sl.compress(params, {".*": specs.Sparse(density=1.0)})
    assert found.params["conv"]["kernel"].shape == (6, 4)
    assert found.params["query"]["kernel"].shape == (6, 6)
    same(found.densify(), params)
    doubled = jax.tree.map(lambda x: 2 * x, found.params)
    same(found.densify(doubled), jax.tree.map(lambda x: 2 * x, params))


def test_boxes_are_opened():
    params = {"kernel": nn.Partitioned(normal(0, 6, 5), names=("a", None)), "bias": jnp.zeros(5)}
    found = sl.compress(params, {"kernel": LOW}).params["kernel"]
    same(found, LOW.fit(normal(0, 6, 5)))


@pytest.mark.parametrize("entries", ["rows", "entries", "covariance"])
def test_weights_reach_the_fit(entries):
    dense = normal(0, 6, 5)
    kinds = {
        "rows": specs.Rows(jnp.arange(1.0, 7.0)),
        "entries": specs.Fisher(normal(1, 6, 5) ** 2),
        "covariance": specs.Covariance(normal(1, 6, 6) @ normal(1, 6, 6).T),
    }
    found = sl.compress({"kernel": dense}, {"kernel": LOW}, weights={"kernel": kinds[entries]})
    same(found.params["kernel"], LOW.fit(dense, kinds[entries]))


def test_weights_of_gates_and_of_more_axes_are_put_together():
    from structlin.surgery._targets import find_targets, target_weights

    target = find_targets(lstm(), fuse=True)["h/kernel"]
    entries = {f"h{g}/kernel": jnp.full((4, 4), i + 1.0) for i, g in enumerate("ifgo")}
    found = target_weights(target, entries)
    np.testing.assert_array_equal(found.values[0], np.repeat([1, 2, 3, 4], 4))
    shared = {f"h{g}/kernel": specs.Covariance(jnp.eye(4)) for g in "ifgo"}
    np.testing.assert_array_equal(target_weights(target, shared).values, np.eye(4))
    with pytest.raises(ValueError, match="no weights for .*hg/kernel"):
        target_weights(target, {"hi/kernel": entries["hi/kernel"]})
    conv = find_targets({"kernel": jnp.ones((3, 2, 4))})["kernel"]
    assert target_weights(conv, {"kernel": jnp.ones((3, 2, 4))}).shape == (6, 4)


@pytest.mark.parametrize(
    ("recipe", "options", "words"),
    [
        ({"a/kernel": specs.LowRank(rank=9)}, {}, r"a/kernel, 6 x 5,.*LowRank\(rank=9\).*rank 5"),
        ({".*": specs.Sparse(pattern="2:4")}, {}, r"a/kernel, 6 x 5.*2:4"),
        ({"a/kernl": LOW}, {}, r"'a/kernl'.*\n.*a/kernel 6 x 5"),
        ({"a/kernel": LOW}, {"weights": {"a/kern": jnp.ones(6)}}, "a/kern.*a/kernel"),
        ({"a/kernel": LOW}, {"weights": {"a/kernel": jnp.ones(7)}}, r"a/kernel, 6 x 5.*\(7,\)"),
        ({"n/kernel": LOW}, {}, "n/kernel, 3 x 3.*NaN"),
    ],
)
def test_what_cannot_be_names_the_weight_and_changes_nothing(recipe, options, words):
    params = {"a": {"kernel": normal(0, 6, 5)}, "n": {"kernel": jnp.full((3, 3), jnp.nan)}}
    copy = jax.tree.map(jnp.array, params)
    with pytest.raises(ValueError, match=f"(?s){words}"):
        sl.compress(params, recipe, **options)
    same(params, copy)


def test_a_recipe_may_be_a_file(tmp_path):
    params = {"kernel": normal(0, 6, 5)}
    file = tmp_path / "recipe.toml"
    sl.Recipe({"kernel": LOW}).to_toml(file)
    same(sl.compress(params, file).params, sl.compress(params, {"kernel": LOW}).params)
    with pytest.raises(ValueError, match="fuse=False.*fuse=True"):
        sl.compress(params, sl.Recipe({"kernel": LOW}), fuse=True)
    with pytest.raises(TypeError, match="list"):
        sl.compress(params, [LOW])


class Model(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(8, 6, rngs=rngs)
        self.out = nnx.Linear(6, 5, rngs=rngs)

    def __call__(self, x):
        return self.out(self.embed(x))


def test_nnx_models_become_new_models():
    model = Model(nnx.Rngs(0))
    found = sl.compress(model, {"embed/embedding": LOW, "out/kernel": specs.LowRank(rank=3)})
    assert found.params is None
    assert set(sl.nnx.kernels(found.model)) == {"embed/embedding", "out/kernel"}
    same(
        sl.nnx.kernels(found.model)["out/kernel"], specs.LowRank(rank=3).fit(model.out.kernel[...])
    )
    x = jnp.arange(4)
    np.testing.assert_allclose(found.model(x), sl.nnx.densify(found.model)(x), atol=1e-5)
    assert isinstance(model.out.kernel, nnx.Param)  # the old one is as it was
    stored = nnx.state(found.model, (nnx.Param, sl.nnx.Index))
    assert found.report.total.bytes == sum(x.nbytes for x in jax.tree.leaves(stored))
    with pytest.raises(ValueError, match="out/kernel 6 x 5"):
        sl.compress(model, {"out": LOW})
