"""Which entries pruning keeps, and which shapes Kronecker factors take."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from structlin import decompose
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
