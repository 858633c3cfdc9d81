"""The cells of the literature on small models: by definition, structured and hoisted."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles_cells import ORACLES

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 4, 5))
H = 6
LOW = specs.LowRank(rank=2)
CELLS = {
    "projected": sl.ProjectedLSTMCell(H, projection=3),
    "peepholes": sl.ProjectedLSTMCell(H),
    "projection only": sl.ProjectedLSTMCell(H, projection=3, peephole=False),
    "coupled": sl.CoupledLSTMCell(H),
    "fast": sl.FastGRNNCell(H),
    "sru": sl.SRUCell(H),
    "sru, as wide": sl.SRUCell(5),
    "qrnn": sl.QRNNCell(H),
    "qrnn, wider": sl.QRNNCell(H, width=3),
}


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param]


def jitter(variables):
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(KEY, len(leaves))

    def noisy(x, k):  # a pruned entry stays zero
        return jnp.where((x != 0) | (x.ndim < 2), x + 0.3 * jax.random.normal(k, x.shape), x)

    return jax.tree.unflatten(tree, map(noisy, leaves, keys))


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=atol, rtol=1e-4), a, b)


def test_by_definition(cell):
    variables = jitter(nn.RNN(cell).init(KEY, X))
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), variables["params"]["cell"])
    found = jax.jit(nn.RNN(cell, return_carry=True).apply)(variables, X)
    hoisted = jax.jit(sl.RNN(cell, return_carry=True).apply)(variables, X)
    start = cell.initialize_carry(KEY, X[:, 0].shape)
    for row in range(len(X)):
        carry = jax.tree.map(lambda c, r=row: np.asarray(c[r], np.float64), start)
        outputs = []
        for x in np.asarray(X[row], np.float64):
            carry, y = ORACLES[type(cell).__name__](params, carry, x)
            outputs.append(y)
        for last, ys in (found, hoisted):
            assert_allclose(ys[row], outputs, atol=1e-5)
            close(jax.tree.map(lambda c, r=row: c[r], last), carry)


def test_structured_kernels_equal_their_dense_forms(cell):
    fields = {"input": LOW, "recurrent": specs.Doped(specs.LowRank(rank=1), density=0.3)}
    if getattr(cell, "projection", None):
        fields["output"] = LOW
    structured = cell.clone(**fields)
    variables = jitter(nn.RNN(structured).init(KEY, X))
    for tree in (variables, sl.pack(variables)):
        trainable, fixed = sl.partition(tree)

        def loss(run, densify, trainable, fixed=fixed):
            tree = sl.combine(trainable, fixed)
            lengths = {"seq_lengths": jnp.array([4, 2]), "return_carry": True}
            carry, y = run.apply(sl.densify(tree) if densify else tree, X, **lengths)
            return (y**2).sum() + sum((c**3).sum() for c in jax.tree.leaves(carry))

        runs = [(nn.RNN(cell), True), (sl.RNN(structured), False)]
        runs += [(nn.RNN(structured), False)] if tree is variables else []
        every = [jax.value_and_grad(functools.partial(loss, *r)) for r in runs]
        expected, *found = jax.jit(lambda t, every=every: [f(t) for f in every])(trainable)
        for one in found:
            close(one, expected, 1e-4)


def test_parts_that_the_cell_has_not_are_not_used():
    """A cell without peepholes on parameters with some, in both scans."""
    variables = jitter(nn.RNN(CELLS["projected"]).init(KEY, X))
    plain = CELLS["projection only"]
    ours, theirs = (rnn(plain).apply(variables, X) for rnn in (sl.RNN, nn.RNN))
    assert_allclose(ours, theirs, atol=1e-5)
    assert abs(ours - sl.RNN(CELLS["projected"]).apply(variables, X)).max() > 1e-3


def test_sizes():
    """What each saves beside an LSTM of the same width."""

    def size(cell):
        return sum(x.size for x in jax.tree.leaves(nn.RNN(cell).init(KEY, X)))

    lstm = size(sl.LSTMCell(H))
    assert size(CELLS["peepholes"]) == lstm + 3 * H
    assert size(CELLS["coupled"]) * 4 == lstm * 3
    assert size(CELLS["fast"]) == 5 * H + H * H + 2 * H + 2
    assert size(CELLS["projection only"]) == 4 * H * (5 + 3 + 1) + 3 * H
    assert size(CELLS["qrnn, wider"]) == 3 * H * (3 * 5 + 1)
    assert size(CELLS["sru, as wide"]) == 3 * 5 * 5 + 4 * 5


def test_fields_are_those_of_the_lstm_first():
    theirs = list(nn.OptimizedLSTMCell.__dataclass_fields__)
    for cell in CELLS.values():
        assert [n for n in cell.__dataclass_fields__ if n in theirs] == theirs
