"""Networks on projections: their sizes, empty texts, padding, export from raw bytes."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import structlin as sl
from structlin.networks import (
    PQRNN,
    PRADO,
    SGNN,
    ProjectionCNN,
    ProjectionNet,
    ProjectionRNN,
    SGNNPlusPlus,
)
from structlin.networks._sequences import pooled, ternary_words
from structlin.text import Grams, TextProjection, encode

KEY = jax.random.key(0)
WORDS = ternary_words(8, limit=4)
LOW = sl.specs.LowRank(rank=2)
CELL = functools.partial(sl.LSTMCell, recurrent=LOW)
BLOCKS = (
    TextProjection(Grams("words", (1,)), 6),
    TextProjection(Grams("characters", (2,)), 6, seed=1),
)
NETWORKS = {
    "SGNN": SGNN(3, BLOCKS[1], (8, 8), LOW),
    "SGNN++": SGNNPlusPlus(3, BLOCKS, 4, (5,)),
    "PRADO": PRADO(3, WORDS, 5, 4, (1, 2)),
    "RNN": ProjectionRNN(3, WORDS, CELL, 4, embed=4),
    "pQRNN": PQRNN(3, WORDS, features=4, embed=4),
}
TEXTS = ["show me flights", "", "a b c d e f"]


def size(params):
    return sum(x.size for x in jax.tree.leaves(params))


def initial(model, *inputs):
    """The shapes of a network's parameters."""
    return jax.eval_shape(model.init, KEY, *inputs)


def drawn(rng, model, *inputs):
    """Random parameters, without compiling how they are drawn."""
    shapes = initial(model, *inputs)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), shapes)


@pytest.mark.parametrize(
    ("functions", "bits", "hidden", "count"),
    [
        (8, 10, (), 810),
        (10, 12, (), 1_210),
        (60, 10, (), 6_010),
        (60, 12, (), 7_210),
        (60, 10, (128,), 78_218),
        (60, 12, (256,), 187_146),
        (70, 12, (256,), 217_866),
    ],
)
def test_published_sizes(functions, bits, hidden, count):
    model = ProjectionNet(10, functions, bits, hidden)
    assert size(initial(model, jnp.zeros((1, 784)))) == count


def test_defaults_are_small():
    text = jnp.zeros((1, 16), jnp.uint8), jnp.ones(1, jnp.int32)
    assert size(initial(PRADO(5), *text)) < 200_000
    assert size(initial(ProjectionRNN(5), *text)) < 90_000
    assert size(initial(PQRNN(5), *text)) < 1_300_000


@pytest.mark.parametrize("name", NETWORKS)
def test_raw_bytes_go_through_an_exported_network(name, rng):
    model = NETWORKS[name]
    data, lengths = encode(TEXTS, 24)
    params = drawn(rng, model, data, lengths)
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = jax.ShapeDtypeStruct((batch, 24), jnp.uint8), jax.ShapeDtypeStruct((batch,), jnp.int32)
    exported = jax.export.export(jax.jit(functools.partial(model.apply, params)))(*shapes)
    run = jax.export.deserialize(exported.serialize()).call
    logits = np.asarray(run(data, lengths))
    assert logits.shape == (3, 3)
    assert np.isfinite(logits).all()
    assert len(np.unique(logits, axis=0)) == 3
    filled = np.where(np.arange(24) < lengths[:, None], data, 65).astype(np.uint8)
    assert_allclose(run(filled, lengths), logits, atol=1e-6)


def test_an_exported_network_needs_neither_structlin_nor_flax(rng, tmp_path):
    model, text = NETWORKS["SGNN++"], encode(TEXTS, 24)
    params = drawn(rng, model, *text)
    label = jax.jit(lambda *text: model.apply(params, *text).argmax(-1))
    (tmp_path / "label").write_bytes(jax.export.export(label)(*text).serialize())
    np.savez(tmp_path / "text.npz", data=text[0], lengths=text[1])
    program = (
        "import sys, numpy, jax; from jax import export;"
        "run = export.deserialize(bytearray(open('label', 'rb').read())).call;"
        "text = numpy.load('text.npz');"
        "print(*numpy.asarray(run(text['data'], text['lengths'])));"
        "assert not {'structlin', 'flax'} & {name.partition('.')[0] for name in sys.modules}"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert [*map(int, ran.stdout.split())] == label(*text).tolist()


def test_networks_learn_through_signs(rng):
    images = jnp.asarray(rng.normal(size=(4, 8, 8, 1)), jnp.float32)
    model = ProjectionCNN(3, 4, 5, (2, 3), (4,))
    params = drawn(rng, model, images)

    @jax.jit
    def grads(params):
        return jax.grad(lambda p: (model.apply(p, images) ** 2).sum())(params)

    found = jax.tree.map(lambda g: float(jnp.abs(g).max()), grads(params))
    assert min(jax.tree.leaves(found)) > 0


def test_pooling_by_definition(rng):
    values, scores = rng.normal(size=(2, 3, 4, 5)).astype("f")
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    found = np.asarray(pooled(jnp.asarray(values), jnp.asarray(scores), jnp.asarray(mask)))
    for i, count in enumerate([2, 4]):
        weights = np.exp(scores[i, :count])
        want = (weights * values[i, :count]).sum(0) / weights.sum(0)
        assert_allclose(found[i], want, rtol=1e-5)
    assert not found[2].any()


def test_vectors_of_the_host_train_the_network(rng):
    model, text = NETWORKS["PRADO"], encode(TEXTS, 24)
    vectors = model.text.on_host(TEXTS, 24)
    params = drawn(rng, model, *text)

    @jax.jit
    def run(params):
        def classify(**how):
            return model.apply(params, *vectors, method="classify", **how)

        keys = jax.random.split(KEY)
        dropped = [classify(train=True, rngs={"dropout": key}) for key in keys]
        return model.apply(params, *text), classify(), *dropped

    whole, from_vectors, first, second = run(params)
    assert_allclose(whole, from_vectors, atol=1e-5)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(
    "network", [SGNN(2, WORDS), SGNNPlusPlus(2, (WORDS,)), PRADO(2, BLOCKS[0])]
)
def test_a_network_says_what_vectors_it_takes(network):
    with pytest.raises(
        ValueError, match=r"vector per (text|word or gram); given .* per='(text|gram)'"
    ):
        initial(network, *encode(TEXTS, 8))
