"""Fits of dense arrays: exact where they can be, optimal where an optimum is known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin import decompose, matrices, specs

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


def falling(rng, m, n, power, kind=np.float64):
    """A matrix whose singular values are ``i ** power``."""
    u = np.linalg.qr(normal(rng, m, n, kind=kind))[0]
    v = np.linalg.qr(normal(rng, n, n, kind=kind))[0]
    return u * np.arange(1, n + 1.0) ** power @ v.conj().T


@every_kind
def test_randomized_svd_is_near_the_optimum_and_tells_its_error(kind, rng):
    dense = falling(rng, 90, 60, -1.0, kind=kind)
    singular = np.linalg.svd(dense, compute_uv=False)
    found = decompose.randomized_svd(dense, 4)
    made = (found.u * found.s) @ found.vh
    assert found.u.dtype == kind
    assert_allclose(found.s, singular[:4], rtol=1e-5)
    assert_allclose(found.residual, miss(dense, made))
    assert found.residual <= (1 + 1e-4) * np.linalg.norm(singular[4:])
    assert singular[4] * (1 - 1e-9) <= np.linalg.norm(dense - made, 2) <= found.bound
    assert_allclose(found.u.conj().T @ found.u, np.eye(4), atol=1e-10)
    assert_allclose(found.vh @ found.vh.conj().T, np.eye(4), atol=1e-10)
    whole = decompose.randomized_svd(dense, 60)
    assert whole.residual < 1e-9
    with pytest.raises(ValueError, match="rank from 1 to 60"):
        decompose.randomized_svd(dense, 61)
    with pytest.raises(ValueError, match="oversample >= 0"):
        decompose.randomized_svd(dense, 4, oversample=-1)


@every_kind
@pytest.mark.parametrize("shape", [(90, 60), (60, 90)])
@pytest.mark.parametrize("limits", [(8, 64, 12), (8, 64, 1000), (8, 16, 12)])
def test_large_matrices_come_near_the_optimum(kind, shape, limits, rng, monkeypatch):
    names = ("LAPACK_SIDE", "GRAM_SIDE", "FEW")
    for name, limit in zip(names, limits, strict=True):
        monkeypatch.setattr(f"structlin.decompose._leading.{name}", limit)
    dense = falling(rng, 90, 60, -0.5, kind=kind)
    dense = (dense if shape == dense.shape else dense.T) * 1e-30
    singular = np.linalg.svd(dense, compute_uv=False)
    left, right = decompose.truncated_svd(dense, 5)
    assert miss(dense, left @ right) <= (1 + 1e-4) * np.linalg.norm(singular[5:])
    zero = decompose.truncated_svd(np.zeros(shape), 2)
    assert_array_equal(zero[0] @ zero[1], np.zeros(shape))


def subset_error(dense, kept):
    """The error of a rank-one fit to the columns that are not ``kept``."""
    rest = np.delete(dense, kept, axis=1)
    return np.linalg.norm(np.linalg.svd(rest, compute_uv=False)[1:])


@pytest.mark.parametrize("j", [1, 3])
def test_chosen_columns_of_hmd(j):
    hits = []
    choose = jax.jit(decompose.hmd_columns, static_argnums=1)
    for seed in range(10):
        dense = np.random.default_rng(seed).normal(size=(5, 7))
        order = np.asarray(choose(dense, j))
        assert sorted(order) == list(range(7))
        error = subset_error(dense, order[:j])
        assert error <= subset_error(dense, range(j)) + 1e-12
        best = min(subset_error(dense, s) for s in itertools.combinations(range(7), j))
        hits.append(error <= best + 1e-9)
    assert sum(hits) >= 8


def test_fits_of_hmd_with_chosen_columns(rng):
    dense = np.outer(rng.normal(size=12), rng.normal(size=10))
    dense[:, [3, 8]] = rng.normal(size=(12, 2))
    for weights in (
        None,
        specs.Rows(rng.uniform(0.5, 2, 12)),
        specs.Fisher(rng.uniform(0.5, 2, (12, 10))),
        specs.Covariance(np.diag(rng.uniform(0.5, 2, 12))),
    ):
        made = specs.HMD(dense_columns=2, columns="best").fit(dense, weights)
        assert_allclose(made.to_dense(), dense, atol=1e-8)
    spec = specs.HMD(compression=2.0, columns="best")
    plain = specs.HMD(compression=2.0)
    assert spec.cost((12, 10)).bytes <= 12 * 10 * 4 / 2
    assert (
        spec.sized((12, 10)).cost((12, 10)).bytes == plain.sized((12, 10)).cost((12, 10)).bytes + 10
    )
    noise = rng.normal(size=(12, 10))
    same = [
        miss(noise, specs.HMD(dense_columns=4, columns=c).fit(noise).to_dense())
        for c in ("first", "best")
    ]
    assert same[1] < same[0]


@pytest.mark.parametrize(
    "build",
    [
        lambda: specs.LowRank(rank=2.5),
        lambda: specs.HMD(dense_columns=1.5),
        lambda: specs.HMD(dense_columns=1, rank_blocks=1.5),
        lambda: specs.HMD(dense_columns=1, columns="some"),
        lambda: specs.HMD(dense_columns=1, columns="best", rank_blocks=2),
    ],
)
def test_sizes_are_whole_numbers(build):
    with pytest.raises(ValueError, match="whole number|columns"):
        build()


@every_kind
def test_low_rank_in_closed_form(kind, rng):
    left, right = normal(rng, 7, 2, kind=kind), normal(rng, 2, 5, kind=kind)
    w, dense = matrices.LowRank(jnp.asarray(left), jnp.asarray(right)), left @ right
    u, s, vh = w.svd()
    assert s.shape == (2,)
    assert_allclose(u.to_dense() * s @ vh.to_dense(), dense, atol=1e-12)
    assert_allclose(w.pinv().to_dense(), np.linalg.pinv(dense), atol=1e-11)
    assert_allclose(w.gram().to_dense(), dense.conj().T @ dense, atol=1e-12)
    assert_allclose(w.trace(), np.trace(dense))
    assert_allclose(w.frobenius_norm(), np.linalg.norm(dense))
    # Columns that cancel, a factor without full rank, and zero: the norm and its gradient.
    near = np.concatenate([left[:, :1], left[:, :1]], 1)
    other = np.concatenate([right[:1], -right[:1] * (1 - 1e-9)])
    found = matrices.LowRank(jnp.asarray(near), jnp.asarray(other)).frobenius_norm()
    assert_allclose(found, 1e-9 * np.linalg.norm(np.outer(left[:, 0], right[0])), rtol=1e-5)

    def slope(f, *at):
        return jax.grad(lambda *x: f(*x).real, argnums=(0, 1))(*map(jnp.asarray, at))

    for factors in ((left, right), (left * [1, 0], right)):
        mine = slope(lambda a, b: matrices.LowRank(a, b).frobenius_norm(), *factors)
        dense_one = slope(lambda a, b: jnp.linalg.norm(a @ b), *factors)
        for a, b in zip(mine, dense_one, strict=True):
            assert_allclose(a, b, atol=1e-12)
    nothing = slope(lambda a, b: matrices.LowRank(a, b).frobenius_norm(), left * 0, right)
    assert all(np.isfinite(x).all() for x in nothing)
