"""What does not fit raises, and says where, what was found and what is needed."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_array_equal

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
X = jnp.ones((2, 3, 5))
LOW = specs.LowRank(rank=2)


class Model(nn.Module):
    """Some layer, which has a path here."""

    layer: nn.Module

    def __call__(self, x):
        return self.layer(x)


def rnn(cell):
    return Model(sl.RNN(cell))


def drawn(model):
    """Parameters without the cost of drawing them."""
    shapes = jax.eval_shape(model.init, KEY, X)["params"]
    return jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)


def edited(params, path, change):
    """The same tree with another value at a path; ``None`` takes it out."""
    name, *rest = path.split("/")
    if rest:
        return {**params, name: edited(params[name], "/".join(rest), change)}
    value = None if change is None else change(params[name])
    others = {k: v for k, v in params.items() if k != name}
    return others if value is None else others | {name: value}


def first(bias):
    return bias[:1]


def raises(model, params, x, *words):
    with pytest.raises((KeyError, ValueError)) as caught:
        model.apply({"params": params}, x)
    for word in words:
        assert re.search(word, str(caught.value)), (word, str(caught.value))


CELL = "layer/cell/"
CELLS = {
    "LSTM": (nn.OptimizedLSTMCell(4), "ii/kernel", r"\(6, 4\)", "hi/bias", r"\(4,\)"),
    "plain LSTM": (nn.LSTMCell(4), "ii/kernel", r"\(6, 4\)", "hi/bias", r"\(4,\)"),
    "GRU": (nn.GRUCell(4), "ir/kernel", r"\(6, 4\)", "hn/bias", r"\(4,\)"),
    "structured": (
        sl.GRUCell(4, input=LOW, recurrent=LOW),
        "i/kernel holds LowRank",
        r"\(6, 12\)",
        "h/bias",
        r"\(4,\)",
    ),
    "projected": (
        sl.ProjectedLSTMCell(4, projection=3),
        "i/kernel",
        r"\(6, 16\)",
        "peephole/f",
        r"\(4,\)",
    ),
    "fast": (sl.FastGRNNCell(4), "i/kernel", r"\(6, 4\)", "gate/bias", r"\(4,\)"),
    "SRU": (sl.SRUCell(4), "i/kernel", r"\(6, 16\)", "memory/r", r"\(4,\)"),
    "SRU, as wide": (sl.SRUCell(5), "i/kernel", r"\(6, 20\)", "i/bias", r"\(10,\)"),
    "QRNN": (sl.QRNNCell(4, width=3), "i/kernel", r"\(18, 12\)", "i/bias", r"\(12,\)"),
}


@pytest.mark.parametrize("name", CELLS)
def test_the_hoisting_scan_names_what_does_not_fit(name):
    """Inputs or features of another size, a vector that would broadcast, a missing weight."""
    cell, kernel, needed, vector, size = CELLS[name]
    params = drawn(rnn(cell))
    kept = jax.tree.map(jnp.array, params)
    raises(rnn(cell), params, jnp.ones((2, 3, 6)), CELL + kernel, needed, "6 features")
    raises(rnn(cell.clone(features=7)), params, X, CELL + kernel.split(" ")[0], "carry of 7")
    broken = edited(params, CELL + vector, first)
    raises(rnn(cell), broken, X, f"{CELL}{vector} holds an array of shape .1,.*needs {size}")
    raises(rnn(cell), edited(params, CELL + vector, None), X, CELL[:-1], vector)
    raises(rnn(cell), {}, X, CELL[:-1])
    jax.tree.map(assert_array_equal, params, kept)


def test_without_steps_there_is_no_last_carry():
    cell = nn.GRUCell(4)
    params = {"params": drawn(nn.RNN(cell))}
    carry, y = sl.RNN(cell, return_carry=True).apply(params, X[:, :0])
    assert y.shape == (2, 0, 4)
    assert (carry == 0).all()
    with pytest.raises(ValueError, match=r"\(2, 0, 5\), which have no steps"):
        sl.RNN(cell, return_carry=True).apply(params, X[:, :0], seq_lengths=jnp.zeros(2, int))


LAYERS = {
    "dense": (nn.Dense(4), LOW, "layer/kernel holds LowRank.*shape .5, 4.*needs .6, 4."),
    "general": (
        nn.DenseGeneral((2, 2)),
        LOW,
        "layer/kernel holds LowRank.*shape .5, 4.*needs .6, 4.",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_unmodified_model_names_the_layer(name):
    layer, spec, words = LAYERS[name]
    model = Model(layer)
    params = sl.compress(drawn(model), {".*/kernel": spec}).params
    run = sl.Structured(model)
    raises(run, params, jnp.ones((2, 3, 6)), words)
    bias = "layer/bias"
    raises(run, edited(params, bias, first), X, f"{bias} holds an array of shape .1,.*needs")
    raises(run, edited(params, bias, None), X, f"{bias} holds nothing")
    other = Model(layer.clone(promote_dtype=lambda *x, dtype: x))
    raises(sl.Structured(other), params, X, "layer has promote_dtype=")


def test_fused_gates_of_another_size_are_named():
    model = Model(nn.RNN(nn.GRUCell(4)))
    params = drawn(model)
    small = sl.compress(params, {".*/[ih]/kernel": LOW}, fuse=True).params
    path = CELL + "h/bias"
    raises(sl.Structured(model), edited(small, path, first), X, f"{path} holds an array of.*4,")
    raises(sl.Structured(model), small, jnp.ones((2, 3, 6)), CELL + r"i/kernel.*\(6, 12\)")
    raises(sl.Structured(model), edited(small, CELL + "h", None), X, f"{CELL[:-1]}: GRU needs")


OURS = {
    "rank": (sl.LowRank(4, rank=9), "layer/kernel, 5 x 4,.*LowRank.*rank"),
    "circulant": (sl.Circulant(4), "layer/kernel, 5 x 4,.*Circulant"),
    "precision": (sl.LowRank(4, rank=2, precision=("high", "low")), "layer: .*one precision"),
    "dot_general": (
        sl.LowRank(4, rank=2, dot_general=jax.lax.dot_general),
        "layer was given",
    ),
    "cell": (
        sl.RNN(sl.LSTMCell(4, recurrent=specs.LowRank(rank=9))),
        "layer/cell/h/kernel, 4 x 16,.*LowRank",
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_a_spec_or_field_that_cannot_be_names_the_layer(name):
    layer, words = OURS[name]
    with pytest.raises(ValueError, match=words):
        Model(layer).init(KEY, X)
