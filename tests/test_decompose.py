"""Fits of dense arrays: exact where they can be, optimal where an optimum is known."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin import decompose

pytestmark = pytest.mark.usefixtures("x64")
every_kind = pytest.mark.parametrize("kind", [np.float64, np.complex128])


def normal(rng, *shape, kind=np.float64):
    values = rng.normal(size=shape)
    return values + 1j * rng.normal(size=shape) if kind == np.complex128 else values


def kron(factors):
    out = np.ones((1, 1))
    for f in factors:
        out = np.kron(out, f)
    return out


def miss(dense, fit):
    return float(np.linalg.norm(np.asarray(dense) - np.asarray(fit)))


@every_kind
def test_svd_recovers_and_is_optimal(kind, rng):
    dense = normal(rng, 6, 4, kind=kind)
    singular = np.linalg.svd(dense, compute_uv=False)
    for rank in range(1, 5):
        left, right = decompose.truncated_svd(dense, rank)
        assert (left.shape, right.shape) == ((6, rank), (rank, 4))
        assert left.dtype == right.dtype == kind
        assert_allclose(miss(dense, left @ right), np.linalg.norm(singular[rank:]), atol=1e-12)
        assert_allclose(np.linalg.norm(left), np.linalg.norm(right))


@every_kind
def test_weighted_svd_is_optimal(kind, rng):
    dense, weights = normal(rng, 7, 4, kind=kind), rng.uniform(0.1, 3, 7)
    q = np.sqrt(weights)[:, None]
    for rank in (1, 2, 3):
        left, right = decompose.truncated_svd(dense, rank, weights)
        u, s, vt = np.linalg.svd(q * dense, full_matrices=False)
        best = (u[:, :rank] * s[:rank]) @ vt[:rank] / q
        assert_allclose(left @ right, best, atol=1e-10)
        plain = decompose.truncated_svd(dense, rank)
        assert miss(q * dense, q * (left @ right)) <= miss(q * dense, q * (plain[0] @ plain[1]))
    even = decompose.truncated_svd(dense, 2, np.full(7, 2.0))
    plain = decompose.truncated_svd(dense, 2)
    assert_allclose(even[0] @ even[1], plain[0] @ plain[1], atol=1e-12)


def test_zero_weights_stay_finite(rng):
    dense = normal(rng, 6, 4)
    for weights in (np.zeros(6), np.array([1.0, 0, 0, 0, 0, 0]), np.array([1.0, 0, 2, 0, 0, 3])):
        left, right = decompose.truncated_svd(dense, 3, weights)
        assert np.isfinite(left).all()
        assert np.isfinite(right).all()
        assert_allclose((left @ right)[weights > 0], dense[weights > 0], atol=1e-9)


@every_kind
def test_kronecker_of_two_recovers_and_is_optimal(kind, rng):
    shapes = ((2, 3), (4, 2))
    exact = kron([normal(rng, *s, kind=kind) for s in shapes])
    factors = decompose.nearest_kronecker(exact, shapes)
    assert [f.shape for f in factors] == list(shapes)
    assert_allclose(kron(factors), exact, atol=1e-12)
    dense = normal(rng, 8, 6, kind=kind)
    tail = np.linalg.svd(decompose.rearrange(dense, *shapes), compute_uv=False)[1:]
    assert_allclose(
        miss(dense, kron(decompose.nearest_kronecker(dense, shapes))), np.linalg.norm(tail)
    )


def test_rearrangement_turns_a_kronecker_product_into_an_outer_one(rng):
    a, b = normal(rng, 2, 3), normal(rng, 4, 5)
    table = decompose.rearrange(np.kron(a, b), a.shape, b.shape)
    assert_allclose(table, np.outer(a.ravel(), b.ravel()))


def one_after_the_other(dense, shapes):
    """Three factors by splitting one off and then splitting the rest."""
    rest = tuple(int(np.prod([s[i] for s in shapes[1:]])) for i in (0, 1))
    first, others = decompose.nearest_kronecker(dense, (shapes[0], rest))
    return kron([first, *decompose.nearest_kronecker(others, shapes[1:])])


@every_kind
def test_kronecker_of_three(kind, rng):
    shapes = ((2, 2), (3, 1), (2, 3))
    exact = kron([normal(rng, *s, kind=kind) for s in shapes])
    assert_allclose(kron(decompose.nearest_kronecker(exact, shapes)), exact, atol=1e-11)
    dense = normal(rng, 12, 6, kind=kind)
    split = miss(dense, one_after_the_other(dense, shapes))
    errors = [
        miss(dense, kron(decompose.nearest_kronecker(dense, shapes, sweeps)))
        for sweeps in (0, 1, 2, 6)
    ]
    assert_allclose(errors[0], split)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(errors))
    assert errors[-1] < split


@pytest.mark.parametrize("shapes", [((2, 2), (2, 2)), ((2, 1), (1, 2), (2, 2)), ((4, 4),)])
def test_kronecker_factors_are_balanced_and_zero_gives_zero(shapes, rng):
    norms = [np.linalg.norm(f) for f in decompose.nearest_kronecker(normal(rng, 4, 4), shapes)]
    assert_allclose(norms, norms[0])
    assert all(
        (np.asarray(f) == 0).all() for f in decompose.nearest_kronecker(np.zeros((4, 4)), shapes)
    )


def test_zero_gives_zero_everywhere():
    zero = jnp.zeros((6, 4))
    results = [
        decompose.truncated_svd(zero, 2),
        decompose.truncated_svd(zero, 2, jnp.ones(6)),
        decompose.hmd(zero, 1, 2),
        (decompose.structured_plus_sparse(zero, lambda d: d * 0, lambda s: s, 0.5)[1],),
    ]
    for arrays in results:
        assert all(np.isfinite(a).all() for a in arrays)
    assert_array_equal(results[1][0] @ results[1][1], zero)
    assert_array_equal(results[3][0], zero)


def hmd_dense(rich, left, right):
    """The matrix of an HMD fit, column by column."""
    sizes = decompose.rank_block_sizes(len(right), left.shape[1])
    block = np.repeat(np.arange(len(sizes)), sizes)
    return np.concatenate([rich, np.asarray(left)[:, block] * np.asarray(right)], axis=1)


@every_kind
def test_hmd(kind, rng):
    dense = normal(rng, 5, 8, kind=kind)
    errors = [miss(dense, hmd_dense(*decompose.hmd(dense, j))) for j in range(8)]
    assert all(b < a for a, b in itertools.pairwise(errors[:-1]))
    assert errors[-1] < 1e-12  # one column left: rank one holds it
    for j, blocks in ((0, 1), (2, 3), (5, 3)):
        rich, left, right = decompose.hmd(dense, j, blocks)
        assert (rich.shape, left.shape, right.shape) == ((5, j), (5, blocks), (8 - j,))
        assert_array_equal(rich, dense[:, :j])
        exact = hmd_dense(rich, normal(rng, 5, blocks, kind=kind), normal(rng, 8 - j, kind=kind))
        assert_allclose(hmd_dense(*decompose.hmd(exact, j, blocks)), exact, atol=1e-12)


@pytest.mark.parametrize(("columns", "blocks"), [(7, 3), (6, 3), (1, 1), (5, 5), (9, 2)])
def test_rank_block_sizes(columns, blocks):
    sizes = decompose.rank_block_sizes(columns, blocks)
    assert len(sizes) == blocks
    assert sum(sizes) == columns
    assert max(sizes) - min(sizes) <= 1
    assert list(sizes) == sorted(sizes, reverse=True)


def low_rank_fit(rank):
    return lambda d: decompose.truncated_svd(d, rank), lambda f: f[0] @ f[1]


@every_kind
def test_structured_plus_sparse_errors_never_grow(kind, rng):
    dense = normal(rng, 12, 10, kind=kind)

    def error(density, rounds):
        fit, to_dense = low_rank_fit(2)
        part, sparse = decompose.structured_plus_sparse(dense, fit, to_dense, density, rounds)
        kept = np.count_nonzero(sparse, axis=0)
        assert (kept == round(density * 12)).all()
        return miss(dense, to_dense(part) + sparse)

    by_rounds = [error(0.25, rounds) for rounds in (0, 1, 2, 4, 8)]
    assert all(b <= a + 1e-10 for a, b in itertools.pairwise(by_rounds))
    assert by_rounds[-1] < by_rounds[0]
    by_density = [error(k / 12, 5) for k in (0, 1, 3, 6, 12)]
    assert all(b <= a + 1e-10 for a, b in itertools.pairwise(by_density))
    assert by_density[-1] < 1e-12


def test_structured_plus_sparse_recovers_spikes_on_a_low_rank_matrix(rng):
    dense = normal(rng, 20, 1) @ normal(rng, 1, 20)
    spikes = np.zeros((20, 20))
    spikes[np.arange(20), rng.permutation(20)] = 3.0
    part, sparse = decompose.structured_plus_sparse(dense + spikes, *low_rank_fit(1), 1 / 20, 40)
    assert_allclose(sparse, spikes, atol=1e-6)
    assert_allclose(part[0] @ part[1], dense, atol=1e-6)
