"""The laws of every structure: products, rows, transposes, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import ALL, CASES, make
from laws import close, numbers, precision, wide
from numpy.testing import assert_allclose

from structlin import matrices as ms

pytestmark = pytest.mark.usefixtures("strict_promotion")
every_case = pytest.mark.parametrize(("name", "index"), ALL)
every_structure = pytest.mark.parametrize("name", CASES)


@jax.jit
def products(w, rows, cols, ids):
    """The matrix, then its products and rows, with everything compiled at once."""
    left, right = [x @ w for x in rows], [w @ v for v in cols]
    return w.to_dense(), w.T.to_dense(), w.T.T.to_dense(), left, right, [w.take(ids), w[-1], w[1:]]


@every_case
def test_products_and_rows_equal_dense(name, index, x64, rng):
    matrix = make(name, index, np.float64)
    m, n = matrix.shape
    rows = [rng.normal(size=(*batch, m)) for batch in [(), (2, 3), (0,)]]
    cols = [rng.normal(size=shape) for shape in [(n,), (2, n, 2), (0, n, 1)]]
    ids = np.array([[0, -1], [m // 2, m + 5], [-m, -m - 5]])  # under jit the last are clamped
    dense, flipped, twice, left, right, taken = products(matrix, rows, cols, ids)
    w = np.asarray(dense)
    assert matrix.T.shape == (n, m)
    assert matrix.T.T.shape == dense.shape == (m, n)
    close(flipped, w.T, np.float64)
    close(twice, w, np.float64)
    for got, x in zip(left, rows, strict=True):
        close(got, x @ w, np.float64, what=f"rows {x.shape}")
    for got, v in zip(right, cols, strict=True):
        close(got, w @ v, np.float64, what=f"columns {v.shape}")
    inside = np.array([[0, m - 1], [m // 2, m - 1], [0, 0]])
    for got, want in zip(taken, [w[inside], w[-1], w[1:]], strict=True):
        close(got, want, np.float64, what="take")


@every_structure
def test_rows_out_of_range_raise(name):
    matrix = make(name, 1, np.float32)
    m = len(matrix)
    for rows in (m, -m - 1, [0, m], np.array([[0], [-m - 1]]), jnp.array([m])):
        with pytest.raises(IndexError, match=f"numbered from {-m} to {m - 1}"):
            matrix.take(rows)


@jax.jit
def in_many_dtypes(made, rows, cols):
    """Of each matrix its products and rows, and its entries in a wider dtype."""

    def one(w, x, v):
        wider = w.astype(np.float32) if jnp.finfo(w.dtype).bits < 32 else w
        return wider.to_dense(), w.to_dense(), x @ w, w @ v, w.take(np.array([0, -1]))

    return [one(*parts) for parts in zip(made, rows, cols, strict=True)]


@pytest.mark.parametrize(
    "dtypes", [("float32", "bfloat16", "float16"), ("complex64",)], ids=["real", "complex"]
)
@every_structure
def test_products_keep_every_dtype(name, dtypes, rng):
    with precision(dtypes[0]):
        made = [make(name, 1, dtype) for dtype in dtypes]
        m, n = made[0].shape
        rows = [numbers(rng, (2, m), jnp.dtype(dtype)) for dtype in dtypes]
        cols = [numbers(rng, n, jnp.dtype(dtype)) for dtype in dtypes]
        results = in_many_dtypes(made, rows, cols)
    for matrix, dtype, x, v, got in zip(made, dtypes, rows, cols, results, strict=True):
        w, x, v = wide(got[0]), wide(x), wide(v)
        assert matrix.dtype == dtype
        for g, want in zip(got[1:], (w, x @ w, w @ v, w[[0, -1]]), strict=True):
            close(g, want, jnp.dtype(dtype))


@every_structure
def test_numpy_operands_of_any_dtype(name, rng):
    matrix = make(name, 0, np.float32)
    m, n = matrix.shape
    rows = [np.arange(2 * m).reshape(2, m), rng.normal(size=(2, m))]
    cols = [np.arange(n), rng.normal(size=(n, 2))]
    with jax.numpy_dtype_promotion("standard"):
        got = jax.jit(
            lambda w: (
                w.to_dense(),
                [product for x in rows for product in (w.rmatmul(x), x @ w)],
                [w @ v for v in cols],
            )
        )(matrix)
    dense, left, right = np.asarray(got[0]), got[1], got[2]
    for g, x in zip(left, np.repeat(np.arange(2), 2), strict=True):
        close(g, rows[x] @ dense, np.float32)
    for g, v in zip(right, cols, strict=True):
        close(g, dense @ v, np.float32)


@every_structure
def test_stored_numpy_arrays_work_under_jit(name):
    matrix = make(name, 0, np.float32)
    loaded, m = jax.tree.map(np.asarray, matrix), matrix.shape[0]
    got = jax.jit(lambda x, ids: (x @ loaded, loaded.take(ids)))(np.eye(m, dtype="f"), np.arange(m))
    assert_allclose(got[0], matrix.to_dense(), rtol=1e-5)
    assert_allclose(got[1], matrix.to_dense(), rtol=1e-5)


@pytest.mark.parametrize(("name", "index"), [c for c in ALL if c[1] > 0])
def test_derivatives_equal_those_through_dense(name, index, x64, rng):
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

    @jax.jit
    def derivatives(point, tangents):
        backward = [jax.grad(f, (0, 1, 2))(*point) for f in (structured, through_dense)]
        return *backward, jax.jvp(structured, point, tangents)[1]

    point = (weights, x, v)
    tangents = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), point)
    got, want, forward = derivatives(point, tangents)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    sums = []
    for g, w, t in zip(*map(jax.tree.leaves, (got, want, tangents)), strict=True):
        close(g, w, np.float64, 1e7)
        sums.append(np.sum(np.asarray(w) * t))
    assert_allclose(forward, sum(sums), rtol=1e-8, atol=1e-8)
