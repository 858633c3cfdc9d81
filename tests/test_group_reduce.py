"""Groups of words: chosen by frequency, refined by error, within the bytes that were asked for."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin import decompose, specs
from structlin import matrices as ms

M, N = 300, 12


@pytest.fixture
def table(rng):
    """Words of three subspaces with Zipf's frequencies, in no order."""
    kinds = rng.integers(0, 3, M)
    turns = rng.normal(size=(3, 4, N))
    rows = np.einsum("mk,mkn->mn", rng.normal(size=(M, 4)), turns[kinds])
    rows = rows + 0.3 * rng.normal(size=(M, N))
    weights = rng.permutation(1 / np.arange(1, M + 1))
    return rows.astype("f"), weights.astype("f")


@jax.jit
def formed(matrix):
    """The entries, by one program: many small ones take longer to compile."""
    return matrix.to_dense()


def error(dense, fitted, weights):
    miss = np.asarray(dense, np.float64) - np.asarray(fitted, np.float64)
    return float(np.sum(weights[:, None] * miss**2))


def svd_error(dense, weights, size, itemsize=4):
    """The least weighted error of one low-rank matrix within ``size`` bytes."""
    s = np.linalg.svd(np.sqrt(weights)[:, None] * dense.astype(np.float64), compute_uv=False)
    return float(np.sum(s[size // (itemsize * (M + N)) :] ** 2))


@pytest.mark.parametrize("how", ["equal", "kmeans"])
def test_first_groups_follow_the_frequencies(how, rng):
    weights = rng.permutation(1 / np.arange(1.0, 101))
    labels = decompose.frequency_groups(weights, 4, how)
    ordered = labels[np.argsort(-weights)]
    assert np.all(np.diff(ordered.astype(int)) >= 0)
    assert_array_equal(np.unique(labels), range(4))
    if how == "equal":
        assert_array_equal(np.bincount(labels), [25] * 4)
    equal = decompose.frequency_groups(np.ones(10), 3, how)
    assert_array_equal(equal, np.repeat([0, 1, 2], [4, 3, 3]))


def test_ranks_by_frequency_are_in_proportion_and_fill_the_budget():
    sizes, means = (100, 100, 100), (8.0, 2.0, 1.0)
    ranks = decompose.frequency_ranks(means, sizes, 40, 4 * 140 * 11, (4, 4, 4))
    assert ranks == (8, 2, 1)
    assert decompose.frequency_ranks(means, sizes, 40, 1e9, (4, 4, 4)) == (40, 40, 40)
    assert decompose.frequency_ranks(means, sizes, 40, 0, (4, 4, 4)) == (1, 1, 1)


def test_ranks_by_the_spectra_are_the_best_there_are(rng):
    sizes, n, units = (6, 9, 30), 5, (4, 4, 2)
    spectra = [np.sort(rng.exponential(size=n))[::-1] * scale for scale in (8, 3, 1)]

    def stored(ranks):
        numbers = (g * n if r == n else r * (g + n) for r, g in zip(ranks, sizes, strict=True))
        return sum(u * k for u, k in zip(units, numbers, strict=True))

    def lost(ranks):
        return sum(s[r:].sum() for s, r in zip(spectra, ranks, strict=True))

    choices = list(itertools.product(range(1, n + 1), repeat=3))
    for budget in (200, 330, 480):
        ranks, price = decompose.spectrum_ranks(spectra, sizes, n, budget, units)
        assert stored(ranks) <= budget
        assert price > 0
        # No choice of the same bytes or fewer loses less.
        within = [lost(c) for c in choices if stored(c) <= stored(ranks)]
        assert lost(ranks) <= min(within) * 1.1
        more = [lost(ranks) - lost(c) for c in choices if stored(c) <= budget]
        assert max(more) < 0.25 * lost((1, 1, 1))


def test_each_group_is_the_optimum_of_its_words(table):
    rows, weights = table
    labels = decompose.frequency_groups(weights, 3)
    found = decompose.group_reduce(rows, weights, labels, 6000, (4, 4, 4), rounds=5)
    total = 0.0
    for p, (rank, basis) in enumerate(zip(found.ranks, found.bases, strict=True)):
        own = found.labels == p
        scaled = np.sqrt(weights[own])[:, None] * rows[own]
        total += np.sum(np.linalg.svd(scaled, compute_uv=False)[rank:] ** 2)
        assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-9)
    assert_allclose(found.error, total, rtol=1e-4)


@pytest.mark.parametrize("ranks", ["frequency", "spectrum"])
def test_refinement_never_loses_and_says_how_it_goes(ranks, table):
    rows, weights = table
    labels, told = decompose.frequency_groups(weights, 4, "equal"), []
    first, last = (
        decompose.group_reduce(
            rows,
            weights,
            labels,
            5000,
            (4,) * 4,
            ranks=ranks,
            rounds=rounds,
            progress=lambda *x: told.append(x),
        )
        for rounds in (0, 30)
    )
    assert last.error <= first.error
    turns, shares, moved = zip(*told[1:], strict=True)
    assert turns == tuple(range(len(turns)))
    assert moved[0] == 0
    assert all(x > 0 for x in moved[1:])
    whole = error(rows, 0 * rows, weights)
    assert_allclose(shares[0], first.error / whole, rtol=1e-6 if ranks == "spectrum" else 1)
    if ranks == "spectrum":
        assert last.error < 0.95 * first.error
        assert_allclose(min(shares), last.error / whole, rtol=1e-6)


def test_blocks_of_a_file_give_what_the_array_gives(table, tmp_path, monkeypatch):
    rows, weights = table
    np.save(tmp_path / "rows.npy", rows)
    labels = decompose.frequency_groups(weights, 3)
    whole = decompose.group_reduce(rows, weights, labels, 5000, (4, 4, 4), rounds=3)
    monkeypatch.setattr("structlin.decompose._group_reduce.BLOCK", 37 * N)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    parts = decompose.group_reduce(mapped, weights, labels, 5000, (4, 4, 4), rounds=3)
    assert parts.ranks == whole.ranks
    assert np.mean(parts.labels == whole.labels) > 0.99
    assert_allclose(parts.error, whole.error, rtol=1e-3)


@pytest.mark.parametrize("compression", [2, 4])
def test_it_beats_one_low_rank_matrix_at_its_bytes(compression, table):
    rows, weights = table
    fitted = specs.GroupReduce(compression=compression, groups=3).fit(rows, weights)
    assert fitted.cost().bytes <= rows.nbytes / compression
    found = error(rows, formed(fitted), weights)
    assert found < 0.7 * svd_error(rows, weights, rows.nbytes // compression)
    ids = np.array([0, 299, 128, 127])
    taken = jax.jit(lambda w: w.take(ids))(fitted)
    assert_allclose(taken, np.asarray(formed(fitted))[ids], rtol=1e-4, atol=1e-5)


def test_codes_keep_to_the_budget_and_beat_plain_numbers(table):
    rows, weights = table
    plain = specs.GroupReduce(compression=6, groups=2, codebook="uniform")
    coded = specs.GroupReduce(compression=6, groups=2, bits=(8, 4), codebook="uniform")
    fits = [spec.fit(rows, weights) for spec in (plain, coded)]
    assert all(w.cost().bytes <= rows.nbytes / 6 for w in fits)
    assert [g.bits for g in fits[1].groups] == [8, 4]
    errors = [error(rows, formed(w), weights) for w in fits]
    assert errors[1] < errors[0]
    assert coded.cost((M, N)).bytes <= rows.nbytes / 6


@pytest.mark.parametrize("bits", [4, 8])
def test_codes_whose_tables_leave_little_room_do_no_harm(bits, rng):
    table = rng.normal(size=(83, 8)).astype(np.float32)
    counts = 1000 / np.arange(1, 84)
    plain = specs.GroupReduce(4).fit(table, counts)
    coded = specs.GroupReduce(4, bits=bits).fit(table, counts)
    assert coded.cost().bytes <= table.nbytes / 4

    def error(matrix):
        return counts @ np.sum((np.asarray(matrix.to_dense()) - table) ** 2, axis=1)

    assert error(coded) <= 1.01 * error(plain)


def test_words_that_never_occur_and_counts_that_are_integers(table):
    rows, weights = table
    counts = np.where(weights > 0.02, (weights * 1e6).astype(int), 0)
    fitted = specs.GroupReduce(compression=3, groups=3).fit(rows, counts)
    assert np.isfinite(formed(fitted)).all()
    assert np.abs(formed(fitted)).max() < 10 * np.abs(rows).max()


def test_fisher_and_covariance_weights_lower_their_own_error(table, rng):
    rows, weights = table[0][:60], table[1][:60]
    spec = specs.GroupReduce(compression=2.5, groups=2)
    half = rng.normal(size=(20, 60)) * np.sqrt(weights)
    fisher = rng.lognormal(0, 2, rows.shape).astype("f") * weights[:, None]
    covariance = (half.T @ half).astype("f")
    for kind in (specs.Fisher(jnp.asarray(fisher)), specs.Covariance(jnp.asarray(covariance))):
        made = spec.fit(rows, kind)
        by_rows = fisher.mean(1) if isinstance(kind, specs.Fisher) else np.diagonal(covariance)

        def lost(w, kind=kind):
            miss = rows - np.asarray(formed(w))
            if isinstance(kind, specs.Fisher):
                return np.sum(fisher * miss**2)
            return np.trace(miss.T @ covariance @ miss)

        assert lost(made) < lost(spec.fit(rows, by_rows))
        assert made.cost().bytes <= rows.nbytes / 2.5


def test_columns_are_words_inside_a_transpose(table):
    rows, weights = table
    inner = specs.GroupReduce(compression=3, groups=3, rounds=5)
    by_words = specs.Fisher(jnp.broadcast_to(weights, (N, M)))
    kernel = specs.Transposed(inner).fit(rows.T, by_words)
    assert kernel.shape == (N, M)
    found = error(rows, formed(kernel).T, weights)
    assert_allclose(found, error(rows, formed(inner.fit(rows, weights)), weights), rtol=1e-2)


def test_rows_of_a_large_table_are_taken_without_forming_it(rng):
    labels = rng.integers(0, 2, 50_000)
    sizes = np.bincount(labels)
    groups = [
        ms.LowRank(jnp.ones((g, r)), jnp.ones((r, 64))) for g, r in zip(sizes, (4, 2), strict=True)
    ]
    w = ms.RowGroups.of(groups, labels)
    taken = jax.make_jaxpr(lambda w: w.take(np.arange(8)))(w)
    assert max(v.aval.size for e in taken.jaxpr.eqns for v in e.outvars) <= 8 * 128
    first = jax.jit(lambda w: w.take(np.array([0, 49_999])))(w)
    assert_array_equal(first[:, 0], np.where(labels[[0, 49_999]] == 0, 4, 2))
    stored = w.cost().bytes - sum(g.cost().bytes for g in groups)
    assert stored < 50_000 * 0.25  # an order would take two bytes a row or more


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: specs.GroupReduce(), "give bytes= or compression="),
        (lambda: specs.GroupReduce(2.0, bytes=9), "not both"),
        (lambda: specs.GroupReduce(2.0, groups=0), "groups of 1 or more"),
        (lambda: specs.GroupReduce(2.0, groups=300), "256 groups at most"),
        (lambda: specs.GroupReduce(2.0, grouping="rank"), "grouping kmeans or equal"),
        (lambda: specs.GroupReduce(2.0, ranks="equal"), "ranks spectrum or frequency"),
        (lambda: specs.GroupReduce(2.0, bits=9), "1 to 8 bits"),
        (lambda: specs.GroupReduce(2.0, bits=(8, 4)), "one number of bits for each group"),
        (lambda: specs.GroupReduce(2.0).cost((3, 9)), "a row for each group"),
        (lambda: specs.GroupReduce(99.0).cost((30, 9)), "Ask for compression="),
        (lambda: specs.GroupReduce(bytes=50).cost((30, 9)), "Ask for compression="),
        (
            lambda: jax.jit(specs.GroupReduce(2.0, 2).fit)(np.ones((9, 4), "f"), np.ones(9, "f")),
            "outside jit",
        ),
        (lambda: ms.RowGroups.of([ms.Dense(jnp.ones((2, 2)))], [0, 0, 0]), "name them"),
    ],
)
def test_what_makes_no_sense_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
