"""Whole NNX models: which weights they have, other values in their places, trees and back."""

import jax
import jax.numpy as jnp
import optax
import pytest
from densified import assert_gradient_is_that_of_the_densified
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs
from structlin.matrices import LowRank, Matrix

TOKENS = jax.random.randint(jax.random.key(1), (2, 5), 0, 20)


class Model(nnx.Module):
    """Somebody's model: the embedding is also the output, and a layer is used twice."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(20, 12, rngs=rngs)
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(12, 8, rngs=rngs), rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(8, 12, rngs=rngs), nnx.Linear(12, 12, rngs=rngs)])
        self.layers.append(self.layers[1])
        self.norm = nnx.LayerNorm(12, rngs=rngs)

    def __call__(self, tokens):
        x = self.attention(self.rnn(self.embed(tokens)))
        for layer in self.layers:
            x = layer(x)
        return self.embed.attend(self.norm(x))


WEIGHTS = {
    "attention/key/kernel": (8, 8),
    "attention/out/kernel": (8, 8),
    "attention/query/kernel": (8, 8),
    "attention/value/kernel": (8, 8),
    "embed/embedding": (20, 12),
    "layers/0/kernel": (8, 12),
    "layers/1/kernel": (12, 12),
    "rnn/cell/dense_h/kernel": (8, 32),
    "rnn/cell/dense_i/kernel": (12, 32),
}
RECIPE = {
    "rnn/.*": specs.DopedKron(density=0.25),
    ".*": specs.LowRank(rank=3),
}


@pytest.fixture(scope="module")
def model():
    return Model(nnx.Rngs(0))


@pytest.fixture(scope="module")
def small(model):
    return sl.compress(model, RECIPE).model


def numbers(model):
    return jax.tree.map(jnp.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Param)))


def loss(model):
    return (model(TOKENS) ** 2).mean()


def test_kernels_lists_every_weight_once_as_a_matrix(model, small):
    assert {p: k.shape for p, k in sl.nnx.kernels(model).items()} == WEIGHTS
    assert {p: k.shape for p, k in sl.nnx.kernels(small).items()} == WEIGHTS
    assert all(isinstance(k, Matrix) for k in sl.nnx.kernels(small).values())


def test_compressed_model_is_new_and_tied_weights_stay_tied(model, small):
    assert type(model.layers[0]) is nnx.Linear
    assert isinstance(model.layers[0].kernel, nnx.Param)
    assert small.layers[1] is small.layers[2]
    assert isinstance(small.embed, sl.nnx.Embed)
    dense = {p: k.to_dense() for p, k in sl.nnx.kernels(small).items()}
    expected = sl.nnx.with_kernels(model, dense)
    for form in (small, sl.pack(small), sl.densify(small), nnx.merge(*nnx.split(small))):
        assert_allclose(nnx.jit(lambda m: m(TOKENS))(form), expected(TOKENS), atol=1e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_gradient_of_a_tied_model_is_that_of_the_densified(small, packed):
    form = sl.pack(small) if packed else small
    assert_gradient_is_that_of_the_densified(loss, form)


def test_weights_shared_by_two_modules_stay_shared(model):
    model = nnx.clone(model)
    one, two = nnx.Linear(12, 12, rngs=nnx.Rngs(1)), nnx.Linear(12, 12, rngs=nnx.Rngs(2))
    two.kernel = one.kernel
    pair = nnx.List([one, two])
    assert list(sl.nnx.kernels(pair)) == ["0/kernel"]
    sl.nnx.replace_kernel(pair, "1/kernel", specs.LowRank(rank=2).fit(one.kernel[...]))
    assert pair[0].kernel.left is pair[1].kernel.left
    again = nnx.merge(*nnx.split(pair))
    assert again[0].kernel.left is again[1].kernel.left
    again = sl.densify(again)
    assert again[0].kernel is again[1].kernel


def test_a_subclass_keeps_what_it_does():
    class Doubled(nnx.Linear):
        def __call__(self, inputs, out_sharding=None):
            return 2 * super().__call__(inputs, out_sharding)

    x, layer = jnp.ones((2, 6)), Doubled(6, 4, rngs=nnx.Rngs(0))
    expected = layer(x)
    sl.nnx.replace_kernel(layer, "kernel", specs.LowRank(rank=4).fit(layer.kernel[...]))
    assert isinstance(layer, Doubled)
    assert_allclose(layer(x), expected, atol=1e-5)
    assert_allclose(nnx.merge(*nnx.split(layer))(x), expected, atol=1e-5)
    lora = nnx.LoRALinear(6, 4, lora_rank=2, rngs=nnx.Rngs(0))
    lora.lora.lora_b[...] = jnp.ones((2, 4))
    expected = lora(x)
    sl.nnx.replace_kernel(lora, "kernel", specs.LowRank(rank=4).fit(lora.kernel[...]))
    assert_allclose(lora(x), expected, atol=1e-5)


def test_wrong_paths_and_shapes_leave_the_model_as_it_was(model):
    before = numbers(model)
    with pytest.raises(KeyError, match=r"'layers/0' .*layers/0/kernel"):
        sl.nnx.with_kernels(model, {"layers/0": jnp.ones((8, 12))})
    good = LowRank(jnp.ones((12, 2)), jnp.ones((2, 12)))
    for wrong in (good, jnp.ones((12, 8))):
        with pytest.raises(ValueError, match=r"layers/0/kernel is \(8, 12\)"):
            sl.nnx.replace_kernel(model, "layers/0/kernel", wrong)
    with pytest.raises(ValueError, match="layers/0/kernel"):
        sl.nnx.with_kernels(model, {"layers/1/kernel": good, "layers/0/kernel": good})
    with pytest.raises(ValueError, match="embed/embedding"):
        sl.compress(model, {"embed/.*": specs.LowRank(rank=30)})
    with pytest.raises(ValueError, match="rnn/cell/dense_h/kernel"):
        sl.compress(model, {"lstm/.*": specs.LowRank(rank=3)})
    jax.tree.map(assert_array_equal, numbers(model), before)


def test_layers_that_are_many_are_left_out():
    layer = nnx.LinearGeneral(3, 4, batch_axis={0: 2}, rngs=nnx.Rngs(0))

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def stack(rngs):
        return nnx.Linear(3, 4, rngs=rngs)

    assert sl.nnx.kernels(nnx.List([layer, stack(nnx.Rngs(0))])) == {}


def test_pruning_and_dropout_take_an_nnx_model(model):
    small = sl.compress(model, {"rnn/.*_h/.*": specs.DopedKron(density=0.25, anneal=True)}).model
    targets = sl.train.targets(small)
    assert list(targets) == ["rnn/cell/dense_h/kernel/sparse/values"]
    pruning = sl.train.sparsify(optax.adamw(1e-2), targets, end=3, every=1)
    optimiser = nnx.Optimizer(small, pruning, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimiser, key):
        def dropped(model):
            return loss(sl.train.co_matrix_dropout(model, key, 0.2))

        optimiser.update(model, nnx.grad(dropped)(model))

    for key in jax.random.split(jax.random.key(0), 5):
        step(small, optimiser, key)
    values = small.rnn.cell.dense_h.kernel.terms[1].values[...]
    assert (values != 0).sum() == 64
    packed = sl.pack(small)
    assert_allclose(packed(TOKENS), small(TOKENS), atol=1e-5)
    assert packed.rnn.cell.dense_h.kernel.terms[1].values.shape == (2, 32)


def test_params_and_back(model, small, tmp_path):
    packed = sl.pack(small)
    for form in (model, small, packed):
        tree = sl.nnx.params(form)
        again = sl.nnx.with_params(model, tree)
        assert_array_equal(again(TOKENS), form(TOKENS))
    sl.save(tmp_path / "model.slin", tree)
    again = sl.nnx.with_params(small, sl.load(tmp_path / "model.slin"))
    assert_array_equal(again(TOKENS), packed(TOKENS))
    assert jax.tree.structure(sl.nnx.params(again)) == jax.tree.structure(tree)
    # A dense checkpoint goes into a structured model.
    assert_allclose(sl.nnx.with_params(packed, sl.nnx.params(model))(TOKENS), model(TOKENS))


def test_params_that_do_not_fit(model):
    tree = sl.nnx.params(model)
    with pytest.raises(KeyError, match="other/kernel"):
        sl.nnx.with_params(model, tree | {"other": {"kernel": jnp.ones(3)}})
    with pytest.raises(KeyError, match=r"lacks \['norm/bias', 'norm/scale'\]"):
        sl.nnx.with_params(model, {k: v for k, v in tree.items() if k != "norm"})
    with pytest.raises(ValueError, match=r"norm/bias is \(12,\)"):
        sl.nnx.with_params(model, tree | {"norm": {"bias": jnp.ones(3), "scale": jnp.ones(12)}})
    with pytest.raises(ValueError, match=r"embed/embedding is \(20, 12\)"):
        sl.nnx.with_params(model, tree | {"embed": {"embedding": jnp.ones((3, 12))}})
