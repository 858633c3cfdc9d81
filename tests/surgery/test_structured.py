"""Unmodified Linen models on structured parameters equal the same models on dense ones."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import structlin as sl
from structlin import specs

HIDDEN, WORDS = 6, 10
TOKENS = jnp.array([[1, 4, 2], [3, 3, 9]])


class Language(nn.Module):
    """A model of somebody else: an embedding, a cell in a scan, logits of a layer or tied."""

    cell: nn.RNNCellBase
    tied: bool = False

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(WORDS, HIDDEN, name="embed")
        x = nn.RNN(self.cell, name="rnn")(embed(tokens))
        return embed.attend(x) if self.tied else nn.Dense(WORDS, name="out")(x)


CELLS = {
    cell.__name__: cell
    for cell in (nn.OptimizedLSTMCell, nn.LSTMCell, nn.GRUCell, nn.SimpleCell, nn.MGUCell)
}
RECIPE = {
    "cell/h.*/kernel": specs.LowRank(rank=2),
    "cell/i.*/kernel": specs.Sparse(density=0.5),
    "embed/embedding": specs.Sparse(density=0.6),
}


def compare(model, small, *inputs):
    """Values and gradients of the wrapped model and of the model on what it densifies to."""

    def loss(apply, params):
        return jnp.sum(jnp.sin(apply({"params": params}, *inputs)))

    @jax.jit
    def both(params):
        ours = functools.partial(loss, sl.Structured(model).apply)

        def theirs(p):
            return loss(model.apply, small.densify(p))

        return [jax.value_and_grad(f)(params) for f in (ours, theirs)]

    ours, theirs = both(small.params)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5), ours, theirs)
    assert all(np.any(g) for g in jax.tree.leaves(ours[1]))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("name", CELLS)
def test_a_model_equals_its_dense_form(name, tied):
    model = Language(CELLS[name](HIDDEN), tied)
    params = model.init(jax.random.key(0), TOKENS)["params"]
    small = sl.compress(params, RECIPE if tied else RECIPE | {"out/kernel": specs.LowRank(rank=3)})
    compare(model, small, TOKENS)
    packed = sl.pack(small.params)
    np.testing.assert_allclose(
        sl.Structured(model).apply({"params": packed}, TOKENS),
        model.apply({"params": small.densify(packed)}, TOKENS),
        atol=1e-5,
    )


@pytest.mark.parametrize("name", ["OptimizedLSTMCell", "LSTMCell", "GRUCell", "MGUCell"])
def test_fused_gates_run_in_flax_cells(name):
    model = Language(CELLS[name](HIDDEN))
    params = model.init(jax.random.key(0), TOKENS)["params"]
    recipe = {"cell/[ih]/kernel": specs.LowRank(rank=3)}
    small = sl.compress(params, recipe, fuse=True)
    assert set(small.params["cell"]) == {"i", "h"}
    compare(model, small, TOKENS)


def test_the_tree_is_that_of_the_model_and_dense_is_flax_itself():
    model = Language(nn.GRUCell(HIDDEN))
    wrapped = sl.Structured(model)
    params = model.init(jax.random.key(0), TOKENS)
    mine = wrapped.init(jax.random.key(0), TOKENS)
    assert jax.tree.map(jnp.shape, mine) == jax.tree.map(jnp.shape, params)
    np.testing.assert_array_equal(wrapped.apply(params, TOKENS), model.apply(params, TOKENS))


class Attention(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.MultiHeadAttention(num_heads=2, name="attention")(x)
        x = nn.DenseGeneral((2, 3), axis=(-2, -1), name="both")(x)
        return nn.DenseGeneral(5, axis=(-2, -1), use_bias=False, name="bare")(x)


def test_attention_and_general_layers():
    x = jax.random.normal(jax.random.key(1), (2, 3, 4))
    params = Attention().init(jax.random.key(0), x)["params"]
    small = sl.compress(params, {".*/kernel": specs.Sparse(density=0.7)})
    assert small.params["attention"]["query"]["kernel"].shape == (4, 4)
    assert small.params["both"]["kernel"].shape == (12, 6)
    compare(Attention(), small, x)


@pytest.mark.parametrize("lift", [nn.remat, nn.jit, lambda m: nn.remat(nn.jit(m))])
def test_lifted_layers(lift):
    model = nn.Sequential([lift(nn.Dense)(4), lift(nn.Dense)(3)])
    x = jax.random.normal(jax.random.key(1), (2, 5))
    params = model.init(jax.random.key(0), x)["params"]
    small = sl.compress(params, {".*/kernel": specs.LowRank(rank=2)})
    compare(model, small, x)


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        def body(layer, x):
            return jnp.tanh(layer(x)), None

        scan = nn.scan(
            lambda m, x, _: body(m, x),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=3,
        )
        return scan(nn.Dense(4, name="layer"), x, None)[0]


def test_layers_stacked_by_scan():
    x = jax.random.normal(jax.random.key(1), (2, 4))
    params = Scanned().init(jax.random.key(0), x)["params"]
    kernels = params["layer"]["kernel"]
    stacked = jax.vmap(lambda k: specs.LowRank(rank=2).fit(k))(kernels)
    small = {"layer": {**params["layer"], "kernel": stacked}}
    dense = {"layer": {**params["layer"], "kernel": jax.vmap(lambda m: m.to_dense())(stacked)}}
    np.testing.assert_allclose(
        sl.Structured(Scanned()).apply({"params": small}, x),
        Scanned().apply({"params": dense}, x),
        atol=1e-5,
    )


class Doubled(nn.Dense):
    """A subclass that does more than its parent."""

    @nn.compact
    def __call__(self, inputs):
        return 2 * super().__call__(inputs)


def test_a_subclass_keeps_what_it_adds():
    x = jax.random.normal(jax.random.key(1), (2, 5))
    params = Doubled(4).init(jax.random.key(0), x)["params"]
    small = sl.compress(params, {"kernel": specs.LowRank(rank=2)})
    compare(Doubled(4), small, x)


def test_other_methods_run_inside_the_context():
    class Encoder(nn.Module):
        def setup(self):
            self.layer = nn.Dense(4)

        def __call__(self, x):
            return self.layer(x)

        def encode(self, x):
            return jnp.tanh(self.layer(x))

    x = jax.random.normal(jax.random.key(1), (2, 5))
    small = sl.compress(
        Encoder().init(jax.random.key(0), x)["params"], {".*/kernel": specs.LowRank(rank=2)}
    )
    with sl.linen.structured():
        found = Encoder().apply({"params": small.params}, x, method="encode")
    want = Encoder().apply({"params": small.densify()}, x, method="encode")
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16])
def test_results_have_flax_dtypes(dtype):
    x = jax.random.normal(jax.random.key(1), (2, 5))
    for model, inputs in ((nn.Dense(4, dtype=dtype), x), (nn.Embed(5, 4, dtype=dtype), x[0] > 0)):
        inputs = inputs if inputs.ndim == 2 else inputs.astype(jnp.int32)
        params = model.init(jax.random.key(0), inputs)["params"]
        small = sl.compress(params, {"kernel|embedding": specs.LowRank(rank=2)})
        found = sl.Structured(model).apply({"params": small.params}, inputs)
        assert found.dtype == model.apply({"params": params}, inputs).dtype


def test_a_convolution_says_how_it_can_run():
    model = nn.Conv(4, (3,), name="conv")
    x = jnp.ones((1, 5, 2))
    params = model.init(jax.random.key(0), x)["params"]
    small = sl.compress(params, {"kernel": specs.Sparse(density=0.5)})
    with pytest.raises(ValueError, match="Conv has no product.*densify"):
        sl.Structured(model).apply({"params": small.params}, x)
    assert model.apply({"params": small.densify()}, x).shape == (1, 5, 4)


def test_a_wrong_shape_names_the_layer():
    model = Language(nn.SimpleCell(HIDDEN))
    params = model.init(jax.random.key(0), TOKENS)["params"]
    params["out"]["kernel"] = specs.LowRank(rank=2).fit(jnp.ones((HIDDEN, 4)))
    with pytest.raises(ValueError, match=r"out/kernel holds .*\(6, 4\); Dense needs \(6, 10\)"):
        sl.Structured(model).apply({"params": params}, TOKENS)


def test_fields_that_only_a_dense_kernel_honours_are_refused():
    model = nn.Dense(4, dot_general=jax.lax.dot_general)
    params = {"kernel": specs.LowRank(rank=2).fit(jnp.ones((5, 4))), "bias": jnp.zeros(4)}
    with pytest.raises(ValueError, match="dot_general="):
        sl.Structured(model).apply({"params": params}, jnp.ones((2, 5)))


class Ours(nn.Module):
    """A model of this library's layers."""

    @nn.compact
    def __call__(self, tokens):
        embed = sl.Embed(WORDS, HIDDEN, name="embed")
        x = sl.RNN(sl.LSTMCell(HIDDEN, name="cell"), name="rnn")(embed(tokens))
        return embed.attend(sl.Dense(HIDDEN, name="out")(x))


def test_layers_of_this_library_need_no_wrapper_and_bear_one():
    params = Ours().init(jax.random.key(0), TOKENS)["params"]
    recipe = {"out/kernel": specs.LowRank(rank=2), "embed/.*": specs.Sparse(density=0.5)}
    small = sl.compress(params, recipe | {"cell/h/kernel": specs.LowRank(rank=3)}, fuse=True)
    bare = Ours().apply({"params": small.params}, TOKENS)
    wrapped = sl.Structured(Ours()).apply({"params": small.params}, TOKENS)
    dense = Ours().apply({"params": small.densify()}, TOKENS)
    np.testing.assert_allclose(bare, dense, atol=1e-5)
    np.testing.assert_allclose(wrapped, dense, atol=1e-5)
