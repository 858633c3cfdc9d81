"""Parameters and modules between Linen and NNX."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 5, 12))
PAIRS = {
    "lstm": (nn.OptimizedLSTMCell, nnx.OptimizedLSTMCell),
    "gru": (nn.GRUCell, nnx.GRUCell),
    "simple": (nn.SimpleCell, nnx.SimpleCell),
}


@pytest.fixture(params=PAIRS)
def models(request):
    linen, other = PAIRS[request.param]
    linen = nn.RNN(linen(8, name="cell"))
    return linen, nnx.RNN(other(12, 8, rngs=nnx.Rngs(1)))


def drawn(linen):
    """Parameters without a zero in them, but for the bias that NNX's GRU has not."""
    params = linen.init(KEY, X)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(KEY, len(leaves))
    made = tree.unflatten(
        [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )
    if "hn" in made["cell"]:
        made["cell"]["hn"]["bias"] = jnp.zeros(8)
    return made


def test_params_of_linen_run_in_nnx_and_come_back(models):
    linen, model = models
    params = drawn(linen)
    model = sl.nnx.with_params(model, sl.nnx.to_nnx(params))
    assert_allclose(model(X), linen.apply({"params": params}, X), atol=1e-5)
    back = sl.nnx.from_nnx(sl.nnx.params(model))
    jax.tree.map(assert_array_equal, back, params)


@pytest.mark.parametrize(
    ("cell", "theirs"),
    [
        (sl.LSTMCell, nnx.OptimizedLSTMCell),
        (sl.GRUCell, nnx.GRUCell),
        (sl.SimpleCell, nnx.SimpleCell),
    ],
)
def test_structured_cell_between_both(cell, theirs):
    linen = sl.RNN(cell(8, input=specs.LowRank(rank=2), recurrent=specs.Kron(), name="cell"))
    params = linen.init(KEY, X)["params"]
    model = nnx.RNN(theirs(12, 8, rngs=nnx.Rngs(1)))
    for tree in (params, sl.pack(params)):
        small = sl.nnx.with_params(model, sl.nnx.to_nnx(tree))
        assert_allclose(small(X), linen.apply({"params": tree}, X), atol=1e-5)
        jax.tree.map(assert_array_equal, sl.nnx.from_nnx(sl.nnx.params(small)), tree)


def test_gates_with_a_matrix_each_come_to_stand_side_by_side():
    params = drawn(nn.RNN(nn.OptimizedLSTMCell(8, name="cell")))
    fit = specs.LowRank(rank=8).fit
    cell = {n: {**g, "kernel": fit(g["kernel"])} for n, g in params["cell"].items()}
    model = nnx.RNN(nnx.OptimizedLSTMCell(12, 8, rngs=nnx.Rngs(1)))
    small = sl.nnx.with_params(model, sl.nnx.to_nnx({"cell": cell}))
    dense = sl.nnx.with_params(model, sl.nnx.to_nnx(params))
    assert_allclose(small(X), dense(X), atol=1e-4)


def test_nnx_cell_by_gate():
    cell = nnx.LSTMCell(12, 8, rngs=nnx.Rngs(0))
    params = sl.nnx.from_nnx(sl.nnx.params(nnx.RNN(cell)))
    found = nn.RNN(nn.OptimizedLSTMCell(8, name="cell")).apply({"params": params}, X)
    assert_allclose(found, nnx.RNN(cell)(X), atol=1e-5)


def test_a_gru_with_the_bias_that_nnx_lacks_is_refused():
    params = drawn(nn.RNN(nn.GRUCell(8, name="cell")))
    params["cell"]["hn"]["bias"] = jnp.ones(8)
    with pytest.raises(ValueError, match="hn/bias"):
        sl.nnx.to_nnx(params)


def test_other_layers_pass_through():
    tree = {"out": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}, "scale": jnp.ones(4)}
    for function in (sl.nnx.to_nnx, sl.nnx.from_nnx):
        jax.tree.map(assert_array_equal, function(tree), tree)


def test_bridge_to_linen():
    linen = nnx.bridge.ToLinen(
        sl.nnx.Linear, args=(12, 20), kwargs={"spec": specs.DopedKron(density=0.25)}
    )
    variables = linen.init(KEY, X)
    assert set(variables["params"]["kernel"]) == {"kronecker", "sparse"}
    found = linen.apply(variables, X)
    assert found.shape == (3, 5, 20)
    grads = jax.grad(lambda v: (linen.apply(v, X) ** 2).sum())(variables)
    assert all((g != 0).any() for g in jax.tree.leaves(grads))


def test_bridge_to_linen_in_a_recurrent_layer():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            fields = {"recurrent": specs.Kron()}
            cell = sl.nnx.LSTMCell
            return nnx.bridge.ToLinen(_rnn, args=(cell,), kwargs=fields)(x)

    def _rnn(cell, *, rngs, **fields):
        return sl.nnx.RNN(cell(12, 8, rngs=rngs, **fields))

    variables = Model().init(KEY, X)
    assert Model().apply(variables, X).shape == (3, 5, 8)


@pytest.mark.parametrize("layer", [sl.LowRank(20, rank=2), sl.DopedKron(20, density=0.25)])
def test_bridge_to_nnx(layer):
    model: Any = nnx.bridge.ToNNX(layer, rngs=nnx.Rngs(0)).lazy_init(X)
    expected = layer.apply(
        {"params": {"kernel": model.kernel.get_value(), "bias": model.bias[...]}}, X
    )
    assert_allclose(model(X), expected, atol=1e-6)
    model = sl.nnx.ToNNX(layer, rngs=nnx.Rngs(0)).lazy_init(X)
    assert_allclose(model(X), expected, atol=1e-6)
    optimiser = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimiser):
        value, grads = nnx.value_and_grad(lambda m: (m(X) ** 2).sum())(model)
        optimiser.update(model, grads)
        return value

    first = step(model, optimiser)
    assert step(model, optimiser) < first


def test_bridge_to_nnx_keeps_what_a_module_writes():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.BatchNorm(use_running_average=False)(sl.LowRank(4, rank=2, name="low")(x))

    model = sl.nnx.ToNNX(Model(), rngs=nnx.Rngs(0)).lazy_init(X)
    before = model.BatchNorm_0["mean"][...]
    model(X, mutable=["batch_stats"])
    assert (model.BatchNorm_0["mean"][...] != before).any()
    assert isinstance(model.low["kernel"].left, nnx.Param)
