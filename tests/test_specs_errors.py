"""What specs refuse, and that they say what to do instead."""

import jax
import numpy as np
import pytest
from cases import SPEC_CASES
from numpy.testing import assert_allclose

from structlin import matrices as ms
from structlin import specs

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: specs.LowRank(), "give rank= or compression="),
        (lambda: specs.LowRank(rank=2, compression=2.0), "not both"),
        (lambda: specs.LowRank(rank=0), "rank of 1 or more"),
        (lambda: specs.LowRank(rank=-3), "rank of 1 or more"),
        (lambda: specs.LowRank(compression=0), "positive number"),
        (lambda: specs.LowRank(compression=-1.0), "positive number"),
        (lambda: specs.LowRank(compression=float("nan")), "positive number"),
        (lambda: specs.LowRank(compression=float("inf")), "positive number"),
        (lambda: specs.HMD(), "give dense_columns= or compression="),
        (lambda: specs.HMD(dense_columns=1, compression=2.0), "not both"),
        (lambda: specs.HMD(dense_columns=-1), "dense_columns >= 0"),
        (lambda: specs.HMD(dense_columns=1, rank_blocks=0), "rank_blocks >= 1"),
        (lambda: specs.Sparse(density=0.1, compression=2.0), "not both"),
        (lambda: specs.Sparse(density=0.0), r"density must be in \(0, 1\]"),
        (lambda: specs.Sparse(density=1.5), r"density must be in \(0, 1\]"),
        (lambda: specs.Sparse(density=-0.1), r"density must be in \(0, 1\]"),
        (lambda: specs.Sparse(density=float("nan")), r"density must be in \(0, 1\]"),
        (lambda: specs.Doped(specs.Kron(), density=2), r"density must be in \(0, 1\]"),
        (lambda: specs.Doped(specs.Kron(), density=0.1, compression=2), "not both"),
        (lambda: specs.DopedKron(density=0.1, compression=2), "not both"),
        (lambda: specs.DopedKron(density=0), r"density must be in \(0, 1\]"),
        (lambda: specs.Kron(shapes=((2, 2),), compression=2), "not both"),
        (lambda: specs.Kron(shapes=()), "positive sizes"),
        (lambda: specs.Kron(shapes=((2, 0), (3, 3))), "positive sizes"),
        (lambda: specs.Kron(shapes=((2, 2, 2),)), "positive sizes"),
        (lambda: specs.Kron(factors=0), "at least one factor"),
        (lambda: specs.PerGate(specs.Kron(), gates=0), "at least one gate"),
    ],
)
def test_sizes_that_make_no_sense(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (specs.LowRank(rank=5), (4, 6), "rank 4 at most"),
        (specs.HMD(dense_columns=6), (4, 6), "needs at least 7 columns"),
        (specs.HMD(dense_columns=0, rank_blocks=7), (4, 6), "needs at least 7 columns"),
        (specs.Kron(shapes=((2, 2), (3, 3))), (6, 4), "rows must multiply to 6"),
        (specs.DopedKron(density=0.5, shapes=((2, 2), (3, 3))), (6, 4), "columns to 4"),
        (specs.PerGate(specs.Kron()), (4, 6), "does not divide the 6 columns"),
        (specs.LowRank(compression=50), (4, 6), "the smallest, rank 1, takes 40"),
    ],
)
def test_shapes_that_do_not_fit(spec, shape, message):
    dense = np.ones(shape, np.float32)
    for use in (lambda: spec.init(KEY, shape), lambda: spec.fit(dense), lambda: spec.cost(shape)):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize("name", SPEC_CASES)
def test_fits_of_what_is_not_a_finite_matrix(name):
    spec, shape = SPEC_CASES[name][0]
    good = np.ones(shape, np.float32)
    for bad, message in [
        (np.ones(4, np.float32), r"a matrix \(m, n\) with entries; given shape \(4,\)"),
        (np.ones((2, *shape), np.float32), "given shape"),
        (np.zeros((0, shape[1]), np.float32), "with entries"),
        (np.zeros((shape[0], 0), np.float32), "with entries"),
        (np.ones(shape, np.int32), "floating point numbers; given int32"),
        (np.ones(shape, bool), "floating point numbers; given bool"),
        (np.where(np.arange(shape[1]) == 1, np.nan, good), "NaN or infinity"),
        (np.where(np.arange(shape[1]) == 1, np.inf, good), "NaN or infinity"),
    ]:
        with pytest.raises(ValueError, match=message):
            spec.fit(bad)
    with pytest.raises(TypeError, match=r"call `\.to_dense\(\)` first"):
        spec.fit(ms.Dense(good))


@pytest.mark.parametrize(
    "spec",
    [
        specs.LowRank(rank=1),
        specs.HMD(dense_columns=1),
        specs.Sparse(density=0.5),
        specs.Doped(specs.LowRank(rank=1), density=0.5),
        specs.PerGate(specs.LowRank(rank=1), gates=2),
    ],
    ids=lambda s: s.spec_name(),
)
def test_weights_that_make_no_sense(spec):
    dense = np.arange(16.0, dtype=np.float32).reshape(4, 4)
    for bad in (np.ones(3), np.ones((4, 1)), -np.ones(4), np.full(4, np.nan)):
        with pytest.raises(ValueError, match=r"one non-negative weight for each of the 4 rows"):
            spec.fit(dense, bad.astype("f"))
    half, whole = (spec.fit(dense, w).to_dense() for w in (np.ones(4, "f"), np.ones(4, np.int32)))
    assert_allclose(half, whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("3", "an object with the key 'spec'"),
        ("null", "an object with the key 'spec'"),
        ('["LowRank"]', "an object with the key 'spec'"),
        ("{}", "No spec is named None"),
        ('{"spec": "Krom"}', "No spec is named 'Krom'. Known specs: .*Kron.*LowRank"),
        ('{"spec": ["Kron"]}', "No spec is named"),
        ('{"spec": "LowRank", "rnk": 3}', r"no field \['rnk'\]; its fields are .*rank"),
        ('{"spec": "LowRank", "rank": 0}', "rank of 1 or more"),
        ('{"spec": "LowRank", "rank": "three"}', "LowRank"),
        ('{"spec": "LowRank"}', "give rank= or compression="),
        ('{"spec": "Doped", "density": 0.1}', "host"),
        ('{"spec": "Doped", "host": {"spec": "Nothing"}, "density": 0.1}', "named 'Nothing'"),
    ],
)
def test_json_that_is_no_spec(text, message):
    with pytest.raises(ValueError, match=message):
        specs.from_json(text)
