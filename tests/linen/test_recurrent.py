"""`structlin.LSTMCell` and `structlin.RNN` against Flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs
from structlin.functional import lstm_sequence, lstm_step, lstm_weights

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 7, 12))
HIDDEN = 8
SIDES = {
    "both": (specs.LowRank(rank=2), specs.DopedKron(compression=2)),
    "recurrent": (None, specs.PerGate(specs.HMD(compression=2))),
    "input": (specs.Kron(), None),
}


@pytest.fixture(params=SIDES)
def cell(request):
    side, recurrent = SIDES[request.param]
    return sl.LSTMCell(HIDDEN, input=side, recurrent=recurrent)


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=atol), a, b)


def test_without_specs_it_is_flax_cell():
    theirs, ours = nn.RNN(nn.OptimizedLSTMCell(HIDDEN)), nn.RNN(sl.LSTMCell(HIDDEN))
    variables = theirs.init(KEY, X)
    jax.tree.map(assert_array_equal, ours.init(KEY, X), variables)
    assert_array_equal(ours.apply(variables, X), theirs.apply(variables, X))


def test_fields_are_flax_fields_in_order():
    for ours, theirs in ((sl.LSTMCell, nn.OptimizedLSTMCell), (sl.RNN, nn.RNN)):
        names = list(theirs.__dataclass_fields__)
        assert [n for n in ours.__dataclass_fields__ if n in names] == names


def test_equals_the_densified_cell(cell):
    run = jax.jit(nn.RNN(cell).apply)
    variables = nn.RNN(cell).init(KEY, X)
    expected = run(sl.densify(variables), X)
    plain = nn.RNN(sl.LSTMCell(HIDDEN))
    for form in (variables, sl.pack(variables)):
        assert_allclose(run(form, X), expected, atol=1e-5)
        assert_allclose(plain.apply(form, X), expected, atol=1e-5)
        assert_allclose(sl.RNN(cell).apply(form, X), expected, atol=1e-5)


def test_parameters_of_a_flax_cell_compressed_by_hand():
    """The per-gate tree of Flax with a matrix in every place is read as it is."""
    variables = nn.RNN(nn.OptimizedLSTMCell(HIDDEN)).init(KEY, X)
    fit = specs.LowRank(rank=8).fit
    cell = {
        name: {k: fit(v) if k == "kernel" else v for k, v in gate.items()}
        for name, gate in variables["params"]["cell"].items()
    }
    expected = nn.RNN(nn.OptimizedLSTMCell(HIDDEN)).apply(variables, X)
    for run in (nn.RNN, sl.RNN):
        assert_allclose(
            run(sl.LSTMCell(HIDDEN)).apply({"params": {"cell": cell}}, X), expected, atol=1e-5
        )


@pytest.mark.parametrize("packed", [False, True])
def test_gradient_of_the_hoisted_scan_is_that_of_the_plain_one(cell, packed):
    variables = nn.RNN(cell).init(KEY, X)
    trainable, fixed = sl.partition(sl.pack(variables) if packed else variables)

    def loss(rnn):
        def f(trainable, x):
            (c, h), y = rnn(cell).apply(sl.combine(trainable, fixed), x, return_carry=True)
            return (y**2).sum() + c.sum() + (h**3).sum()

        return jax.grad(f, argnums=(0, 1))(trainable, X)

    close(loss(sl.RNN), loss(nn.RNN))


def test_rnn_has_the_results_of_flax_rnn():
    cell = nn.OptimizedLSTMCell(HIDDEN)
    variables = nn.RNN(cell).init(KEY, X)
    carry = tuple(jax.random.normal(k, (3, HIDDEN)) for k in jax.random.split(KEY))
    lengths = jnp.array([7, 2, 5])
    cases = (
        {},
        {"return_carry": True},
        {"initial_carry": carry, "return_carry": True},
        {"time_major": True},
        {"reverse": True},
        {"reverse": True, "keep_order": True},
        {"seq_lengths": lengths, "return_carry": True},
        {"init_key": jax.random.key(3)},
    )
    for kwargs in cases:
        x = X.swapaxes(0, 1) if kwargs.get("time_major") else X
        close(
            sl.RNN(cell).apply(variables, x, **kwargs),
            nn.RNN(cell).apply(variables, x, **kwargs),
            1e-6,
        )
    single = X[0]
    close(sl.RNN(cell).apply(variables, single), nn.RNN(cell).apply(variables, single), 1e-6)


def test_rnn_runs_other_cells_as_flax_does():
    cell = nn.GRUCell(HIDDEN)
    variables = nn.RNN(cell).init(KEY, X)
    assert_array_equal(sl.RNN(cell).apply(variables, X), nn.RNN(cell).apply(variables, X))

    class Louder(nn.OptimizedLSTMCell):
        @nn.compact
        def __call__(self, carry, inputs):
            carry, y = super().__call__(carry, inputs)
            return carry, 2 * y

    variables = nn.RNN(Louder(HIDDEN)).init(KEY, X)
    assert_array_equal(
        sl.RNN(Louder(HIDDEN)).apply(variables, X), nn.RNN(Louder(HIDDEN)).apply(variables, X)
    )


def test_rnn_inside_compact_and_setup_modules():
    class Compact(nn.Module):
        @nn.compact
        def __call__(self, x):
            return sl.RNN(sl.LSTMCell(HIDDEN, recurrent=specs.Kron()))(x)

    class Setup(nn.Module):
        def setup(self):
            self.rnn = sl.RNN(sl.LSTMCell(HIDDEN, recurrent=specs.Kron()))

        def __call__(self, x):
            return self.rnn(x)

    for model in (Compact(), Setup()):
        variables = model.init(KEY, X)
        out = jax.jit(model.apply)(variables, X)
        params = jax.tree.leaves(variables, is_leaf=lambda n: isinstance(n, dict) and "h" in n)[0]
        carry = (jnp.zeros((3, HIDDEN)),) * 2
        _, expected = lstm_sequence(lstm_weights(params), carry, X.swapaxes(0, 1))
        assert_allclose(out, expected.swapaxes(0, 1), atol=1e-6)


def test_sequence_is_the_step_scanned():
    variables = nn.RNN(sl.LSTMCell(HIDDEN, recurrent=specs.LowRank(rank=3))).init(KEY, X)
    weights = lstm_weights(variables["params"]["cell"])
    carry = (jnp.ones(HIDDEN), jnp.zeros(HIDDEN))
    gates = {"gate_fn": nn.hard_sigmoid, "activation_fn": nn.relu}
    last, outputs = lstm_sequence(weights, carry, X[0], **gates)
    for x, expected in zip(X[0], outputs, strict=True):
        carry, y = lstm_step(weights, carry, x, **gates)
        assert_allclose(y, expected, atol=1e-6)
    close(carry, last, 1e-6)


def test_bfloat16_and_bad_shapes(cell):
    variables = nn.RNN(cell).init(KEY, X)
    half = cell.clone(dtype=jnp.bfloat16)
    expected = nn.RNN(half).apply(sl.densify(variables), X)
    assert sl.RNN(half).apply(variables, X).dtype == expected.dtype
    with pytest.raises(ValueError, match="kernel holds"):
        nn.RNN(cell).apply(variables, X[..., :6])
    with pytest.raises(KeyError, match="'hi/bias'"):
        lstm_weights({"ii": {"kernel": X}})
