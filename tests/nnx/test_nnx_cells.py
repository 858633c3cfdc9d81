"""The cells and the scan of `structlin.nnx` against Flax's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from densified import assert_gradient_is_that_of_the_densified
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs

X = jax.random.normal(jax.random.key(1), (3, 5, 12))
LENGTHS = jnp.array([5, 2, 4])
CELLS = {
    "lstm": (sl.nnx.LSTMCell, nnx.OptimizedLSTMCell),
    "gru": (sl.nnx.GRUCell, nnx.GRUCell),
    "simple": (sl.nnx.SimpleCell, nnx.SimpleCell),
}
SIDES = {
    "both": {"input": specs.LowRank(rank=2), "recurrent": specs.DopedKron(density=0.25)},
    "recurrent": {"recurrent": specs.Kron()},
    "input": {"input": specs.LowRank(rank=2)},
}


@pytest.fixture(params=CELLS)
def pair(request):
    return CELLS[request.param]


@pytest.fixture(params=SIDES)
def cell(request, pair):
    return pair[0](12, 8, rngs=nnx.Rngs(0), **SIDES[request.param])


def loss(rnn):
    return (rnn(X) ** 2).sum()


def test_without_specs_it_is_flax_cell(pair):
    ours, theirs = (kind(12, 8, rngs=nnx.Rngs(0)) for kind in pair)
    jax.tree.map(
        assert_array_equal, nnx.to_pure_dict(nnx.state(ours)), nnx.to_pure_dict(nnx.state(theirs))
    )
    assert_array_equal(nnx.RNN(ours)(X), nnx.RNN(theirs)(X))


@nnx.jit
def both_scans(cell):
    return nnx.RNN(cell)(X), sl.nnx.RNN(cell)(X)


def test_equals_the_densified_cell_forward_and_gradient(cell):
    expected, _ = both_scans(sl.densify(cell))
    packed = sl.pack(cell)
    for form in (
        [cell] if jax.tree.structure(packed) == jax.tree.structure(cell) else [cell, packed]
    ):
        for found in both_scans(form):
            assert_allclose(found, expected, atol=1e-5)
        assert_gradient_is_that_of_the_densified(loss, sl.nnx.RNN(form))


def test_a_side_without_a_spec_is_dense(pair):
    cell = pair[0](12, 8, rngs=nnx.Rngs(0), recurrent=specs.Kron())
    assert isinstance(cell.dense_i.kernel, nnx.Param)
    assert isinstance(cell.dense_h.kernel, sl.matrices.Kronecker)
    assert isinstance(cell.dense_h, sl.nnx.Linear)
    with pytest.raises(ValueError, match="promote_dtype"):
        pair[0](12, 8, rngs=nnx.Rngs(0), input=specs.Kron(), promote_dtype=lambda x, **_: x)


FIELDS = {
    "plain": ({}, {}),
    "time major": ({"time_major": True}, {}),
    "reverse": ({"reverse": True}, {}),
    "reverse, lengths": ({"reverse": True, "keep_order": True}, {"seq_lengths": LENGTHS}),
    "lengths": ({}, {"seq_lengths": LENGTHS}),
    "unroll": ({"unroll": 2}, {}),
}


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize(
    "kind", [*CELLS.values(), (nnx.LSTMCell,)], ids=lambda kinds: kinds[0].__name__
)
def test_hoisting_rnn_is_flax_rnn(kind, fields):
    made, called = FIELDS[fields]
    cell = kind[-1](12, 8, rngs=nnx.Rngs(0))
    x = X.swapaxes(0, 1) if made.get("time_major") else X
    carry = fields != "lengths"
    ours, theirs = (
        rnn(cell, return_carry=carry, **made)(x, **called) for rnn in (sl.nnx.RNN, nnx.RNN)
    )
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-5), ours, theirs)


def test_hoisting_rnn_computes_the_inputs_before_the_scan(pair):
    cell = pair[0](12, 8, rngs=nnx.Rngs(0), input=specs.LowRank(rank=2))
    carry = cell.initialize_carry((3, 12), nnx.Rngs(0))
    program = jax.make_jaxpr(lambda x: sl.nnx.RNN(cell)(x, initial_carry=carry))(X)
    loops = [e for e in _equations(program.jaxpr) if e.primitive.name == "scan"]
    assert [str(e.params["jaxpr"]).count("dot_general") for e in loops] == [1]


def _equations(jaxpr):
    """The equations of a program, and of the functions in it but loops."""
    for e in jaxpr.eqns:
        yield e
        inner = [v.jaxpr for v in e.params.values() if hasattr(v, "jaxpr")]
        if e.primitive.name != "scan":
            for j in inner:
                yield from _equations(j)


def test_hoisting_rnn_leaves_other_cells_alone(pair):
    class Twice(pair[1]):
        def __call__(self, carry, inputs):
            return super().__call__(carry, 2 * inputs)

    cell = Twice(12, 8, rngs=nnx.Rngs(0))
    assert_array_equal(sl.nnx.RNN(cell)(X), nnx.RNN(cell)(X))
    cell = pair[1](12, 8, rngs=nnx.Rngs(0))
    cell.dense_i = nnx.Sequential(cell.dense_i, jnp.tanh)
    assert_array_equal(sl.nnx.RNN(cell)(X), nnx.RNN(cell)(X))


def test_initial_carry_and_stochastic_carry(pair):
    cell = pair[0](12, 8, rngs=nnx.Rngs(0), recurrent=specs.Kron())
    draw = functools.partial(cell.initialize_carry, carry_init=nnx.initializers.normal(1.0))
    carry = draw((3, 12), nnx.Rngs(1))
    ours, theirs = (kind(cell)(X, initial_carry=carry) for kind in (sl.nnx.RNN, nnx.RNN))
    assert_allclose(ours, theirs, atol=1e-5)


def test_bidirectional(pair):
    cells = [pair[0](12, 8, rngs=nnx.Rngs(i), recurrent=specs.LowRank(rank=2)) for i in (0, 1)]
    ours, theirs = (
        nnx.Bidirectional(*map(kind, cells))(X, seq_lengths=LENGTHS)
        for kind in (sl.nnx.RNN, nnx.RNN)
    )
    assert ours.shape == (3, 5, 16)
    assert_allclose(ours, theirs, atol=1e-5)


LOW = specs.LowRank(rank=2)
COMPACT = {
    "MGU": lambda **own: sl.nnx.MGUCell(12, 8, **own),
    "MGU without reset": lambda **own: sl.nnx.MGUCell(12, 8, reset_gate=False, **own),
    "coupled": lambda **own: sl.nnx.CoupledLSTMCell(12, 8, **own),
    "projected": lambda **own: sl.nnx.ProjectedLSTMCell(12, 8, projection=6, output=LOW, **own),
    "peepholes": lambda **own: sl.nnx.ProjectedLSTMCell(12, 8, **own),
    "fast": lambda **own: sl.nnx.FastGRNNCell(12, 8, **own),
    "SRU": lambda **own: sl.nnx.SRUCell(12, 8, **own),
    "SRU with highway": lambda **own: sl.nnx.SRUCell(12, 12, **own),
    "QRNN": lambda **own: sl.nnx.QRNNCell(12, 8, width=3, **own),
}


@pytest.mark.parametrize("name", COMPACT)
def test_compact_cell_equals_the_densified_one(name):
    cell = COMPACT[name](
        input=LOW, recurrent=LOW, bias_init=nnx.initializers.normal(1.0), rngs=nnx.Rngs(0)
    )
    expected, _ = both_scans(sl.densify(cell))
    for found in both_scans(cell):
        assert_allclose(found, expected, atol=1e-5)
    assert_gradient_is_that_of_the_densified(loss, sl.nnx.RNN(cell))
    with pytest.raises(ValueError, match="rngs="):
        cell.initialize_carry((3, 12))


@pytest.mark.parametrize("reset", [False, True])
def test_mgu_is_that_of_linen(reset):
    cell = sl.nnx.MGUCell(12, 8, reset_gate=reset, rngs=nnx.Rngs(0))
    kernels = {"i": cell.dense_i.kernel[...], "h": cell.dense_h.kernel[...]}
    params = {
        side + gate: {"kernel": kernel[:, 8 * k : 8 * k + 8]}
        for side, kernel in kernels.items()
        for k, gate in enumerate("fn")
    }
    cell.bias[...] = jax.random.normal(jax.random.key(2), (16,))
    for k, gate in enumerate("fn"):
        params["i" + gate]["bias"] = cell.bias[8 * k : 8 * k + 8]
    if reset:
        cell.recurrent_bias[...] = params["hn"]["bias"] = jnp.arange(8.0)
    theirs = nn.RNN(nn.MGUCell(8, reset_gate=reset, name="cell"))
    found = theirs.apply({"params": {"cell": params}}, X)
    assert_allclose(sl.nnx.RNN(cell)(X), found, atol=1e-5)
