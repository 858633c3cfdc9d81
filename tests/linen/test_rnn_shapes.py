"""`structlin.RNN` has the results of ``nn.RNN`` for inputs of every shape and dtype."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_allclose

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
LOW = specs.LowRank(rank=2)
DRAW = nn.initializers.lecun_normal()  # JAX draws no orthogonal matrix of half precision
CELLS = {
    "LSTM": nn.OptimizedLSTMCell(4, recurrent_kernel_init=DRAW),
    "GRU": nn.GRUCell(4, recurrent_kernel_init=DRAW),
    "structured": sl.GRUCell(4, input=LOW, recurrent=LOW),
    "projected": sl.ProjectedLSTMCell(4, projection=3, output=LOW),
    "coupled": sl.CoupledLSTMCell(4, recurrent=LOW),
    "fast": sl.FastGRNNCell(4),
    "SRU": sl.SRUCell(4),
    "QRNN": sl.QRNNCell(4, width=3),
}
SHAPES = ((1, 5), (0, 5), (2, 1, 5), (2, 0, 5), (0, 3, 5), (2, 0, 3, 5), (2, 2, 3, 5))
FIELDS = (
    {"return_carry": True},
    {"reverse": True, "keep_order": True, "return_carry": True},
    {"time_major": True, "return_carry": True},
)


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param]


@pytest.fixture
def shapes(cell):
    return jax.eval_shape(nn.RNN(cell).init, KEY, jnp.ones((2, 3, 5)))


def found(rnn, variables, x, fields):
    steps = jnp.moveaxis(x, -2, 0) if fields.get("time_major") else x
    return rnn.apply(variables, steps, **fields)


def test_shapes(cell, shapes):
    """No batch, one, two and empty ones; one step and none."""
    for shape in SHAPES:
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        for fields in FIELDS:
            ours, theirs = (
                jax.eval_shape(lambda v, x, r=r, f=fields: found(r(cell), v, x, f), shapes, x)
                for r in (sl.RNN, nn.RNN)
            )
            assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)


def test_values(cell, shapes):
    """Of two batch axes with lengths, and of one step in half precision."""
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(KEY, len(leaves))
    variables = tree.unflatten(
        [jax.random.normal(k, x.shape) / 2 for k, x in zip(keys, leaves, strict=True)]
    )
    x = jax.random.normal(KEY, (2, 2, 3, 5))
    lengths = {"seq_lengths": jnp.array([[1, 2], [3, 3]]), "reverse": True, "keep_order": True}
    half = jnp.float16 if len(leaves) % 2 else jnp.bfloat16
    cases = [(x, lengths, 1e-5), (x[0, :, :1].astype(half), FIELDS[0], 0.05)]

    @jax.jit
    def both(variables):
        every = []
        for x, fields, _ in cases:
            cast = jax.tree.map(lambda v, d=x.dtype: v.astype(d), variables)
            typed = cell.clone(param_dtype=x.dtype)
            every.append([found(r(typed), cast, x, fields) for r in (sl.RNN, nn.RNN)])
        return every

    for (ours, theirs), (*_, atol) in zip(both(variables), cases, strict=True):
        assert jax.tree.map(jnp.result_type, ours) == jax.tree.map(jnp.result_type, theirs)
        jax.tree.map(lambda a, b, t=atol: assert_allclose(a, b, atol=t, rtol=t), ours, theirs)
