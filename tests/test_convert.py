"""To and from SciPy, JAX's sparse arrays and lineax."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse
from cases import ALL, LARGE, make
from jax.experimental.sparse import BCOO
from numpy.testing import assert_allclose, assert_array_equal

from structlin import matrices as ms

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


def dense(found):
    """What SciPy makes of ``found``, as an array."""
    if scipy.sparse.issparse(found):
        return found.toarray()
    return found @ np.eye(found.shape[1], dtype=found.dtype)


@pytest.mark.parametrize(("name", "index"), ALL)
def test_scipy_has_the_same_entries(name, index):
    matrix = make(name, index, np.float32)
    want = np.asarray(matrix.to_dense())
    found = ms.to_scipy(matrix)
    assert found.shape == matrix.shape
    assert_allclose(dense(found), want, atol=1e-5)
    if scipy.sparse.issparse(found):
        assert found.format == "csc"
        assert found.nnz == np.count_nonzero(want)
        assert_allclose(ms.from_scipy(found).to_dense(), want, rtol=1e-6)
        assert_allclose(dense(ms.to_scipy(matrix.T)), want.T, rtol=1e-6)
        assert_allclose(ms.to_bcoo(matrix).todense(), want, rtol=1e-6)


def test_the_sparse_structures_are_sparse_in_scipy():
    for name in ("Sparse", "Masked", "Diagonal", "BlockSparse", "NMSparse", "Identity"):
        assert scipy.sparse.issparse(ms.to_scipy(make(name, -1, np.float32))), name
    assert not scipy.sparse.issparse(ms.to_scipy(make("Sum", -1, np.float32)))


@pytest.mark.parametrize(("name", "index"), LARGE)
def test_operator_multiplies_from_both_sides(name, index, rng):
    matrix = make(name, index, np.complex64)
    operator, want = ms.as_linear_operator(matrix), np.asarray(matrix.to_dense())
    m, n = matrix.shape
    x, y = rng.normal(size=(n, 2)), rng.normal(size=m).astype(np.float32)
    assert operator.dtype == np.asarray(want).dtype
    scale = 1e-4 * np.abs(want).sum()
    assert_allclose(operator @ x, want @ x, atol=scale)
    assert_allclose(operator @ x[:, 0], want @ x[:, 0], atol=scale)
    assert_allclose(operator.H @ y, want.conj().T @ y, atol=scale)
    assert_allclose(operator.rmatvec(y), want.conj().T @ y, atol=scale)


def test_operator_serves_scipy_solvers():
    kron = make("Kronecker", -1, np.float32)
    top = scipy.sparse.linalg.svds(ms.as_linear_operator(kron), k=1, return_singular_vectors=False)
    assert_allclose(top[0], np.linalg.norm(kron.to_dense(), 2), rtol=1e-4)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", [(5, 7), (7, 1), (1, 6)])
def test_from_scipy_takes_every_format(format, shape, rng):
    want = rng.normal(size=shape).astype(np.float32) * (rng.random(shape) < 0.4)
    for kind in (scipy.sparse.coo_array, scipy.sparse.coo_matrix):
        packed = ms.from_scipy(kind(want).asformat(format))
        assert_array_equal(packed.to_dense(), want)
        assert packed.values.shape[0] == max(1, (want != 0).sum(axis=0).max())
        distinct = [len(set(column)) for column in np.asarray(packed.indices).T]
        assert set(distinct) == {packed.values.shape[0]}  # padding too names free rows
        assert np.asarray(packed.indices).max() < shape[0]


def test_duplicates_are_summed_and_nothing_is_lost():
    twice = scipy.sparse.coo_array(([1.0, 2.0, 4.0], ([1, 1, 0], [0, 0, 2])), shape=(3, 3))
    assert_array_equal(ms.from_scipy(twice).to_dense(), [[0, 0, 4], [3, 0, 0], [0, 0, 0]])
    empty = ms.from_scipy(scipy.sparse.csr_array((3, 2)))
    assert_array_equal(empty.to_dense(), np.zeros((3, 2)))
    whole = ms.from_scipy(scipy.sparse.csr_array(np.eye(2, dtype=np.int64)))
    assert whole.values.dtype == np.float32


def test_half_precision_becomes_single():
    matrix = make("Sparse", -1, jnp.bfloat16)
    assert ms.to_scipy(matrix).dtype == np.float32
    assert ms.as_linear_operator(matrix).dtype == np.float32


def test_bcoo_round_trip(rng):
    want = (rng.normal(size=(6, 5)) * (rng.random((6, 5)) < 0.4)).astype(np.float32)
    array = BCOO.fromdense(want, nse=20)  # padded by places outside
    assert_array_equal(ms.from_bcoo(array).to_dense(), want)
    sparse = make("Sparse", -1, np.float32)
    assert_array_equal(ms.from_bcoo(ms.to_bcoo(sparse)).to_dense(), sparse.to_dense())
    x = jnp.ones(sparse.shape[0])
    assert_allclose(jax.jit(lambda s: x @ ms.to_bcoo(s))(sparse), x @ sparse, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "index"), LARGE)
def test_lineax_multiplies_by_the_same_matrix(name, index, rng):
    matrix = make(name, index, np.float32)
    operator = ms.to_lineax(matrix)
    x = jnp.asarray(rng.normal(size=matrix.shape[1]), jnp.float32)
    y = jnp.asarray(rng.normal(size=matrix.shape[0]), jnp.float32)
    want = np.asarray(matrix.to_dense())
    assert_allclose(operator.mv(x), want @ x, atol=1e-3)
    assert_allclose(operator.T.mv(y), want.T @ y, atol=1e-3)


def test_lineax_knows_a_diagonal_and_the_tags():
    w = make("Diagonal", -1, np.float32)
    assert lx.is_diagonal(ms.to_lineax(w))
    tagged = ms.to_lineax(w, lx.positive_semidefinite_tag)
    assert lx.is_positive_semidefinite(tagged)
    assert_array_equal(ms.from_lineax(tagged).values, w.values)
    kron = make("Kronecker", 0, np.float32)
    assert not lx.is_positive_semidefinite(ms.to_lineax(kron))


def test_operators_of_lineax_become_matrices(rng):
    a, d = jnp.asarray(rng.normal(size=(3, 3)), jnp.float32), jnp.arange(1.0, 4.0)
    one = lx.IdentityLinearOperator(jax.ShapeDtypeStruct((3,), jnp.float32))
    matrix, diagonal = lx.MatrixLinearOperator(a), lx.DiagonalLinearOperator(d)
    operator = -(matrix @ diagonal + 2.0 * one) / 4.0
    found = ms.from_lineax(operator)
    assert_allclose(found.to_dense(), operator.as_matrix(), rtol=1e-5)
    assert isinstance(ms.from_lineax(diagonal), ms.Diagonal)
    assert_array_equal(ms.from_lineax(one).to_dense(), np.eye(3))


FUNCTION = lx.FunctionLinearOperator(lambda x: 2 * x, jax.ShapeDtypeStruct((3,), jnp.float32))
WIDE = lx.IdentityLinearOperator(jax.ShapeDtypeStruct((2, 2), jnp.float32))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: ms.from_scipy(np.eye(2)), TypeError, "ndarray"),
        (lambda: ms.from_bcoo(np.eye(2)), TypeError, "BCOO"),
        (lambda: ms.from_bcoo(BCOO.fromdense(jnp.ones((2, 2, 2)))), ValueError, "batch or dense"),
        (
            lambda: jax.jit(lambda x: ms.from_bcoo(x).values)(BCOO.fromdense(jnp.eye(2))),
            TypeError,
            "outside jit",
        ),
        (lambda: ms.to_bcoo(make("Kronecker", -1, np.float32)), ms.UnsupportedError, "one by one"),
        (lambda: ms.from_lineax(FUNCTION), TypeError, "FunctionLinearOperator"),
        (lambda: ms.from_lineax(WIDE), TypeError, "one vector"),
        (lambda: ms.from_lineax(np.eye(2)), TypeError, "ndarray"),
    ],
)
def test_bad_input_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()
