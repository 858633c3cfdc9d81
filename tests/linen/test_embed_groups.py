"""Embeddings in groups of words: rows, and scores tied and untied, in both hosts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_allclose

import structlin as sl

WORDS, FEATURES = 40, 8
SPEC = sl.specs.GroupReduce(compression=1.5, groups=2, rounds=4)


@pytest.fixture
def fitted(rng):
    """A table of words fitted by their frequencies; its groups are in no order."""
    table = rng.normal(size=(WORDS, FEATURES)).astype("f")
    frequencies = rng.permutation(1 / np.arange(1, WORDS + 1)).astype("f")
    small = sl.compress(
        {"embedding": table}, {"embedding": SPEC}, weights={"embedding": frequencies}
    )
    matrix = small.params["embedding"]
    assert isinstance(matrix, sl.matrices.RowGroups)
    assert matrix.labels is not None
    return matrix


def test_linen_takes_rows_and_ties_the_softmax(fitted, rng):
    embed, dense = sl.Embed(WORDS, FEATURES, spec=SPEC), np.asarray(fitted.to_dense())
    params = {"params": {"embedding": fitted}}
    ids, query = rng.integers(0, WORDS, (2, 3)), rng.normal(size=(2, FEATURES)).astype("f")
    rows = jax.jit(embed.apply)(params, ids)
    assert_allclose(rows, dense[ids], rtol=1e-4, atol=1e-5)
    scores = jax.jit(lambda p, q: embed.apply(p, q, method="attend"))(params, query)
    assert_allclose(scores, query @ dense.T, rtol=1e-3, atol=1e-4)
    drawn = jax.eval_shape(embed.init, jax.random.key(0), ids)
    assert drawn["params"]["embedding"].shape == (WORDS, FEATURES)


def test_nnx_takes_rows_and_ties_the_softmax(fitted, rng):
    embed, dense = nnx.Embed(WORDS, FEATURES, rngs=nnx.Rngs(0)), np.asarray(fitted.to_dense())
    sl.nnx.replace_kernel(embed, "embedding", fitted)
    ids, query = rng.integers(0, WORDS, (2, 3)), rng.normal(size=(2, FEATURES)).astype("f")
    assert_allclose(nnx.jit(lambda e: e(ids))(embed), dense[ids], rtol=1e-4, atol=1e-5)
    scores = nnx.jit(lambda e: e.attend(query))(embed)
    assert_allclose(scores, query @ dense.T, rtol=1e-3, atol=1e-4)


def test_an_untied_softmax_has_words_for_columns(fitted, rng):
    layer = sl.Dense(WORDS, use_bias=False, spec=sl.specs.Transposed(SPEC))
    query = rng.normal(size=(3, FEATURES)).astype("f")
    params = {"params": {"kernel": fitted.T}}
    scores = jax.jit(layer.apply)(params, query)
    assert_allclose(scores, query @ np.asarray(fitted.to_dense()).T, rtol=1e-3, atol=1e-4)
    drawn = jax.eval_shape(layer.init, jax.random.key(0), query)["params"]["kernel"]
    assert drawn.shape == (FEATURES, WORDS)


def test_one_table_trains_as_input_and_output(fitted, rng):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, ids, labels):
            embed = sl.Embed(WORDS, FEATURES, spec=SPEC)
            hidden = jnp.tanh(embed(ids))
            return sl.train.chunked_cross_entropy(hidden, embed.embedding, labels, chunk=16)

    model, ids = Model(), jnp.asarray(rng.integers(0, WORDS, 12))
    trained, fixed = sl.partition({"Embed_0": {"embedding": fitted}})

    @jax.jit
    @jax.value_and_grad
    def loss(trained):
        return model.apply({"params": sl.combine(trained, fixed)}, ids, (ids + 1) % WORDS).mean()

    losses = []
    for _ in range(5):
        value, slopes = loss(trained)
        losses.append(float(value))
        trained = jax.tree.map(lambda x, s: x - 0.5 * s, trained, slopes)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]
