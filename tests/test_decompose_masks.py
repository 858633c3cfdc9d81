"""Which entries pruning keeps, what doping fits, and which shapes Kronecker factors take."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from structlin import decompose, specs
from structlin.matrices._kronecker_shapes import full_rank_shapes


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.25, 0.5, 0.99, 1.0])
def test_masks_keep_exactly_the_largest(density, axis, rng):
    dense = rng.normal(size=(8, 6)).astype("f")
    mask = np.asarray(decompose.magnitude_mask(dense, density, axis))
    assert (mask.dtype, mask.shape) == (bool, dense.shape)
    lines = {0: dense.T, 1: dense, None: dense.reshape(1, -1)}[axis]
    chosen = {0: mask.T, 1: mask, None: mask.reshape(1, -1)}[axis]
    for line, kept in zip(np.abs(lines), chosen, strict=True):
        assert kept.sum() == round(density * len(line))
        if kept.any() and not kept.all():
            assert line[kept].min() > line[~kept].max()


def test_ties_fall_to_the_lower_index():
    mask = decompose.magnitude_mask(np.array([[1.0], [-1.0], [1.0], [2.0]], "f"), 0.5)
    assert_array_equal(mask[:, 0], [True, False, False, True])
    assert_array_equal(decompose.magnitude_mask(np.zeros((4, 1), "f"), 0.5)[:, 0], [1, 1, 0, 0])
    assert_array_equal(decompose.magnitude_mask(np.zeros((2, 2), "f"), 0.5, None), [[1, 1], [0, 0]])


def test_one_trace_serves_every_density(rng):
    dense, traces = rng.normal(size=(10, 3)).astype("f"), []

    @jax.jit
    def count(density):
        traces.append(1)
        return decompose.magnitude_mask(dense, density).sum(0)

    for density in (0.0, 0.3, 1.0):
        assert_array_equal(count(density), [round(10 * density)] * 3)
    assert len(traces) == 1


def test_complex_magnitudes():
    dense = np.array([[3 + 4j], [5.1 + 0j], [0 + 1j]], np.complex64)
    assert_array_equal(decompose.magnitude_mask(dense, 2 / 3)[:, 0], [True, True, False])
    assert_array_equal(decompose.magnitude_mask(dense, 1 / 3)[:, 0], [False, True, False])


def test_half_precision_counts_exactly():
    dense = jnp.linspace(1, 2, 1000).astype(jnp.bfloat16)[:, None]  # many ties
    assert int(decompose.magnitude_mask(dense, 0.123).sum()) == 123


def test_known_and_traced_values_give_one_mask(rng):
    for dense in (
        rng.normal(size=(9, 5)),
        rng.integers(0, 3, size=(9, 5)),
        np.full((9, 5), np.nan),
    ):
        dense = dense.astype("f")
        for axis in (0, 1, None):
            known = decompose.magnitude_mask(dense, 4 / 9, axis)
            traced = jax.jit(lambda d, axis=axis: decompose.magnitude_mask(d, 4 / 9, axis))(dense)
            assert_array_equal(known, traced)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_known_and_traced_values_of_any_sign_and_size(dtype, rng):
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, -0.0, 0.0, 1e-40, -1e-40, 1e38, -1e38]
    score = jnp.asarray(rng.permuted(np.array([special] * 5).T, axis=0), dtype)
    traced = jax.jit(decompose.largest_mask, static_argnums=2)
    for count in (0, 1, 4, 7, 11, 12, 13):
        for axis in (0, 1):
            known = decompose.largest_mask(score, count, axis)
            assert_array_equal(traced(score, count, axis), known)
            assert_array_equal(known.sum(axis), min(count, score.shape[axis]))


def test_whole_rows(rng):
    dense = rng.normal(size=(6, 4)).astype("f")
    mask = np.asarray(decompose.row_magnitude_mask(dense, 0.5))
    kept = np.sort(np.argsort(-np.linalg.norm(dense, axis=1))[:3])
    assert_array_equal(np.flatnonzero(mask.any(1)), kept)
    assert_array_equal(mask.all(1), mask.any(1))


def test_all_blocks_may_compete(rng):
    dense = rng.normal(size=(4, 6)).astype("f")
    mask = np.asarray(decompose.block_magnitude_mask(dense, 0.5, (2, 3), axis=None))
    squares = (dense**2).reshape(2, 2, 2, 3).sum((1, 3))
    least = np.sort(squares.ravel())[2]
    assert_array_equal(mask.reshape(2, 2, 2, 3).all((1, 3)), squares >= least)
    assert mask.sum() == 12


def test_ties_in_a_group_fall_to_the_lower_row():
    mask = decompose.nm_mask(np.ones((4, 2), "f"), 1, 2)
    assert_array_equal(mask, [[1, 1], [0, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize(
    ("host", "block", "kind"),
    [
        (specs.LowRank(rank=2), (1, 1), None),
        (specs.LowRank(rank=2), (2, 3), specs.Rows),
        (specs.LowRank(rank=2), (1, 1), specs.Fisher),
        (specs.Kron(), (2, 3), None),
    ],
)
def test_doped_errors_never_grow_under_weights(host, block, kind, rng):
    """More rounds never fit worse, and no round worse than the host by itself."""
    dense = rng.normal(size=(8, 6)).astype("f")
    weights = {None: None, specs.Rows: rng.uniform(size=8), specs.Fisher: rng.uniform(size=(8, 6))}
    given = None if kind is None else kind(jnp.asarray(weights[kind], jnp.float32))
    weight = np.ones((8, 6)) if kind is None else weights[kind].reshape(8, -1)

    def error(rounds):
        part, sparse = decompose.structured_plus_sparse(
            dense,
            lambda d: host.fit(d, given),
            lambda w: w.to_dense(),
            0.25,
            rounds,
            weights=None if kind is None else jnp.asarray(weight, jnp.float32),
            mask=lambda score: decompose.block_magnitude_mask(score, 0.25, block),
        )
        return np.sum(weight * np.asarray(dense - part.to_dense() - sparse) ** 2)

    errors = [error(rounds) for rounds in (0, 2)]
    assert errors[1] <= errors[0] * 1.0001
    alone = np.sum(weight * np.asarray(dense - host.fit(dense, given).to_dense()) ** 2)
    assert errors[0] < alone


def test_the_sparse_step_takes_what_weighs_most():
    dense = np.array([[3.0, 0.0], [2.0, 1.0]], np.float32)
    weights = jnp.asarray([[1.0, 1.0], [9.0, 1.0]])
    _, sparse = decompose.structured_plus_sparse(
        dense, lambda d: 0 * d, lambda d: d, 0.5, weights=weights
    )
    assert_array_equal(sparse, [[0, 0], [2, 1]])


def test_a_fit_that_grows_worse_is_dropped():
    dense, calls = np.eye(4, dtype="f"), []

    def fit(d):
        calls.append(1)
        return 0 * d if len(calls) == 1 else 0 * d + 100.0

    part, sparse = decompose.structured_plus_sparse(dense, fit, lambda d: d, 0.25, 9)
    assert_array_equal(part + sparse, dense)
    assert len(calls) == 2


def test_doping_under_jit_equals_doping_outside(rng):
    dense = rng.normal(size=(8, 6)).astype("f")
    fit = specs.Doped(specs.LowRank(rank=1), density=0.25).fit
    np.testing.assert_allclose(
        jax.jit(lambda d: fit(d).to_dense())(dense), fit(dense).to_dense(), rtol=0.2, atol=0.05
    )


def factorings(value, parts):
    """All tuples of ``parts`` numbers whose product is ``value``, by trying every tuple."""
    return [
        t for t in itertools.product(range(1, value + 1), repeat=parts) if math.prod(t) == value
    ]


@pytest.mark.parametrize(
    ("m", "n", "factors"), [(6, 4, 2), (12, 18, 2), (7, 5, 2), (1, 6, 2), (8, 12, 3), (9, 3, 1)]
)
def test_full_rank_shapes_are_all_of_them(m, n, factors):
    every = [
        tuple(zip(rows, cols, strict=True))
        for rows, cols in itertools.product(factorings(m, factors), factorings(n, factors))
    ]
    rank = [s for s in every if math.prod(min(p) for p in s) == min(m, n)]
    proper = [s for s in rank if (1, 1) not in s] or rank
    got = full_rank_shapes(m, n, factors)
    assert sorted(got) == sorted(proper)
    sizes = [sum(a * b for a, b in s) for s in got]
    assert sizes == sorted(sizes)


def test_full_rank_shapes_have_full_rank(rng):
    for shapes in full_rank_shapes(6, 4, 2):
        dense = np.ones((1, 1))
        for s in shapes:
            dense = np.kron(dense, rng.normal(size=s))
        assert np.linalg.matrix_rank(dense) == 4
