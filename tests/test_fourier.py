"""Circulant, Toeplitz and Fourier matrices, by their definitions."""

import cmath
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from structlin import kernels, specs
from structlin import matrices as ms


def circulant(rng, n, dtype=np.float64):
    row = rng.normal(size=n)
    if np.issubdtype(dtype, np.complexfloating):
        row = row + 1j * rng.normal(size=n)
    return ms.Circulant(jnp.asarray(row, dtype))


def symmetric(rng, n):
    """A circulant matrix that equals its transpose."""
    row = rng.normal(size=n)
    return ms.Circulant(jnp.asarray(row + np.roll(row[::-1], 1)))


def test_circulant_entries_by_definition(x64, rng):
    matrix = circulant(rng, 5)
    for i in range(5):
        for j in range(5):
            assert matrix.to_dense()[i, j] == matrix.row[(j - i) % 5]


@pytest.mark.parametrize(("m", "n"), [(1, 4), (4, 1), (3, 5), (5, 3)])
def test_toeplitz_entries_by_definition(m, n, x64, rng):
    matrix = ms.Toeplitz(jnp.asarray(rng.normal(size=m + n - 1)), m)
    dense = np.asarray(matrix.to_dense())
    assert dense.shape == (m, n)
    for i in range(m):
        for j in range(n):
            assert dense[i, j] == matrix.diagonals[j - i + m - 1]


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_fourier_entries_by_definition(n, x64):
    for kind in ("fourier", "inverse", "hartley"):
        dtype = "float64" if kind == "hartley" else "complex128"
        matrix = ms.Fourier(n, dtype, kind)
        got = np.asarray(matrix.to_dense())
        for j in range(n):
            for k in range(n):
                angle = 2 * math.pi * j * k / n
                turn = cmath.exp((1j if kind == "inverse" else -1j) * angle)
                want = turn if kind != "hartley" else math.cos(angle) + math.sin(angle)
                assert abs(got[j, k] - want / math.sqrt(n)) < 1e-14
        x = np.eye(n)[:2].astype(dtype)
        assert_allclose(x @ matrix, got[:2], atol=1e-14)
        assert_allclose(matrix.inverse() @ got, np.eye(n), atol=1e-14)


def test_rows_of_long_fourier_matrices_stay_exact(x64):
    n = 1_000_003
    row = np.asarray(ms.Fourier(n, "float64")[n - 1])
    k = np.arange(n)
    want = np.cos(2 * np.pi * k / n) - np.sin(2 * np.pi * k / n)  # row n - 1 is row -1
    assert np.abs(row - want / n**0.5).max() < 1e-12


def test_complex_inputs_of_the_real_transform(rng, x64):
    matrix = ms.Fourier(6, "float64")
    x = rng.normal(size=(2, 6)) + 1j * rng.normal(size=(2, 6))
    assert_allclose(x @ matrix, x @ np.asarray(matrix.to_dense()), atol=1e-12)


def test_the_fourier_matrix_keeps_its_kind_in_another_dtype():
    matrix = ms.Fourier.of(4).astype(jnp.complex64)
    assert matrix.dtype == np.complex64
    assert_allclose(matrix.to_dense(), ms.Fourier.of(4).to_dense(), atol=1e-6)
    assert ms.Fourier.of(4, jnp.complex64).kind == "fourier"


def test_fast_lengths_have_small_factors_and_are_the_least():
    smooth = {2**a * 3**b * 5**c for a in range(10) for b in range(7) for c in range(5)}
    for n in range(1, 300):
        assert kernels.fast_length(n) == min(s for s in smooth if s >= n)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_circulants_form_an_algebra(n, dtype, x64, rng):
    a, b = circulant(rng, n, dtype), circulant(rng, n, dtype)
    x, y = np.asarray(a.to_dense()), np.asarray(b.to_dense())
    made = {"product": a @ b, "sum": a + b, "scaled": a * 2.0, "gram": a.gram(), "cube": a**3}
    want = {
        "product": x @ y,
        "sum": x + y,
        "scaled": 2 * x,
        "gram": x.conj().T @ x,
        "cube": x @ x @ x,
    }
    made |= {"inverse": a.inverse(), "pinv": a.pinv(), "power -2": a**-2}
    want |= {"inverse": np.linalg.inv(x), "pinv": np.linalg.pinv(x)}
    want["power -2"] = np.linalg.matrix_power(want["inverse"], 2)
    for what, matrix in made.items():
        assert isinstance(matrix, ms.Circulant), what
        assert matrix.dtype == dtype
        assert_allclose(matrix.to_dense(), want[what], rtol=1e-8, atol=1e-8, err_msg=what)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_spectra_of_circulants_that_are_not_hermitian(n, dtype, x64, rng):
    matrix = circulant(rng, n, dtype)
    w = np.asarray(matrix.to_dense())
    for got, want in zip(matrix.slogdet(), np.linalg.slogdet(w), strict=True):
        assert_allclose(got, want, rtol=1e-9)
    u, s, vh = (np.asarray(p if isinstance(p, jax.Array) else p.to_dense()) for p in matrix.svd())
    assert {u.dtype, vh.dtype} == {np.dtype(dtype)}
    assert_allclose(s, np.linalg.svd(w)[1], atol=1e-12)
    assert_allclose(u @ u.conj().T, np.eye(n), atol=1e-12)
    assert_allclose(vh @ vh.conj().T, np.eye(n), atol=1e-12)
    assert_allclose(u * s @ vh, w, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_real_symmetric_circulants_have_real_eigenvectors(n, x64, rng):
    matrix = symmetric(rng, n)
    values, vectors = matrix.eigh()
    w, v = np.asarray(matrix.to_dense()), np.asarray(vectors.to_dense())
    assert v.dtype == np.float64
    assert_allclose(values, np.linalg.eigvalsh(w), atol=1e-12)
    assert_allclose(v.T @ v, np.eye(n), atol=1e-12)
    assert_allclose(w @ v, v * values, atol=1e-12)


def test_functions_of_real_circulants_are_real(x64, rng):
    for n in (5, 6):
        matrix = circulant(rng, n)
        series, term = np.eye(n), np.eye(n)
        for k in range(1, 60):
            term = term @ np.asarray(matrix.to_dense()) / k
            series = series + term
        assert_allclose(matrix.exp().to_dense(), series, rtol=1e-9, atol=1e-9)
        square = matrix @ matrix.T + matrix @ matrix  # not symmetric; real eigenvalues positive
        root = square.sqrt()
        assert root.dtype == np.float64
        assert_allclose((root @ root).row, square.row, atol=1e-9)
        assert_allclose((square**0.25).row, root.sqrt().row, atol=1e-9)


def test_roots_that_are_not_real_are_not_numbers(x64):
    assert np.isnan(ms.Circulant(jnp.array([-1.0, 0.5, 0.1])).sqrt().row).all()
    alternating = ms.Circulant(jnp.array([1.0, 2.0]))  # eigenvalues 3 and -1
    assert np.isnan((alternating**0.5).row).all()
    assert np.isfinite((alternating + 0j * alternating).sqrt().row).all()


def test_singular_circulants(x64):
    matrix = ms.Circulant(jnp.array([1.0, 0.0, -1.0, 0.0]))
    w = np.asarray(matrix.to_dense())
    assert_allclose(matrix.pinv().to_dense(), np.linalg.pinv(w), atol=1e-12)
    sign, logdet = matrix.slogdet()
    assert (sign, logdet) == (0, -np.inf)
    u, s, vh = matrix.svd()
    assert_allclose((u @ ms.Diagonal(s) @ vh).to_dense(), w, atol=1e-12)


def lstsq(dense, basis, weights):
    """Coefficients of the patterns ``basis`` ``(k, m, n)`` by weighted least squares."""
    root = np.sqrt(np.broadcast_to(weights, dense.shape)).ravel()
    columns = basis.reshape(len(basis), -1).T
    return np.linalg.lstsq(root[:, None] * columns, root * dense.ravel(), rcond=None)[0]


@pytest.mark.parametrize("weights", ["none", "rows", "fisher"])
def test_fits_are_least_squares(weights, x64, rng):
    m, n = 4, 6
    for spec, shape, field in (
        (specs.Circulant(), (n, n), "row"),
        (specs.Toeplitz(), (m, n), "diagonals"),
        (specs.Toeplitz(), (n, m), "diagonals"),
    ):
        dense, rows, entries = rng.normal(size=shape), rng.random(shape[0]), rng.random(shape)
        offsets = np.arange(shape[1]) - np.arange(shape[0])[:, None]
        kinds = range(n) if field == "row" else range(1 - shape[0], shape[1])
        wrapped = offsets % n if field == "row" else offsets
        basis = np.stack([wrapped == k for k in kinds]).astype(float)
        given, by_entry = {
            "none": (None, np.ones(shape)),
            "rows": (specs.Rows(rows), rows[:, None]),
            "fisher": (specs.Fisher(entries), entries),
        }[weights]
        fit = spec.fit(dense, given)
        assert_allclose(getattr(fit, field), lstsq(dense, basis, by_entry), atol=1e-12)


def test_diagonals_without_weight_become_zero():
    entries = np.eye(3, dtype=np.float32)
    dense = np.arange(1.0, 10.0, dtype=np.float32).reshape(3, 3)
    assert specs.Toeplitz().fit(dense, specs.Fisher(entries)).diagonals.tolist() == [0, 0, 5, 0, 0]
    assert specs.Circulant().fit(dense, specs.Fisher(entries)).row.tolist() == [5, 0, 0]


def test_complex_and_narrow_fits(rng):
    dense = (rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))).astype("complex64")
    fit = specs.Circulant().fit(dense)
    assert_allclose(fit.row[0], np.trace(dense) / 3, rtol=1e-5)
    half = specs.Toeplitz().fit(jnp.ones((3, 4), jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    assert (half.diagonals == 1).all()


def test_circulants_that_are_not_square():
    for use in (
        lambda: specs.Circulant().init(jax.random.key(0), (3, 4)),
        lambda: specs.Circulant().fit(np.ones((3, 4), "f")),
        lambda: specs.Circulant().cost((3, 4)),
    ):
        with pytest.raises(ValueError, match=r"square; 3 x 4 is not. `Toeplitz`"):
            use()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_transformed_in_single(dtype, rng):
    x = jnp.asarray(rng.normal(size=(2, 8)), dtype)
    for matrix in (
        specs.Circulant().init(jax.random.key(0), (8, 8), dtype),
        specs.Toeplitz().init(jax.random.key(0), (8, 5), dtype),
        ms.Fourier.of(8, dtype),
    ):
        got = x @ matrix
        assert got.dtype == dtype
        want = np.asarray(x, np.float32) @ np.asarray(matrix.to_dense(), np.float32)
        assert_allclose(np.asarray(got, np.float32), want, atol=0.03)


@pytest.mark.parametrize(
    ("spec", "shape"), [(specs.Circulant(), (48, 48)), (specs.Toeplitz(), (48, 64))], ids=str
)
def test_init_keeps_the_variance_of_its_input(spec, shape, rng):
    made = jax.jit(lambda key: spec.init(key, shape).to_dense())
    x = rng.normal(size=(32, shape[0]))
    keys = (jax.random.key(seed, impl="rbg") for seed in range(24))
    mean = np.mean([np.mean((x @ np.asarray(made(key))) ** 2) for key in keys])
    assert 1 / 1.5 < mean < 1.5


def test_forward_and_backward_derivatives_agree(x64, rng):
    x, v = rng.normal(size=(2, 5)), rng.normal(size=(2, 5))
    for matrix in (circulant(rng, 5), ms.Toeplitz(jnp.asarray(rng.normal(size=7)), 5)):
        tangent = jax.tree.map(jnp.ones_like, matrix)

        def loss(w, x):
            return jnp.sum((x @ w) ** 3)

        _, forward = jax.jvp(loss, (matrix, x), (tangent, v))
        by_w, by_x = jax.grad(loss, (0, 1))(matrix, x)
        backward = jnp.sum(by_x * v) + sum(jnp.sum(g) for g in jax.tree.leaves(by_w))
        assert_allclose(forward, backward, rtol=1e-9)
