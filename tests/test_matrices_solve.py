"""Linear systems and determinants, where a structure has them, and the refusal where it has not."""

import jax
import numpy as np
import pytest
from cases import CASES, dense, diagonal, kronecker, low_rank, make, of, scaled
from numpy.testing import assert_allclose

from structlin import matrices as ms

SOLVABLE = {
    "Dense": dense(4, 4),
    "Diagonal": diagonal(5),
    "Kronecker": kronecker((2, 2), (3, 3)),
    "Kronecker of three": kronecker((2, 2), (1, 1), (3, 3)),
    "Product": of(ms.Product.of, diagonal(4), kronecker((2, 2), (2, 2)), dense(4, 4)),
    "Scaled": scaled(dense(3, 3), -2.0),
}


def able(operation):
    """The structures that define ``operation`` themselves."""
    default = getattr(ms.Matrix, operation)
    return {name for name, c in ms.REGISTRY.items() if getattr(c, operation) is not default}


def test_every_structure_that_solves_has_a_case():
    missing = able("solve") - set(SOLVABLE)
    assert not missing, f"add a square case of {sorted(missing)} to SOLVABLE in {__file__}"


@pytest.mark.parametrize("name", SOLVABLE)
def test_solve_and_slogdet_equal_dense(name, dtype, rng):
    matrix = SOLVABLE[name](jax.random.key(0), dtype)
    full, m = np.asarray(matrix.to_dense()), matrix.shape[0]
    bound = 1e-8 if dtype == np.float64 else 1e-2
    for b in (rng.normal(size=m).astype(dtype), rng.normal(size=(m, 2)).astype(dtype)):
        x = matrix.solve(b)
        assert x.shape == b.shape
        assert x.dtype == dtype
        assert_allclose(x, np.linalg.solve(full, b), rtol=bound, atol=bound)
    for got, want in zip(matrix.slogdet(), np.linalg.slogdet(full), strict=True):
        assert got.dtype == dtype
        assert_allclose(got, want, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", ["Diagonal", "Kronecker", "Scaled"])
def test_complex_determinants(name):
    matrix = SOLVABLE[name](jax.random.key(0), np.complex64)
    want = np.linalg.slogdet(np.asarray(matrix.to_dense()))
    for got, w in zip(matrix.slogdet(), want, strict=True):
        assert_allclose(got, w, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("operation", ["solve", "slogdet"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_unsupported_names_who_can(name, operation):
    matrix = make(name, 0, np.float32)
    arguments = (np.ones(matrix.shape[0], np.float32),) if operation == "solve" else ()
    if name in able(operation) - {"Transposed"}:
        return
    with pytest.raises(ms.UnsupportedError) as raised:
        getattr(matrix, operation)(*arguments)
    message = str(raised.value)
    assert f"has no structured `{operation}`" in message
    assert "Call `.to_dense()` first" in message
    assert ", ".join(sorted(able(operation))) in message


def test_square_products_of_rectangular_parts_say_so():
    split = kronecker((2, 3), (3, 2))(jax.random.key(0), np.float32)
    for refused in (lambda: split.solve(np.ones(6, np.float32)), split.slogdet):
        with pytest.raises(ms.UnsupportedError, match="Kronecker of shape"):
            refused()
    thin = low_rank(4, 2, 3)(jax.random.key(0), np.float32)
    for refused in (lambda: (thin @ thin.T).solve(np.ones(4)), (thin @ thin.T).slogdet):
        with pytest.raises(ValueError, match="needs square factors"):
            refused()
