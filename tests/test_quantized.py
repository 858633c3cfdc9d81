"""Matrices in few bits: levels, codes, and what stays exact."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import make
from numpy.testing import assert_allclose, assert_array_equal

from structlin import decompose, specs
from structlin import matrices as ms

KINDS = ["uniform", "symmetric", "kmeans", "quantile"]


def rounded(values, bits, kind):
    """``values`` at the levels of their table, and the table."""
    table = decompose.table_of(values, bits, kind)
    codes = decompose.codes_of(values, table, bits, kind)
    assert codes.dtype == np.uint8
    assert int(codes.max()) < 2**bits
    return np.asarray(decompose.levels(codes, table, bits, kind)), np.asarray(table)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_uniform_error_is_half_a_step_at_most(bits, rng):
    values = jnp.asarray(rng.normal(size=200).astype("f"))
    got, (low, step) = rounded(values, bits, "uniform")
    assert low == values.min()
    assert_allclose(low + step * (2**bits - 1), values.max(), rtol=1e-5)
    assert np.abs(got - values).max() <= step / 2 * 1.001
    if bits > 1:
        got, (step,) = rounded(values, bits, "symmetric")
        assert np.abs(got - values).max() <= step / 2 * 1.001
        assert_array_equal(rounded(jnp.zeros(3), bits, "symmetric")[0], 0)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_kmeans_is_no_worse_than_evenly_spaced_levels(bits, rng):
    for values in (rng.normal(size=300), rng.standard_t(2, size=300), rng.uniform(size=300)):
        values = jnp.asarray(values.astype("f"))
        errors = {
            k: np.sum((rounded(values, bits, k)[0] - values) ** 2) for k in KINDS if k[0] != "s"
        }
        assert errors["kmeans"] <= errors["uniform"] * 1.0001
        assert errors["kmeans"] <= errors["quantile"] * 1.0001
        traced = jax.jit(lambda v: decompose.table_of(v, bits, "kmeans"))(values)
        codes = decompose.codes_of(values, traced, bits, "kmeans")
        error = np.sum((decompose.levels(codes, traced, bits, "kmeans") - values) ** 2)
        assert_allclose(error, errors["kmeans"], rtol=0.05)


def test_lloyd_never_makes_the_error_larger(rng):
    ordered = np.sort(rng.standard_t(2, size=500))
    start = np.linspace(ordered[0], ordered[-1], 8)
    errors = []
    for rounds in range(12):
        levels, error = decompose.lloyd(ordered, start, rounds)
        nearest = np.min((ordered[:, None] - levels) ** 2, axis=1).sum()
        assert_allclose(error, nearest, rtol=1e-9)
        errors.append(error)
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(errors))
    assert errors[-1] < 0.8 * errors[0]


def test_kmeans_finds_levels_that_are_there(rng):
    levels = np.array([-3.0, -1.0, 0.5, 4.0], np.float32)
    values = jnp.asarray(levels[rng.integers(0, 4, size=100)])
    assert_array_equal(rounded(values, 2, "kmeans")[0], values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_products_are_those_of_the_decoded_matrix(bits, kind, rng):
    inner = make("LowRank", -1, np.float32)
    w = ms.Quantized.of(inner, bits, kind)
    decoded = w.decode()
    assert isinstance(decoded, ms.LowRank)
    x, ids = rng.normal(size=(2, 24)).astype("f"), np.array([[3, 0], [23, 3]])
    for got, want in [
        (w.to_dense(), decoded.to_dense()),
        (x @ w, x @ decoded),
        (w[ids], decoded[ids]),
    ]:
        assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    errors = [np.linalg.norm(w.to_dense() - inner.to_dense()) / inner.frobenius_norm()]
    assert errors[0] < {2: 1.5, 3: 0.9, 8: 0.15}[bits]


def test_bytes_and_numbers_are_counted():
    inner = ms.Dense(jnp.arange(200, dtype=jnp.float32).reshape(20, 10))
    cost = ms.Quantized.of(inner, 3).cost()
    assert cost.bytes == 200 * 3 // 8 + 2 * 4
    assert cost.params == 200 + 2  # codes count as numbers, and so do levels
    assert cost.compression_params < 1
    assert (ms.Quantized.of(inner, 3) + inner).cost().params == 402
    assert cost.dense_bytes == 800
    assert ms.Quantized.of(inner, 3, "kmeans").cost().bytes == 75 + 8 * 4


def test_small_and_integer_arrays_are_kept_as_they_are():
    scaled = ms.Scaled.of(make("Sparse", -1, np.float32), 3.0)
    w = ms.Quantized.of(scaled, 4)
    assert w.codes.scalar.dtype == np.float32
    assert_array_equal(w.codes.inner.indices, scaled.inner.indices)
    assert_array_equal(w.decode().inner.indices, scaled.inner.indices)
    assert len(w.tables) == 1


def test_half_precision_and_stacked_matrices(rng):
    w = ms.Quantized.of(ms.Dense(jnp.asarray(rng.normal(size=(40, 30)), jnp.bfloat16)), 8)
    assert w.dtype == w.to_dense().dtype == jnp.bfloat16
    made = [ms.Quantized.of(make("LowRank", -1, np.float32, s), 4) for s in (0, 1)]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *made)
    assert stacked.shape == (24, 36)
    got = jax.vmap(lambda w: w.to_dense())(stacked)
    assert_allclose(got[1], made[1].to_dense(), rtol=1e-6)


def test_constant_arrays_come_back():
    for kind in KINDS:
        w = ms.Quantized.of(ms.Dense(jnp.full((10, 10), 2.5)), 2, kind)
        assert_allclose(w.to_dense(), 2.5, rtol=1e-6)
        zero = ms.Quantized.of(ms.Dense(jnp.zeros((10, 10))), 2, kind)
        assert_array_equal(zero.to_dense(), 0)


def test_tables_can_be_tuned(rng):
    w = ms.Quantized.of(ms.Dense(jnp.asarray(rng.normal(size=(20, 10)).astype("f"))), 2, "kmeans")
    weights, fixed = ms.partition(w)
    slope = jax.grad(lambda t: jnp.sum(ms.combine(t, fixed).to_dense()))(weights)
    assert_allclose(np.sum(slope.tables[0]), 200)


def test_sparse_matrices_are_packed_and_then_quantised(rng):
    spec = specs.Quantized(specs.Sparse(density=0.25), 8, "symmetric")
    dense = rng.normal(size=(40, 20)).astype("f")
    w = spec.fit(dense)
    assert isinstance(w.decode(), ms.Sparse)
    assert w.cost() == spec.cost((40, 20)) == spec.init(jax.random.key(0), (40, 20)).cost()
    exact = specs.Sparse(density=0.25).fit(dense).to_dense()
    assert_allclose(w.to_dense(), exact, atol=np.abs(exact).max() / 127)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: specs.Quantized(specs.Dense(), 9), "1 to 8 bits"),
        (lambda: specs.Quantized(specs.Dense(), 0), "1 to 8 bits"),
        (lambda: specs.Quantized(specs.Dense(), 4, "octree"), "No codebook is named 'octree'"),
        (lambda: specs.Quantized(specs.Dense(), 1, "symmetric"), "2 bits or more"),
        (lambda: ms.Quantized.of(make("Dense", 0, np.float32), 2.5), "1 to 8 bits"),
    ],
)
def test_what_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(("per", "kind"), [("row", "uniform"), (7, "symmetric"), (7, "kmeans")])
def test_groups_have_the_levels_that_they_would_have_alone(per, kind, rng):
    dense = jnp.asarray(rng.normal(size=(6, 20)) * 10.0 ** np.arange(6)[:, None], jnp.float32)
    w = ms.Quantized.of(ms.Dense(dense), 2, kind, per)
    run = 20 if per == "row" else per
    alone = decompose.table_of(dense.reshape(-1)[:run], 2, kind)
    assert_allclose(w.tables[0][0], alone, rtol=1e-4)
    assert w.tables[0].shape[0] == -(-120 // run)
    ids = jnp.array([[5, 0], [3, 3]])
    assert_array_equal(w[ids], w.to_dense()[ids])
    whole = ms.Quantized.of(ms.Dense(dense), 2, kind).to_dense()
    errors = [np.linalg.norm(d[0] - dense[0]) for d in (w.to_dense(), whole)]
    assert errors[0] < 0.8 * errors[1]
    assert w.cost().bytes == 120 * 2 // 8 + w.tables[0].nbytes


def test_tables_of_a_matrix_in_half_precision_take_half(rng):
    dense = jnp.asarray(rng.normal(size=(8, 64)), jnp.float32)
    wide = ms.Quantized.of(ms.Dense(dense), 4, per=32)
    half = ms.Quantized.of(ms.Dense(dense).astype(jnp.float16), 4, per=32)
    assert (wide.cost().bytes, half.cost().bytes) == (256 + 16 * 8, 256 + 16 * 4)
    errors = [np.linalg.norm(w.to_dense().astype(jnp.float32) - dense) for w in (wide, half)]
    assert errors[1] < 1.02 * errors[0]


def cells_of(codes):
    """The bits of a code by its entropy."""
    share = np.bincount(np.asarray(codes).reshape(-1)) / np.asarray(codes).size
    return -np.sum(share[share > 0] * np.log2(share[share > 0]))


@pytest.mark.parametrize("kind", ["uniform", "symmetric"])
@pytest.mark.parametrize("bits", [3, 8])
def test_ends_are_chosen_for_error_or_for_size(bits, kind, rng):
    for values in (rng.standard_t(4, size=3000), rng.exponential(size=3000)):
        values = jnp.asarray(values, jnp.float32)
        error, size = {}, {}
        for clip in (None, "error", "size"):
            table = decompose.table_of(values, bits, kind, clip)
            codes = decompose.codes_of(values, table, bits, kind)
            got = decompose.levels(codes, table, bits, kind)
            error[clip], size[clip] = float(jnp.sum((got - values) ** 2)), cells_of(codes)
        assert error["error"] <= error[None] * 1.0001
        assert error["size"] <= error["error"] * 1.2501
        assert size["size"] < size["error"]


def test_sparse_terms_take_up_what_earlier_ones_lose(rng):
    dense = jnp.asarray(rng.normal(size=(24, 36)), jnp.float32)
    inner = specs.Doped(specs.LowRank(rank=4), density=0.25)
    exact = inner.fit(dense)
    support = np.asarray(exact.terms[1].values) != 0
    plain, fed = (specs.Quantized(inner, 3, feedback=f).fit(dense) for f in (False, True))
    assert plain.cost() == fed.cost()
    assert_array_equal(*(w.decode().terms[1].indices for w in (plain, fed)))
    lost = [np.asarray(w.to_dense() - exact.to_dense()) for w in (plain, fed)]
    assert np.linalg.norm(lost[1][support]) < 0.95 * np.linalg.norm(lost[0][support])
    assert_allclose(lost[1][~support], lost[0][~support], atol=1e-6)
    # In eight bits the sparse term itself loses next to nothing.
    host = ms.Quantized.of(exact.terms[0], 2)
    fed = ms.Quantized.of(ms.Sum((host, exact.terms[1].pack())), 8, feedback=True)
    assert_array_equal(fed.decode().terms[0].to_dense(), host.to_dense())


def test_terms_of_low_rank_take_up_what_earlier_ones_lose(rng):
    host = ms.Diagonal(jnp.asarray(rng.normal(size=24), jnp.float32))
    low = specs.LowRank(rank=8).fit(rng.normal(size=(24, 24)).astype("f"))
    total = (host + low).to_dense()
    errors = [
        np.linalg.norm(ms.Quantized.of(host + low, 3, feedback=f).to_dense() - total)
        for f in (False, True)
    ]
    assert errors[1] < errors[0]
    alone = [ms.Quantized.of(low, 8, feedback=f).to_dense() for f in (False, True)]
    assert_array_equal(*alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per": 0}, "per=0"),
        ({"per": "column"}, "per='column'"),
        ({"per": True}, "per=True"),
        ({"clip": "sigma"}, "clip is 'error', 'size' or None; given 'sigma'"),
        ({"clip": "error", "codebook": "kmeans"}, "places of their own"),
    ],
)
def test_groups_and_ends_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        specs.Quantized(specs.Dense(), 4, **options)
