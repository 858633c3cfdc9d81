"""Whole Linen models of somebody else, compressed by recipe and run as they are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict, freeze

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 4, 6))
LOW, SPARSE = specs.LowRank(rank=3), specs.Sparse(density=0.6)


class Block(nn.Module):
    """A transformer's block, with statistics and dropout."""

    @nn.compact
    def __call__(self, x, train=False):
        attention = nn.MultiHeadDotProductAttention(2, use_bias=True, name="attention")
        x = x + attention(nn.LayerNorm()(x))
        h = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        h = nn.gelu(nn.Dense(8, name="up")(h))
        h = nn.Dropout(0.5, deterministic=not train)(h)
        return x + nn.Dense(6, name="down")(h)


@pytest.fixture(scope="module")
def block():
    variables = jax.jit(Block().init)(KEY, X)
    recipe = {"attention/.*/kernel": LOW, "up/kernel": specs.Kron(), "down/kernel": SPARSE}
    return variables, sl.compress(variables["params"], recipe)


def test_a_block_with_statistics_and_dropout(block):
    variables, small = block
    fast = sl.Structured(Block())

    @jax.jit
    def both(params):
        found = []
        for model, tree in ((fast, params), (Block(), small.densify(params))):
            fields = {"rngs": {"dropout": KEY}, "mutable": ["batch_stats"]}
            found.append(model.apply({**variables, "params": tree}, X, True, **fields))
        return found

    ours, theirs = both(small.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)
    assert np.any(ours[1]["batch_stats"]["norm"]["mean"])


def test_frozen_parameters_and_all_collections_at_once(block):
    variables, _ = block
    frozen = sl.compress(freeze(variables), {"params/(up|down)/kernel": LOW})
    assert isinstance(frozen.params, FrozenDict)
    found = sl.Structured(Block()).apply(frozen.params, X)
    np.testing.assert_allclose(found, Block().apply(frozen.densify(), X), atol=1e-5)


class Speech(nn.Module):
    """A convolution, then a cell of somebody's own in both directions."""

    def setup(self):
        self.conv = nn.Conv(6, (3,))
        self.rnn = nn.Bidirectional(nn.RNN(Scaled(4)), nn.RNN(Scaled(4)))

    def __call__(self, x, lengths):
        return self.rnn(nn.relu(self.conv(x)), seq_lengths=lengths)


class Scaled(nn.GRUCell):
    """A cell that does more before and after its parent."""

    @nn.compact
    def __call__(self, carry, inputs):
        carry, y = super().__call__(carry, nn.LayerNorm(name="norm")(inputs))
        return carry, 2 * y


def test_convolutions_are_formed_and_the_rest_stays_structured():
    lengths = jnp.array([4, 2])
    variables = jax.jit(Speech().init)(KEY, X, lengths)
    recipe = {"conv/kernel": LOW, ".*/[ih]/kernel": LOW}
    small = sl.compress(variables["params"], recipe, fuse=True)
    partly = small.densify(only="conv/.*")
    assert partly["conv"]["kernel"].shape == (3, 6, 6)
    assert set(partly["rnn"]["forward_rnn"]["cell"]) == {"i", "h", "norm"}

    @jax.jit
    def both(params):
        models = (sl.Structured(Speech()), small.densify(params, only="conv/.*"))
        pairs = (models, (Speech(), small.densify(params)))
        return [model.apply({"params": p}, X, lengths) for model, p in pairs]

    np.testing.assert_allclose(*both(small.params), atol=1e-5)
    with pytest.raises(ValueError, match="only='conv' matches no matrix.*conv/kernel"):
        small.densify(only="conv")


@pytest.mark.parametrize("axis", [(-1, 1), (3, 2), (2, 0)])
def test_axes_in_any_order_are_those_of_flax(axis):
    """Of a layer that is the whole model, whose bias says what is a feature."""
    x = jax.random.normal(KEY, (2, 3, 4, 3))
    model = nn.DenseGeneral((2, 5), axis=axis)
    params = model.init(KEY, x)["params"]
    small = sl.compress(params, {"kernel": specs.Sparse(density=1.0)})
    assert small.params["kernel"].shape[1] == 10
    found = sl.Structured(model).apply({"params": small.params}, x)
    np.testing.assert_allclose(found, model.apply({"params": params}, x), atol=1e-5)
    batches = [x]
    seen = sl.linen.activations(lambda x: model.apply({"params": params}, x), batches)
    rows = jnp.moveaxis(x, sorted(a % 4 for a in axis), (2, 3)).reshape(
        -1, small.params["kernel"].shape[0]
    )
    np.testing.assert_allclose(seen["kernel"].values, rows.T @ rows / len(rows), atol=1e-5)


class Tied(nn.Module):
    """The embedding also scores the words."""

    @nn.compact
    def __call__(self, ids):
        embed = nn.Embed(9, 6, name="embed")
        return embed.attend(nn.RNN(nn.OptimizedLSTMCell(6), name="rnn")(embed(ids)))


def test_gradient_of_a_packed_model_is_that_of_the_densified():
    """The numbers of the weights, tied and fused, and not their integers."""
    ids = jnp.array([[0, 3, 8], [5, 5, 1]])
    params = jax.jit(Tied().init)(KEY, ids)["params"]
    recipe = {".*/[ih]/kernel": SPARSE, "embed/embedding": SPARSE}
    small = sl.compress(params, recipe, fuse=True)
    trainable, fixed = sl.partition(sl.pack(small.params))

    def loss(model, form):
        def of(trainable):
            tree = form(sl.combine(trainable, fixed))
            return (model.apply({"params": tree}, ids) ** 2).sum()

        return jax.value_and_grad(of)

    pairs = ((sl.Structured(Tied()), lambda p: p), (Tied(), small.densify))
    ours, theirs = jax.jit(lambda t: [loss(*pair)(t) for pair in pairs])(trainable)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)
    assert all(np.any(g) for g in jax.tree.leaves(ours[1]))


def test_a_vocabulary_of_one_is_that_word_for_every_id():
    ids, model = jnp.array([0, 3, -5]), nn.Embed(1, 4)
    params = {"embedding": specs.LowRank(rank=1).fit(jnp.ones((1, 4)))}
    found = sl.Structured(model).apply({"params": params}, ids)
    np.testing.assert_allclose(found, jnp.ones((3, 4)), atol=1e-6)
