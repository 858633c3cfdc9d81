"""The variants of co-matrix dropout: which part is dropped, in which units, and what stays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin import specs, train
from structlin.matrices import Masked

KEY = jax.random.key(0)
MATRIX = specs.DopedKron(density=0.5).init(KEY, (8, 12))
# No entry of a column is zero throughout, so that a ratio tells what became of each column.
HOST, CO = MATRIX.terms[0], Masked(MATRIX.terms[1].values + 1.0, 0.5, (2, 1))
WHOLE = type(MATRIX)((HOST, CO))


def scales(key, rate=0.5, **kwargs):
    """What each column of the host and of the co-matrix was multiplied by, ``(2, n)``."""
    dropped = train.co_matrix_dropout({"w": WHOLE}, key, rate, **kwargs)["w"]
    ratio = [d.to_dense() / w.to_dense() for d, w in zip(dropped.terms, WHOLE.terms, strict=True)]
    for r in ratio:
        assert_allclose(r, np.broadcast_to(r[0], r.shape), atol=1e-5)
    return np.round(np.stack([r[0] for r in ratio]), 4)


KEYS = jax.random.split(jax.random.key(7), 12)


def test_exclusive_drops_one_of_the_two_and_never_both():
    found = np.concatenate([scales(k, 1.0, paths="exclusive") for k in KEYS], axis=1)
    assert_array_equal((found == 0).sum(0), 1)
    assert set(found.ravel()) == {0.0, 2.0}
    assert 0.3 < (found[0] == 0).mean() < 0.7
    some = np.concatenate([scales(k, 0.4, paths="exclusive") for k in KEYS], axis=1)
    assert (some == 0).all(0).sum() == 0
    assert set(some.ravel()) == {0.0, 1.25}
    assert 0.2 < (some == 0).any(0).mean() < 0.6


@pytest.mark.parametrize(("paths", "spared"), [("sparse", 0), ("structured", 1)])
def test_one_part_alone_is_dropped(paths, spared):
    found = np.concatenate([scales(k, paths=paths) for k in KEYS[:4]], axis=1)
    assert_array_equal(found[spared], 1.0)
    assert set(found[1 - spared]) == {0.0, 2.0}


def test_columns_and_gates_share_a_draw():
    for kwargs, width in (({"columns": 5}, 5), ({"gates": 3}, 4), ({"gates": 1}, 12)):
        found = np.stack([scales(k, **kwargs) for k in KEYS[:6]])
        groups = [found[..., i : i + width] for i in range(0, 12, width)]
        for group in groups:
            assert_array_equal(group, np.broadcast_to(group[..., :1], group.shape))
        firsts = np.stack([g[..., 0] for g in groups], axis=-1)
        assert set(firsts.ravel()) == {0.0, 2.0}
        if len(groups) > 1:
            assert (firsts != firsts[..., :1]).any()


def test_without_rescaling_what_stays_is_as_it_was():
    assert set(scales(KEY, rescale=False).ravel()) == {0.0, 1.0}
    exclusive = scales(KEY, 1.0, rescale=False, paths="exclusive")
    assert set(exclusive.ravel()) == {0.0, 1.0}


@pytest.mark.parametrize("paths", ["independent", "exclusive", "sparse", "structured"])
def test_the_mean_is_the_matrix(paths):
    drop = lambda k: train.co_matrix_dropout(WHOLE, k, 0.3, paths=paths).to_dense()  # noqa: E731
    mean = jax.jit(lambda keys: jax.vmap(drop)(keys).mean(0))(jax.random.split(KEY, 4000))
    whole = WHOLE.to_dense()
    assert_allclose(mean, whole, atol=0.05 * float(jnp.abs(whole).max()))


def test_blocks_of_a_masked_term_survive():
    dropped = train.co_matrix_dropout({"w": WHOLE}, KEY, 0.5)["w"].terms[1]
    assert (dropped.density, dropped.block) == (0.5, (2, 1))


def test_a_schedule_anneals_the_rate_and_vmap_gives_each_example_its_own():
    schedule = optax.linear_schedule(0.8, 0.0, 10)
    drop = jax.jit(lambda s, k: train.co_matrix_dropout(WHOLE, k, schedule(s)).to_dense())
    assert_allclose(drop(10, KEY), WHOLE.to_dense(), rtol=1e-6)
    assert (drop(0, KEY) == 0).all(0).any()
    x = jnp.ones((12, 8))
    each = jax.vmap(lambda k, x: x @ train.co_matrix_dropout(WHOLE, k, 0.5))(KEYS, x)
    for i in (0, 5):
        alone = x[i] @ train.co_matrix_dropout(WHOLE, KEYS[i], 0.5).to_dense()
        assert_allclose(each[i], alone, rtol=1e-4, atol=1e-5)


def test_what_makes_no_sense():
    bad = [
        ({"paths": "all"}, "knows the paths"),
        ({"columns": 0}, "columns >= 1"),
        ({"columns": 2, "gates": 2}, "without columns"),
        ({"gates": 0}, "gates >= 1"),
        ({"gates": 5}, "5 gates do not divide the 12 columns"),
    ]
    for kwargs, message in bad:
        with pytest.raises(ValueError, match=message):
            train.co_matrix_dropout(WHOLE, KEY, 0.5, **kwargs)
    with pytest.raises(ValueError, match=r"rate in \[0, 1\]; given 1.1"):
        train.co_matrix_dropout(WHOLE, KEY, 1.1, paths="exclusive")
