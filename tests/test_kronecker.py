"""Kronecker products and sums: factors of any structure, spectra, weighted fits, sums of terms."""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from structlin import decompose, specs
from structlin import matrices as ms
from structlin.decompose._lanczos import leading_triplets
from structlin.matrices._kronecker_shapes import full_rank_shapes

KINDS = [np.float32, np.float64, np.complex64]


def normal(rng, *shape, kind=np.float64):
    values = rng.normal(size=shape)
    if np.issubdtype(kind, np.complexfloating):
        values = values + 1j * rng.normal(size=shape)
    return np.asarray(values, kind)


def kron(factors):
    out = np.ones((1, 1))
    for f in factors:
        out = np.kron(out, np.asarray(f))
    return out


def rounding(kind):
    return 200 * float(np.finfo(kind).eps)


def hermitian(rng, n, kind=np.float64):
    half = normal(rng, n, n, kind=kind)
    return half + half.conj().T


# Algebra.


def test_of_takes_products_apart_and_keeps_structures(rng):
    a, b = normal(rng, 2, 3, kind=np.float32), normal(rng, 2, 2, kind=np.float32)
    d = ms.Diagonal(jnp.asarray(normal(rng, 3, kind=np.float32)))
    made = ms.Dense(jnp.asarray(a)).kron(ms.Kronecker((jnp.asarray(b), d)))
    assert [isinstance(f, ms.Matrix) for f in made.factors] == [False, False, True]
    assert_allclose(made.to_dense(), kron([a, b, d.to_dense()]), rtol=1e-6)
    assert made.cost().params == 6 + 4 + 3


def test_structured_factors_are_applied_as_such(rng):
    d = ms.Diagonal(jnp.ones(50))
    made = ms.Kronecker((d, jnp.ones((4, 4)), d))
    assert made.flops() == 2 * made.shape[0] * 4 + 2 * made.shape[0]
    x = normal(rng, 2, made.shape[0], kind=np.float32)
    want = np.repeat(x.reshape(2, 50, 4, 50).sum(2)[:, :, None], 4, axis=2)
    assert_allclose(x @ made, want.reshape(2, -1), rtol=1e-5, atol=1e-5)


def test_products_merge_only_where_that_costs_no_more(rng):
    def made(*shapes):
        return ms.Kronecker(tuple(jnp.asarray(normal(rng, *s, kind=np.float32)) for s in shapes))

    a, b = made((2, 3), (3, 2)), made((3, 2), (2, 3))
    one = a @ b
    assert isinstance(one, ms.Kronecker)
    assert_allclose(one.to_dense(), a.to_dense() @ b.to_dense(), rtol=1e-5, atol=1e-5)
    assert isinstance(made((9, 1), (9, 1)) @ made((1, 9), (1, 9)), ms.Product)
    assert isinstance(made((2, 3), (3, 2)) @ made((2, 1), (3, 1)), ms.Product)


def test_scalars_go_into_the_smallest_factor(rng):
    a, b = jnp.asarray(normal(rng, 4, 4)), jnp.asarray(normal(rng, 2, 2))
    made = 3 * ms.Kronecker((a, b))
    assert isinstance(made, ms.Kronecker)
    assert made.factors[0] is a
    assert_allclose(made.factors[1], 3 * b)


def test_numbers_of_rectangular_factors(rng, x64):
    w = ms.Kronecker((jnp.asarray(normal(rng, 2, 3)), jnp.asarray(normal(rng, 6, 4))))
    dense = np.asarray(w.to_dense())
    got = jax.jit(lambda w: (w.diagonal(), w.trace(), w.frobenius_norm(), w.gram().to_dense()))(w)
    want = np.diagonal(dense), np.trace(dense), np.linalg.norm(dense), dense.T @ dense
    for g, v in zip(got, want, strict=True):
        assert_allclose(g, v, rtol=1e-10, atol=1e-10)
    for operation in ("solve", "inverse", "slogdet", "cholesky", "eigh", "sqrt", "exp"):
        symmetric = ms.Kronecker((jnp.ones((2, 1)), jnp.ones((1, 2))))
        arguments = (np.ones(2),) if operation == "solve" else ()
        with pytest.raises(ms.UnsupportedError, match=f"`{operation}`"):
            getattr(symmetric, operation)(*arguments)


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_svd_and_pinv_of_rectangular_factors(kind, rng, x64):
    thin = normal(rng, 3, 1, kind=kind) @ normal(rng, 1, 2, kind=kind)
    for factors in ((normal(rng, 2, 3, kind=kind), normal(rng, 3, 2, kind=kind)), (thin, thin)):
        w = ms.Kronecker(tuple(map(jnp.asarray, factors)))
        dense = np.asarray(w.to_dense())
        u, s, vh = (np.asarray(getattr(p, "to_dense", lambda p=p: p)()) for p in w.svd())
        assert_allclose((u * s) @ vh, dense, atol=1e-12)
        assert_allclose(s, np.linalg.svd(dense, compute_uv=False)[: len(s)], atol=1e-12)
        assert_allclose(u.conj().T @ u, np.eye(len(s)), atol=1e-12)
        assert_allclose(vh @ vh.conj().T, np.eye(len(s)), atol=1e-12)
        assert_allclose(w.pinv().to_dense(), np.linalg.pinv(dense), atol=1e-10)


def test_pinv_cuts_by_the_largest_singular_value_of_the_whole(x64):
    w = ms.Kronecker((jnp.diag(jnp.array([1.0, 0.1])), jnp.diag(jnp.array([1.0, 0.1]))))
    assert_allclose(np.diagonal(w.pinv(0.05).to_dense()), [1, 10, 10, 0], atol=1e-12)


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_spectra_of_factors_that_are_hermitian_but_for_a_number(kind, rng, x64):
    a, b = hermitian(rng, 2, kind), hermitian(rng, 3, kind)
    turn = np.exp(0.7j) if kind == np.complex128 else -1.0
    w = ms.Kronecker((jnp.asarray(a * turn), jnp.asarray(b / turn)))
    values, vectors = w.eigh()
    dense, v = np.asarray(w.to_dense()), np.asarray(vectors.to_dense())
    assert_allclose(values, np.linalg.eigvalsh(dense), atol=1e-10)
    assert_allclose((v * values) @ v.conj().T, dense, atol=1e-10)
    p = ms.Kronecker((jnp.asarray(a @ a * turn), jnp.asarray(b @ b / turn)))
    whole, lower = np.asarray(p.to_dense()), np.asarray(p.cholesky().to_dense())
    assert_allclose(lower @ lower.conj().T, whole, atol=1e-9)
    assert_allclose(np.triu(lower, 1), 0)
    root = np.asarray(p.sqrt().to_dense())
    assert_allclose(root @ root, whole, atol=1e-9)
    assert isinstance(p.sqrt(), ms.Kronecker)
    assert isinstance(p**-2, ms.Kronecker)
    assert_allclose((p**-2).to_dense() @ whole @ whole, np.eye(6), atol=1e-6)


def test_antisymmetric_factors_have_no_structured_spectrum(x64):
    skew = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    with pytest.raises(ms.UnsupportedError, match="Hermitian themselves"):
        ms.Kronecker((skew, skew)).eigh()


# Kronecker sums.


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
def test_the_exponential_of_a_sum_is_a_product(kind, rng, x64):
    w = ms.kronecker_sum(*(normal(rng, n, n, kind=kind) for n in (2, 3)))
    found = w.exp()
    assert isinstance(found, ms.Kronecker)
    assert_allclose(found.to_dense(), jax.scipy.linalg.expm(w.to_dense()), rtol=1e-9, atol=1e-9)
    dense = np.asarray(w.to_dense())
    assert_allclose(w.frobenius_norm(), np.linalg.norm(dense), rtol=1e-12)
    assert_allclose(w.trace(), np.trace(dense), rtol=1e-12)
    assert_allclose(w.diagonal(), np.diagonal(dense), rtol=1e-12)


def test_sums_of_a_grid_laplacian(x64):
    path = np.diag(np.full(4, 2.0)) - np.eye(4, k=1) - np.eye(4, k=-1)
    w, b = ms.kronecker_sum(path, ms.kronecker_sum(path[:3, :3], path[:2, :2])), np.arange(24.0)
    assert len(w.terms) == 3
    dense = np.asarray(w.to_dense())
    assert_allclose(w.solve(b), np.linalg.solve(dense, b), rtol=1e-10)
    assert_allclose(w.inverse().to_dense(), np.linalg.inv(dense), rtol=1e-9, atol=1e-12)
    assert_allclose(w.slogdet(), np.linalg.slogdet(dense), rtol=1e-12)
    assert_allclose(w.eigh()[0], np.linalg.eigvalsh(dense), rtol=1e-10)
    assert isinstance(w + 2 * w, ms.KroneckerSum)
    assert_allclose((w + 2 * w).to_dense(), 3 * dense)
    skew = ms.kronecker_sum(np.triu(path), np.eye(2))
    solved = jax.jit(lambda w: w.solve(np.ones(8)))(skew)  # whose values nobody can look at
    assert np.isnan(solved).all()


def test_sums_of_what_is_not_square():
    with pytest.raises(ValueError, match=r"square matrices; given shape \(2, 3\)"):
        ms.kronecker_sum(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="at least one"):
        ms.kronecker_sum()
    with pytest.raises(ValueError, match="Hermitian"):
        ms.kronecker_sum(np.triu(np.ones((2, 2))), np.eye(2)).solve(np.ones(4))


# Fits.


@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_two_factors_reach_the_bound(kind, rng):
    shapes = ((3, 2), (2, 4))
    with jax.enable_x64(kind == np.float64):
        dense = normal(rng, 6, 8, kind=kind)
        table = decompose.rearrange(dense.astype(np.complex128), *shapes)
        singular = np.linalg.svd(table, compute_uv=False)
        for count in (1, 2, 4):
            terms = decompose.nearest_kronecker_terms(dense, shapes, count)
            assert {f.dtype for term in terms for f in term} == {np.dtype(kind)}
            error = np.linalg.norm(dense - sum(map(kron, terms))) ** 2
            assert_allclose(error, np.sum(singular[count:] ** 2), rtol=rounding(kind))
        exact = kron(terms[0]) + kron(terms[1])
        again = decompose.nearest_kronecker_terms(jnp.asarray(exact, kind), shapes, 2)
        assert_allclose(sum(map(kron, again)), exact, atol=rounding(kind) * 10)


@pytest.mark.parametrize("kind", KINDS)
def test_large_tables_reach_the_bound_too(kind, rng):
    with jax.enable_x64(kind == np.float64):
        table = normal(rng, 300, 270, kind=kind)
        u, s, vh = map(np.asarray, jax.jit(leading_triplets, static_argnums=1)(table, 1))
        singular = np.linalg.svd(table.astype(np.complex128), compute_uv=False)
        assert_allclose(s, singular[:1], rtol=rounding(kind))
        error = np.linalg.norm(table - (u * s).astype(np.complex128) @ vh) ** 2
        assert_allclose(error, np.sum(singular[1:] ** 2), rtol=rounding(kind))
        exact = normal(rng, 270, 1, kind=kind) @ normal(rng, 1, 300, kind=kind)
        u, s, vh = jax.jit(leading_triplets, static_argnums=1)(exact, 1)
        assert_allclose((u * s) @ vh, exact, atol=rounding(kind))
        u, s, vh = jax.jit(leading_triplets, static_argnums=1)(exact * 0, 1)
        assert_allclose((u * s) @ vh, 0)


def weighted(dense, terms, weights):
    weights = weights[:, None] if weights.ndim == 1 else weights
    return float(np.sum(weights * np.abs(dense - sum(map(kron, terms))) ** 2))


@pytest.mark.parametrize(
    ("kind", "shapes", "terms"),
    [
        (np.float64, ((3, 2), (2, 4)), 2),
        (np.complex128, ((3, 2), (1, 2), (2, 2)), 1),
    ],
)
def test_alternation_never_raises_the_error(kind, shapes, terms, rng, x64):
    dense = normal(rng, 6, 8, kind=kind)
    for weights in (rng.uniform(0, 1, 6) ** 4, rng.uniform(0, 1, (6, 8)) ** 4):
        weights[0] = 0
        fits = [
            decompose.nearest_kronecker_terms(dense, shapes, terms, sweeps, jnp.asarray(weights))
            for sweeps in (0, 1, 40)
        ]
        errors = [weighted(dense, fit, weights) for fit in fits]
        assert np.isfinite(errors).all()
        assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(errors))
        assert errors[-1] < 0.99 * errors[0]


def test_weighted_factors_are_where_the_gradient_vanishes(rng, x64):
    dense, weights = normal(rng, 6, 8), rng.uniform(0.1, 1, (6, 8))
    fit = decompose.nearest_kronecker(dense, ((3, 2), (2, 4)), 2000, jnp.asarray(weights))

    def error(factors):
        return jnp.sum(weights * (dense - jnp.kron(*factors)) ** 2)

    for slope in jax.grad(error)(fit):
        assert np.abs(slope).max() < 1e-5


def test_separable_row_weights_have_a_known_optimum(rng, x64):
    dense, (p, q) = normal(rng, 6, 8), (rng.uniform(0.2, 2, 3), rng.uniform(0.2, 2, 2))
    shapes, root = ((3, 2), (2, 4)), np.sqrt(np.kron(p, q))
    fit = decompose.nearest_kronecker(dense, shapes, 500, jnp.asarray(root**2))
    table = decompose.rearrange(root[:, None] * dense, *shapes)
    best = np.sum(np.linalg.svd(table, compute_uv=False)[1:] ** 2)
    assert_allclose(weighted(dense, [fit], root**2), best, rtol=1e-9)


def test_specs_use_weights_and_terms(rng):
    dense = normal(rng, 6, 8, kind=np.float32)
    by_row, by_entry = rng.uniform(size=6) ** 4, rng.uniform(size=(6, 8)) ** 4
    for spec in (specs.Kron(), specs.Kron(terms=2), specs.Kron(shapes=((6, 8),))):
        plain = np.asarray(spec.fit(dense).to_dense())
        for weights in (by_row, by_entry):
            fit = np.asarray(spec.fit(dense, weights.astype("f")).to_dense())
            w = weights[:, None] if weights.ndim == 1 else weights
            before, after = (np.sum(w * (dense - d) ** 2) for d in (plain, fit))
            assert after < 0.99 * before or before < 1e-9
    covariance = specs.Covariance(np.diag(by_row).astype("f"))
    assert np.isfinite(specs.Kron().fit(dense, covariance).to_dense()).all()


def test_terms_share_the_budget_and_go_by_name():
    spec = specs.Kron(compression=3.0, terms=2)
    made = spec.init(jax.random.key(0), (12, 16))
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(made)]
    assert paths == [
        f"{name}.factors[{i}]" for name in (".kronecker", ".kronecker_1") for i in (0, 1)
    ]
    assert made.cost().compression >= 3
    assert specs.from_json(spec.to_json()) == spec
    with pytest.raises(ValueError, match="2 times"):
        specs.Kron(compression=30.0, terms=2).cost((12, 16))
    with pytest.raises(ValueError, match="at least one term"):
        specs.Kron(terms=0)
    with pytest.raises(ValueError, match="4 terms of shapes"):
        specs.Kron(shapes=((2, 2), (4, 4)), terms=5).cost((8, 8))


def test_enough_terms_are_exact(rng):
    dense = normal(rng, 4, 6, kind=np.float32)
    fit = specs.Kron(shapes=((2, 2), (2, 3)), terms=4).fit(dense)
    assert_allclose(fit.to_dense(), dense, atol=1e-5)


def test_shapes_of_large_sides_are_found_quickly():
    full_rank_shapes.cache_clear()
    start = time.perf_counter()
    choices = full_rank_shapes(30000, 1024, 3)
    assert time.perf_counter() - start < 1
    assert all(np.prod([s[0] for s in c]) == 30000 for c in choices)
