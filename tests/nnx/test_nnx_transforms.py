"""The cells of `structlin.nnx` under the transformations of NNX, and what does not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs

X = jax.random.normal(jax.random.key(1), (2, 3, 6))
LOW, DOPED = specs.LowRank(rank=2), specs.DopedKron(density=0.25)
CELLS = {
    kind.__name__: kind
    for kind in (
        *(sl.nnx.LSTMCell, sl.nnx.GRUCell, sl.nnx.SimpleCell, sl.nnx.MGUCell, sl.nnx.QRNNCell),
        *(sl.nnx.CoupledLSTMCell, sl.nnx.ProjectedLSTMCell, sl.nnx.FastGRNNCell, sl.nnx.SRUCell),
    )
}


def made(kind, rngs):
    return sl.nnx.RNN(kind(6, 6, rngs=rngs, input=LOW, recurrent=DOPED))


@pytest.mark.parametrize("name", CELLS)
def test_split_clone_and_abstract_construction(name):
    model = made(CELLS[name], nnx.Rngs(0))
    graph, state = nnx.split(model)
    abstract = nnx.eval_shape(lambda: made(CELLS[name], nnx.Rngs(0)))
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), nnx.state(m)) for m in (abstract, model)]
    assert shapes[0] == shapes[1]
    carry = model.cell.initialize_carry((2, 6), nnx.Rngs(0))
    form, _ = nnx.split(abstract)
    run = jax.jit(lambda *s: [nnx.merge(g, s[0])(X, initial_carry=carry) for g in (graph, form)])
    one, two = run(state)
    assert_array_equal(one, two)
    assert_allclose(nnx.clone(model)(X, initial_carry=carry), one, atol=1e-5)


@pytest.mark.parametrize("name", ["GRUCell", "QRNNCell"])
def test_layers_of_a_stack_train_by_vmap_and_scan(name):
    @nnx.split_rngs(splits=2)
    @nnx.vmap(in_axes=0, out_axes=0)
    def stack(rngs):
        return made(CELLS[name], rngs)

    layers = stack(nnx.Rngs(0))
    graph, state = nnx.split(layers)
    carry = nnx.merge(graph, jax.tree.map(lambda x: x[0], state)).cell
    carry = carry.initialize_carry((2, 6), nnx.Rngs(0))

    def forward(layers, x):
        def body(x, layer):
            return nnx.remat(lambda m, x: m(x, initial_carry=carry))(layer, x)

        return nnx.scan(body, in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, layers)

    @jax.jit
    def by_layer(state):
        x = X
        for i in range(2):
            layer = nnx.merge(graph, jax.tree.map(lambda x, i=i: x[i], state))
            x = layer(x, initial_carry=carry)
        return x

    assert_allclose(nnx.jit(forward)(layers, X), by_layer(state), atol=1e-5)
    optimiser = nnx.Optimizer(layers, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(layers, optimiser):
        value, grads = nnx.value_and_grad(lambda m: (forward(m, X) ** 2).mean())(layers)
        optimiser.update(layers, grads)
        return value

    first = step(layers, optimiser)
    assert step(layers, optimiser) < first


@pytest.mark.parametrize("axis", [(1, -1), (-1, 1), (3, 0), (2, 1, -1)])
def test_axes_of_a_general_layer_go_in_ascending_order_as_in_flax(axis):
    x = jax.random.normal(jax.random.key(1), (2, 3, 4, 3))
    sizes = tuple(x.shape[a] for a in sorted(a % 4 for a in axis))
    layer = nnx.LinearGeneral(sizes, (2, 5), axis=axis, rngs=nnx.Rngs(0))
    kernel = specs.Sparse(density=1.0).fit(sl.nnx.kernels(layer)["kernel"])
    assert_allclose(sl.nnx.with_kernels(layer, {"kernel": kernel})(x), layer(x), atol=1e-5)


@pytest.mark.parametrize("kind", [nnx.OptimizedLSTMCell, *CELLS.values()], ids=lambda k: k.__name__)
def test_inputs_of_another_width_are_named(kind):
    rnn = sl.nnx.RNN(kind(6, 4, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=rf"{kind.__name__} .*in_features=6; .*\(2, 3, 7\)"):
        rnn(jnp.ones((2, 3, 7)))


def test_dtypes_of_every_combination_are_those_of_flax():
    kinds, fitted = (jnp.float32, jnp.bfloat16, jnp.float16), LOW.fit(jnp.ones((6, 4)))
    for dtype in (None, *kinds):
        for param in kinds:
            fields = {"dtype": dtype, "param_dtype": param, "rngs": nnx.Rngs(0)}
            fields["kernel_init"] = nnx.initializers.ones
            layers = nnx.Linear(6, 4, **fields), nnx.LinearGeneral(6, (2, 2), **fields)
            low = fitted.astype(param)
            for layer in layers:
                small = sl.nnx.with_kernels(layer, {"kernel": low})
                for kind in (*kinds, jnp.int32):
                    x = np.ones((3, 6), kind)
                    found, want = (jax.eval_shape(m, x).dtype for m in (small, layer))
                    assert found == want, (dtype, param, kind)
