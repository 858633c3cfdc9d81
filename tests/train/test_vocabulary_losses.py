"""Losses over a vocabulary: those of the dense softmax, in less memory or on fewer words."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import make
from numpy.testing import assert_allclose

from structlin import matrices as ms
from structlin import train

WORDS = 24
EMBEDDINGS = {"array": None, "low rank": "LowRank", "groups": "RowGroups"}


def problem(kind, rng, batch=(2, 3)):
    """Hidden states, an embedding, labels and a bias."""
    if EMBEDDINGS[kind] is None:
        embedding = jnp.asarray(rng.normal(size=(WORDS, 8)), jnp.float32)
    else:
        embedding = make(EMBEDDINGS[kind], -1, jnp.float32)
    words, features = embedding.shape
    hidden = jnp.asarray(rng.normal(size=(*batch, features)) / features**0.5, jnp.float32)
    labels = jnp.asarray(rng.integers(0, words, batch))
    return hidden, embedding, labels, jnp.asarray(rng.normal(size=words), jnp.float32)


def by_logits(hidden, embedding, labels, bias):
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ embedding.T + bias, labels)


def gradients(loss, hidden, embedding, bias):
    """Of a weighted sum of losses: those of the hidden states, the floating leaves, the bias."""
    trained, fixed = ms.partition(embedding)

    def total(hidden, trained, bias):
        losses = loss(hidden, ms.combine(trained, fixed), bias)
        return jnp.sum(losses * jnp.arange(1.0, losses.size + 1).reshape(losses.shape))

    return jax.jit(jax.value_and_grad(total, (0, 1, 2)))(hidden, trained, bias)


@pytest.mark.parametrize(("kind", "chunk"), [("array", 4096), ("low rank", 24), ("groups", 7)])
def test_chunks_of_words_give_the_loss_and_gradients_of_all_logits(kind, chunk, rng):
    hidden, embedding, labels, bias = problem(kind, rng)

    def chunked(hidden, embedding, bias):
        return train.chunked_cross_entropy(hidden, embedding, labels, bias=bias, chunk=chunk)

    found = gradients(chunked, hidden, embedding, bias)
    want = gradients(lambda h, e, b: by_logits(h, e, labels, b), hidden, embedding, bias)
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=2e-4, atol=2e-4), found, want)


def test_no_array_is_as_large_as_the_logits():
    hidden, embedding = jnp.ones((64, 4)), jnp.ones((1000, 4))
    labels = jnp.zeros(64, int)

    def total(h, e):
        return jnp.sum(train.chunked_cross_entropy(h, e, labels, chunk=100))

    text = str(jax.make_jaxpr(jax.grad(total, (0, 1)))(hidden, embedding))
    assert "[64,100]" in text
    assert "[64,1000]" not in text
    plain = jax.make_jaxpr(lambda h, e: jnp.sum(by_logits(h, e, labels, 0.0)))(hidden, embedding)
    assert "[64,1000]" in str(plain)


def test_half_precision_is_summed_in_single(rng):
    hidden, embedding, labels, _ = problem("array", rng)
    half = [x.astype(jnp.bfloat16) for x in (hidden, embedding)]
    found = train.chunked_cross_entropy(*half, labels, chunk=5)
    assert found.dtype == np.float32
    assert_allclose(found, by_logits(hidden, embedding, labels, 0.0), rtol=0.02, atol=0.02)
    slope = jax.grad(lambda h: train.chunked_cross_entropy(h, half[1], labels).sum())(half[0])
    assert slope.dtype == jnp.bfloat16


def test_candidates_are_drawn_as_often_as_expected():
    words, samples = 6, 60_000
    ids = train.log_uniform_candidates(jax.random.key(0), samples, words)
    counts = np.bincount(ids, minlength=words)
    expected = np.exp(train.log_uniform_expected(jnp.arange(words), samples, words))
    assert_allclose(expected.sum(), samples, rtol=1e-5)
    assert_allclose(counts, expected, atol=5 * samples**0.5)


@pytest.mark.parametrize("kind", ["array", "groups"])
def test_a_sampled_softmax_is_that_of_label_and_candidates(kind, rng):
    hidden, embedding, labels, bias = problem(kind, rng, (3,))
    key, samples = jax.random.key(1), 9
    ids = np.asarray(train.log_uniform_candidates(key, samples, WORDS))
    chance = np.log((np.arange(WORDS) + 2) / (np.arange(WORDS) + 1)) / np.log(WORDS + 1)

    def oracle(hidden, embedding, bias):
        scores = hidden @ embedding.T + bias - jnp.log(samples * chance)
        losses = []
        for row, label in zip(scores, np.asarray(labels), strict=True):
            kept = np.array([label, *(i for i in ids if i != label)])
            losses.append(jax.nn.logsumexp(row[kept]) - row[label])
        return jnp.stack(losses)

    def sampled(hidden, embedding, bias):
        return train.sampled_softmax_cross_entropy(
            hidden, embedding, labels, key, samples=samples, bias=bias
        )

    found, want = (gradients(f, hidden, embedding, bias) for f in (sampled, oracle))
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=2e-4, atol=2e-4), found, want)


def test_many_candidates_come_near_the_whole_softmax(rng):
    hidden, embedding, labels, bias = problem("array", rng)
    whole = by_logits(hidden, embedding, labels, bias)
    many = train.sampled_softmax_cross_entropy(
        hidden, embedding, labels, jax.random.key(0), samples=50_000, bias=bias
    )
    # The label has a place of its own beside the sample: its expected count is not one.
    scores = hidden @ embedding.T + bias
    others = jnp.where(jnp.arange(WORDS) == labels[..., None], -jnp.inf, scores)
    own = jnp.take_along_axis(scores, labels[..., None], -1)[..., 0]
    own = own - train.log_uniform_expected(labels, 50_000, WORDS)
    want = jnp.logaddexp(own, jax.nn.logsumexp(others, axis=-1)) - own
    assert_allclose(many, want, rtol=0.02)
    assert not np.allclose(many, whole, rtol=0.02)


@pytest.mark.parametrize("block", [4, 128])
def test_an_adaptive_softmax_is_a_distribution_with_its_gradients(block, rng):
    n, shortlist, sizes = 6, 5, (4, 9)
    head = jnp.asarray(rng.normal(size=(shortlist + 2, n)), jnp.float32)
    first = jnp.asarray(rng.normal(size=(sizes[0], n)), jnp.float32)
    pair = [jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((sizes[1], 2), (2, n))]
    tails = (first, ms.LowRank(*pair))
    hidden = jnp.asarray(rng.normal(size=(2, 5, n)), jnp.float32)
    labels = jnp.asarray([[0, 4, 5, 8, 9], [17, 2, 2, 13, 1]])
    scores = train.adaptive_log_softmax(hidden, head, tails)
    assert scores.shape == (2, 5, shortlist + sum(sizes))
    assert_allclose(jax.nn.logsumexp(scores, axis=-1), 0, atol=1e-5)

    def by_all(hidden, head, tails):
        scores = train.adaptive_log_softmax(hidden, head, tails)
        return -jnp.take_along_axis(scores, labels[..., None], -1)[..., 0]

    def by_members(hidden, head, tails):
        return train.adaptive_softmax_cross_entropy(hidden, head, tails, labels, block=block)

    def total(loss):
        return jax.jit(
            jax.value_and_grad(
                lambda *x: jnp.sum(loss(*x) * jnp.arange(10.0).reshape(2, 5)), (0, 1, 2)
            )
        )(hidden, head, tails)

    jax.tree.map(
        lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-5), total(by_members), total(by_all)
    )


def test_a_cluster_runs_on_the_blocks_that_need_it():
    tails, head = (jnp.ones((50, 4)),), jnp.ones((4, 4))
    text = str(
        jax.make_jaxpr(
            lambda h, y: train.adaptive_softmax_cross_entropy(h, head, tails, y, block=8)
        )(jnp.ones((32, 4)), jnp.zeros(32, int))
    )
    assert "cond" in text
    assert "[8,50]" in text
    assert "[32,50]" not in text


def test_what_does_not_fit_is_refused():
    hidden, labels = jnp.ones((3, 4)), jnp.zeros(3, int)
    for use, message in (
        (
            lambda: train.chunked_cross_entropy(hidden, jnp.ones((4, 9)), labels),
            "give the transpose",
        ),
        (
            lambda: train.chunked_cross_entropy(hidden, jnp.ones((9, 4)), labels[:2]),
            r"given \(3, 4\)",
        ),
        (lambda: train.log_normalizer(hidden, jnp.ones((9, 4)), chunk=0), "chunk=0"),
        (
            lambda: train.sampled_softmax_cross_entropy(
                hidden, jnp.ones((9, 4)), labels, jax.random.key(0), samples=0
            ),
            "samples=0",
        ),
        (
            lambda: train.adaptive_log_softmax(hidden, jnp.ones((9, 4)), (jnp.ones((2, 5)),)),
            "needs a head",
        ),
        (
            lambda: train.adaptive_softmax_cross_entropy(hidden, jnp.ones((9, 4)), (), labels[:2]),
            "Labels need",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            use()
