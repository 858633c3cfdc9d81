"""Dense checkpoints of Flax's layers into structured models, by the recipe that a model is."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import structlin as sl
from structlin import specs

WORDS, WIDTH, HIDDEN = 12, 6, 8
TOKENS = jnp.array([[1, 4, 2], [3, 3, 9]])
KEY = jax.random.key(0)
LOW = specs.LowRank(rank=2)


class Dense(nn.Module):
    """Flax's layers, all of them; the field is for a keyword of the call."""

    @nn.compact
    def __call__(self, tokens, *, scale):
        x = nn.Embed(WORDS, WIDTH, name="embed")(tokens)
        x = nn.RNN(nn.OptimizedLSTMCell(HIDDEN, name="lstm"))(x)
        x = nn.RNN(nn.GRUCell(HIDDEN, name="gru"))(x)
        x = nn.RNN(nn.MGUCell(HIDDEN, name="mgu"))(x)
        x = nn.RNN(nn.SimpleCell(HIDDEN, name="simple"))(x)
        x = nn.DenseGeneral((2, 3), use_bias=False, name="split")(x)
        x = nn.DenseGeneral(4, axis=(-2, -1), name="merge")(x)
        return nn.Dense(WORDS, name="out.1")(nn.Dense(4, name="same")(x)) * (2 if scale else 1)


class Small(nn.Module):
    """The same with specs, of full rank or not; one layer has none, one side of a cell neither."""

    full: bool

    @nn.compact
    def __call__(self, tokens, *, scale):
        def low(rank):
            return specs.LowRank(rank=rank if self.full else 2)

        x = sl.Embed(WORDS, WIDTH, spec=low(6), name="embed")(tokens)
        lstm = sl.LSTMCell(HIDDEN, input=low(6), recurrent=low(8), name="lstm")
        x = nn.RNN(lstm)(x)
        x = sl.RNN(sl.GRUCell(HIDDEN, recurrent=specs.PerGate(low(8), 3), name="gru"))(x)
        x = sl.RNN(sl.MGUCell(HIDDEN, input=low(8), recurrent=specs.Dense(), name="mgu"))(x)
        x = sl.RNN(sl.SimpleCell(HIDDEN, recurrent=low(8), name="simple"))(x)
        x = sl.DenseGeneral((2, 3), use_bias=False, spec=low(6), name="split")(x)
        x = sl.DenseGeneral(4, axis=(-2, -1), spec=low(4), name="merge")(x)
        ones = nn.initializers.ones_init()  # fits of what it draws are no business of a recipe
        x = sl.Dense(WORDS, spec=low(4), kernel_init=ones, name="out.1")(
            sl.Dense(4, name="same")(x)
        )
        return x * (2 if scale else 1)


SHAPES = {
    "embed/embedding": (12, 6),
    "gru/h/kernel": (8, 24),
    "lstm/h/kernel": (8, 32),
    "lstm/i/kernel": (6, 32),
    "merge/kernel": (6, 4),
    "mgu/h/kernel": (8, 16),
    "mgu/i/kernel": (8, 16),
    "out.1/kernel": (4, 12),
    "simple/h/kernel": (8, 8),
    "split/kernel": (8, 6),
}


@pytest.fixture(scope="module")
def dense():
    params = Dense().init(KEY, TOKENS, scale=True)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))  # biases that are not zero
    noise = [0.1 * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.map(jnp.add, params, tree.unflatten(noise))


@pytest.fixture(scope="module")
def recipe():
    return sl.recipe(Small(full=False), TOKENS, scale=True)


def run(model, params):
    return model.apply({"params": params}, TOKENS, scale=True)


def test_a_recipe_names_each_weight_that_has_a_spec(recipe):
    assert {re.sub(r"\\(.)", r"\1", p): s for p, s in recipe.shapes.items()} == SHAPES
    assert list(recipe) == list(recipe.shapes)
    assert recipe["embed/embedding"] == LOW
    assert recipe["gru/h/kernel"] == specs.PerGate(LOW, 3)
    assert recipe.fuse
    abstract = jax.ShapeDtypeStruct(TOKENS.shape, TOKENS.dtype)
    assert sl.recipe(Small(full=False), abstract, scale=False) == recipe
    assert sl.Recipe.from_toml(recipe.to_toml()) == recipe


def test_a_dense_checkpoint_is_fitted_as_by_hand(dense, recipe):
    found = sl.compress(dense, recipe).params

    def fit(*path, spec=LOW, shape=None):
        leaf = dense
        for name in path:
            leaf = leaf[name]
        return spec.fit(leaf if shape is None else leaf.reshape(shape))

    def gates(cell, side, names):
        return jnp.concatenate([dense[cell][side + g]["kernel"] for g in names], axis=1)

    biases = jnp.concatenate([dense["lstm"][f"h{g}"]["bias"] for g in "ifgo"])
    lstm = {
        "i": {"kernel": LOW.fit(gates("lstm", "i", "ifgo"))},
        "h": {"kernel": LOW.fit(gates("lstm", "h", "ifgo")), "bias": biases},
    }
    recurrent = specs.PerGate(LOW, 3).fit(gates("gru", "h", "rzn"))
    gru = {k: v for k, v in dense["gru"].items() if k.startswith("i")}
    gru["h"] = {"kernel": recurrent, "bias": dense["gru"]["hn"]["bias"]}
    mgu = {k: v for k, v in dense["mgu"].items() if k.startswith("h")}
    biases = jnp.concatenate([dense["mgu"][f"i{g}"]["bias"] for g in "fn"])
    mgu["i"] = {"kernel": LOW.fit(gates("mgu", "i", "fn")), "bias": biases}
    expected = dense | {
        "embed": {"embedding": fit("embed", "embedding")},
        "lstm": lstm,
        "gru": gru,
        "mgu": mgu,
        "simple": dense["simple"] | {"h": {"kernel": fit("simple", "h", "kernel")}},
        "split": {"kernel": fit("split", "kernel", shape=(8, 6))},
        "merge": dense["merge"] | {"kernel": fit("merge", "kernel", shape=(6, 4))},
        "out.1": dense["out.1"] | {"kernel": fit("out.1", "kernel")},
    }
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert run(Small(full=False), found).shape == (2, 3, WORDS)


def test_with_full_rank_the_model_computes_the_same(dense):
    """And a structured model also runs the dense checkpoint as it is."""
    model = Small(full=True)
    small = sl.compress(dense, sl.recipe(model, TOKENS, scale=True)).params
    expected = run(Dense(), dense)
    assert_allclose(run(model, small), expected, atol=1e-5)
    assert_allclose(run(model, dense), expected, atol=1e-6)


def without(tree, module, *names):
    return tree | {module: {k: v for k, v in tree[module].items() if k not in names}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: without(d, "out.1", "kernel"), r"weight 4 x 12 at 'out.*1/kernel'.*none there"),
        (
            lambda d: without(d, "lstm", "hg"),
            "weight 8 x 32 at 'lstm/h/kernel'.*lstm/hi/kernel 8 x 8",
        ),
        (
            lambda d: d | {"embed": {"embedding": jnp.ones((9, 6))}},
            "embed/embedding is 9 x 6 where the recipe needs 12 x 6",
        ),
        (
            lambda d: d | {"split": {"kernel": jnp.ones((8, 3, 3))}},
            r"split/kernel is 24 x 3, \(8, 3, 3\) as stored, where the recipe needs 8 x 6",
        ),
        (
            lambda d: d | {"gru": jax.tree.map(lambda x: x[..., :4], d["gru"])},
            "gru/h/kernel is 8 x 12 where the recipe needs 8 x 24",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_the_model(change, words, dense, recipe):
    with pytest.raises(ValueError, match=re.compile(words, re.DOTALL)):
        sl.compress(change(dense), recipe)


def test_models_that_are_no_recipe():
    with pytest.raises(ValueError, match=r"No layer of this Dense has a spec.*spec="):
        sl.recipe(sl.Dense(3), jnp.ones((1, 2)))
    with pytest.raises(TypeError, match="model of Flax is needed; given dict"):
        sl.recipe({"kernel": jnp.ones((2, 3))})


def test_reading_a_recipe_leaves_initialisation_as_it_is():
    layer, x = sl.LowRank(4, rank=2), jnp.ones((1, 5))
    assert sl.linen.kernel_specs(layer, x) == {"kernel": (LOW, (5, 4))}
    assert isinstance(layer.init(KEY, x)["params"]["kernel"], sl.matrices.LowRank)
