"""Weighted fits: optimal where an optimum is known, never worse than their start elsewhere."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from structlin import decompose, specs
from structlin.matrices._majorize import majorized, weighted_error
from structlin.matrices._weights import as_weights

pytestmark = pytest.mark.usefixtures("x64")
every_kind = pytest.mark.parametrize("kind", [np.float64, np.complex128])


def normal(rng, *shape, kind=np.float64):
    values = rng.normal(size=shape)
    return values + 1j * rng.normal(size=shape) if kind == np.complex128 else values


def covariance(rng, m, rank, kind):
    half = normal(rng, rank, m, kind=kind)
    return half.conj().T @ half / rank


def error_by_loops(dense, fitted, values):
    """The error under a covariance, one pair of rows after the other."""
    miss = np.asarray(dense) - np.asarray(fitted)
    m = len(miss)
    pairs = ((i, j) for i in range(m) for j in range(m))
    return sum((miss[i].conj() @ miss[j] * values[i, j]).real for i, j in pairs)


@every_kind
@pytest.mark.parametrize("inputs", [9, 2])
def test_low_rank_under_a_covariance_is_optimal(kind, inputs, rng):
    dense, values = normal(rng, 6, 5, kind=kind), covariance(rng, 6, inputs, kind)
    eigenvalues, vectors = np.linalg.eigh(values)
    root = np.sqrt(np.maximum(eigenvalues, 0))[:, None] * vectors.conj().T
    singular = np.linalg.svd(root @ dense, compute_uv=False)
    weights = specs.Covariance(jnp.asarray(values))
    for rank in (1, 2, 4):
        made = specs.LowRank(rank=rank).fit(dense, weights).to_dense()
        assert np.isfinite(made).all()
        assert np.abs(made).max() < 100 * np.abs(dense).max()
        found = error_by_loops(dense, made, values)
        assert_allclose(found, np.sum(singular[rank:] ** 2), atol=1e-9)
        assert_allclose(weighted_error(dense, made, weights), found, atol=1e-9)


@every_kind
def test_covariance_of_many_rows_by_the_gram_matrix(kind, rng, monkeypatch):
    dense, values = normal(rng, 8, 5, kind=kind), covariance(rng, 8, 20, kind)
    by_roots = decompose.truncated_svd(dense, 2, covariance=values)
    monkeypatch.setattr("structlin.decompose._svd.EIGH_ROWS", 0)
    by_gram = decompose.truncated_svd(dense, 2, covariance=values)
    assert_allclose(by_roots[0] @ by_roots[1], by_gram[0] @ by_gram[1], atol=1e-9)


@every_kind
def test_fisher_never_grows_and_is_exact_where_an_optimum_is_known(kind, rng):
    dense, values = normal(rng, 12, 9, kind=kind), rng.lognormal(0, 2, (12, 9))
    weights = specs.Fisher(jnp.asarray(values))

    def error(pair, by=weights):
        return float(weighted_error(dense, pair[0] @ pair[1], by))

    by_rows = error(decompose.truncated_svd(dense, 3, values.mean(1)))
    errors = [
        error(decompose.weighted_low_rank(dense, 3, weights.values, rounds))
        for rounds in (0, 1, 2, 4)
    ]
    assert errors[0] <= by_rows * (1 + 1e-9)
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.9 * by_rows
    # Weights of rank one: scaled rows and columns, whose optimum is a truncated SVD.
    rows, columns = rng.uniform(0.5, 2, 12), rng.uniform(0.5, 2, 9)
    even = specs.Fisher(jnp.asarray(np.outer(rows, columns)))
    scaled = np.sqrt(rows)[:, None] * dense * np.sqrt(columns)
    best = np.sum(np.linalg.svd(scaled, compute_uv=False)[3:] ** 2)
    made = specs.LowRank(rank=3).fit(dense, even)
    assert_allclose(weighted_error(dense, made.to_dense(), even), best)


def test_fisher_with_zeros_completes_a_matrix(rng):
    exact = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15))
    seen = (rng.random((20, 15)) < 0.7).astype(float)
    seen[3], seen[:, 4] = 0, 0
    left, right = decompose.weighted_low_rank(exact, 2, jnp.asarray(seen), rounds=40, steps=6)
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()
    assert_allclose(seen * (left @ right), seen * exact, atol=1e-3)


@pytest.mark.parametrize("spec", [specs.LowRank(rank=2), specs.HMD(dense_columns=2)])
def test_weighted_fits_beat_the_plain_one(spec, rng):
    dense = rng.normal(size=(10, 8))
    for values in (
        specs.Rows(jnp.asarray(rng.lognormal(0, 2, 10))),
        specs.Fisher(jnp.asarray(rng.lognormal(0, 2, (10, 8)))),
        specs.Covariance(jnp.asarray(covariance(rng, 10, 4, np.float64))),
    ):
        plain = weighted_error(dense, spec.fit(dense).to_dense(), values)
        fitted = weighted_error(dense, spec.fit(dense, values).to_dense(), values)
        assert fitted <= plain * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["Rows", "Fisher", "Covariance"])
def test_majorised_fits_never_grow_and_near_the_optimum(kind, rng):
    dense = rng.normal(size=(8, 6))
    values = {
        "Rows": rng.uniform(0.2, 2, 8),
        "Fisher": rng.lognormal(size=(8, 6)),
        "Covariance": covariance(rng, 8, 30, np.float64),
    }[kind]
    weights = getattr(specs, kind)(jnp.asarray(values))
    plain = specs.LowRank(rank=2)
    start = plain.fit(dense)

    def error(rounds):
        made = majorized(jnp.asarray(dense), weights, start, plain.fit, rounds)
        return float(weighted_error(dense, made.to_dense(), weights))

    errors = [error(rounds) for rounds in (0, 1, 2, 4, 12, 40)]
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))
    best = weighted_error(dense, plain.fit(dense, weights).to_dense(), weights)
    assert errors[-1] < errors[0] - 0.7 * (errors[0] - best)


def test_majorised_fits_stop_early_and_run_under_jit(rng):
    dense, weights = jnp.asarray(rng.normal(size=(6, 5))), specs.Rows(jnp.ones(6))
    calls = []

    def fit(target):
        calls.append(1)
        return specs.LowRank(rank=2).fit(target)

    majorized(dense, weights, fit(dense), fit)
    assert len(calls) == 2
    heavy = specs.Rows(jnp.asarray(rng.uniform(0.1, 1, 6)))
    run = jax.jit(lambda d, w: majorized(d, w, fit(d), fit, 2).to_dense())
    assert_allclose(run(dense, heavy), majorized(dense, heavy, fit(dense), fit, 2).to_dense())


def test_weights_that_do_not_fit_are_refused(rng):
    dense = rng.normal(size=(4, 3))
    for values, message in (
        (np.ones(3), "one non-negative weight for each of the 4 rows"),
        (-np.ones(4), "negative or not finite"),
        (np.zeros((4, 3)), "only zeros"),
        (np.triu(np.ones((4, 4))), "conjugate transpose"),
        (specs.Fisher(np.ones((3, 4))), r"Fisher weights of shape \(4, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            as_weights("LowRank", values, dense.shape)
    with pytest.raises(ValueError, match="wrap them"):
        as_weights("LowRank", np.eye(3), (3, 3))
