"""The laws of every structure: products, rows, transposes, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import ALL, CASES, LARGE, make
from numpy.testing import assert_allclose

from structlin import matrices as ms

pytestmark = pytest.mark.usefixtures("strict_promotion")
every_case = pytest.mark.parametrize(("name", "index"), ALL)
every_structure = pytest.mark.parametrize("name", CASES)

BATCHES = [(), (3,), (2, 3), (0,)]


def tolerance(dtype):
    """Relative and absolute, for entries of order one."""
    wide = np.finfo(dtype).bits == 64
    return {"rtol": 1e-10, "atol": 1e-10} if wide else {"rtol": 1e-4, "atol": 1e-4}


def numbers(rng, shape, dtype):
    """Normal numbers as a NumPy array."""
    values = rng.normal(size=shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.normal(size=shape)
    return np.asarray(values, dtype)


@jax.jit
def products(w, rows, cols, ids):
    """The matrix, then its products and rows, with everything compiled at once."""
    left, right = [x @ w for x in rows], [w @ v for v in cols]
    return w.to_dense(), w.T.to_dense(), w.T.T.to_dense(), left, right, [w.take(ids), w[-1], w[1:]]


def check_products(matrix, rng, dtype, batches=BATCHES):
    """Every product, transpose and choice of rows equals that of the dense matrix."""
    m, n = matrix.shape
    rows = [numbers(rng, (*b, m), dtype) for b in batches]
    cols = [numbers(rng, s, dtype) for s in [(n,), *((*b, n, 2) for b in batches if b != (3,))]]
    ids = np.array([[0, m - 1], [m // 2, 0]])
    dense, flipped, twice, left, right, taken = products(matrix, rows, cols, ids)
    w = np.asarray(dense)
    assert matrix.T.shape == (n, m)
    assert matrix.T.T.shape == dense.shape == (m, n)
    pairs = [
        (flipped, w.T),
        (twice, w),
        *zip(left, [x @ w for x in rows], strict=True),
        *zip(right, [w @ v for v in cols], strict=True),
        *zip(taken, [w[ids], w[-1], w[1:]], strict=True),
    ]
    for got, want in pairs:
        assert got.shape == want.shape
        assert got.dtype == dtype
        assert_allclose(got, want, **tolerance(dtype))


@every_case
def test_products_and_rows_equal_dense(name, index, x64, rng):
    check_products(make(name, index, np.float64), rng, np.dtype("float64"))


@pytest.mark.parametrize(("name", "index"), LARGE)
def test_products_and_rows_equal_dense_in_single_precision(name, index, rng):
    check_products(make(name, index, np.float32), rng, np.dtype("float32"), BATCHES[1:3])


@every_structure
def test_products_of_complex_numbers_equal_dense(name, rng):
    with jax.numpy_dtype_promotion("standard"):
        matrix = make(name, 1, np.complex64)
        assert matrix.dtype == np.complex64
        check_products(matrix, rng, np.dtype("complex64"), BATCHES[2:3])


@every_structure
def test_numpy_operands_of_any_dtype(name, rng):
    matrix = make(name, 0, np.float32)
    (m, n), dense = matrix.shape, np.asarray(matrix.to_dense())
    with jax.numpy_dtype_promotion("standard"):
        for x in (np.arange(2 * m).reshape(2, m), rng.normal(size=(2, m))):
            for got in (matrix.rmatmul(x), x @ matrix):
                assert isinstance(got, jax.Array)
                assert got.dtype == np.float32
                assert_allclose(got, x @ dense, rtol=1e-5, atol=1e-5)
        for v in (np.arange(n), rng.normal(size=(n, 2))):
            got = matrix @ v
            assert isinstance(got, jax.Array)
            assert_allclose(got, dense @ v, rtol=1e-5, atol=1e-5)


@every_structure
def test_bfloat16_stays(name):
    matrix = make(name, 0, jnp.bfloat16)
    assert matrix.dtype == jnp.bfloat16
    assert matrix.rmatmul(jnp.ones((2, matrix.shape[0]), jnp.bfloat16)).dtype == jnp.bfloat16
    assert (matrix @ jnp.ones(matrix.shape[1], jnp.bfloat16)).dtype == jnp.bfloat16
    assert matrix.take(jnp.zeros(2, jnp.int32)).dtype == jnp.bfloat16
    assert matrix.to_dense().dtype == jnp.bfloat16


@every_structure
def test_stored_numpy_arrays_work_under_jit(name):
    matrix = make(name, 0, np.float32)
    loaded, m = jax.tree.map(np.asarray, matrix), matrix.shape[0]
    got = jax.jit(lambda x, ids: (x @ loaded, loaded.take(ids)))(np.eye(m, dtype="f"), np.arange(m))
    assert_allclose(got[0], matrix.to_dense(), rtol=1e-5)
    assert_allclose(got[1], matrix.to_dense(), rtol=1e-5)


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if c[1] > 0])
def test_gradients_equal_those_through_dense(name, index, x64, rng):
    matrix = make(name, index, np.float64)
    m, n = matrix.shape
    weights, fixed = ms.partition(matrix)
    x, v, ids = rng.normal(size=(2, m)), rng.normal(size=(2, n)), np.array([0, m - 1, 0])

    def structured(weights, x, v):
        w = ms.combine(weights, fixed)
        return jnp.sum((x @ w) ** 2) + jnp.sum((w @ v.T) ** 2) + jnp.sum(w.take(ids) ** 2)

    def through_dense(weights, x, v):
        w = ms.combine(weights, fixed).to_dense()
        return jnp.sum((x @ w) ** 2) + jnp.sum((w @ v.T) ** 2) + jnp.sum(w[ids] ** 2)

    both = jax.jit(lambda *a: [jax.grad(f, (0, 1, 2))(*a) for f in (structured, through_dense)])
    got, want = both(weights, x, v)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    assert jax.tree.leaves(got)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_allclose(g, w, rtol=1e-9, atol=1e-9)
