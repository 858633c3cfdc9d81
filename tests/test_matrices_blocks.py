"""Combinators over several structures against dense matrices: blocks, orders, sums, multiples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from laws import close, numbers, wide

from structlin import matrices as ms
from structlin import specs

DTYPES = ["float32", "complex64"]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def arrays(rng, *shapes, dtype="float32"):
    """Normal arrays of these shapes."""
    return [jnp.asarray(numbers(rng, shape, dtype)) for shape in shapes]


def regular(rng, n, dtype="float32"):
    """A well conditioned array, ``(n, n)``."""
    return jnp.asarray(numbers(rng, (n, n), dtype) / (4 * n**0.5) + np.eye(n, dtype=dtype))


def hermitian(rng, n, dtype="float32"):
    """A positive definite array, ``(n, n)``."""
    half = numbers(rng, (n, n), dtype)
    return jnp.asarray(half @ half.conj().T / n + np.eye(n, dtype=dtype))


def check_linear(matrix, rng):
    """Solution, inverse, determinant and Gram matrix equal those of the dense matrix."""
    b = numbers(rng, (len(matrix), 2), matrix.dtype)

    @jax.jit
    def run(w, b):
        more = w.slogdet(), w.gram().to_dense(), w.frobenius_norm(), w.trace(), w.diagonal()
        return w.to_dense(), w.solve(b), w.solve(b[:, 0]), w.inverse().to_dense(), *more

    dense, x, one, inverse, (sign, logdet), gram, norm, trace, diagonal = run(matrix, b)
    w, real = wide(dense), jnp.finfo(matrix.dtype).dtype
    close(x, np.linalg.solve(w, b), matrix.dtype, 1e4)
    close(one, np.linalg.solve(w, b[:, 0]), matrix.dtype, 1e4)
    close(inverse, np.linalg.inv(w), matrix.dtype, 1e4)
    close(sign, np.linalg.slogdet(w)[0], matrix.dtype, 1e4)
    close(logdet, np.linalg.slogdet(w)[1], real, 1e4)
    close(gram, w.conj().T @ w, matrix.dtype)
    close(norm, np.linalg.norm(w), real)
    close(trace, np.trace(w), matrix.dtype)
    close(diagonal, np.diagonal(w), matrix.dtype)


def check_spectra(matrix):
    """Singular values, pseudo-inverse and, of a Hermitian matrix, functions equal the dense."""
    u, s, vh = matrix.svd()
    w = wide(matrix.to_dense())
    close(u.to_dense() * s @ vh.to_dense(), w, matrix.dtype)
    close(s, np.linalg.svd(w)[1][: len(s)], jnp.finfo(matrix.dtype).dtype)
    close(matrix.pinv().to_dense(), np.linalg.pinv(w), matrix.dtype, 1e4)
    if matrix.shape[0] != matrix.shape[1] or not np.allclose(w, w.conj().T, atol=1e-5):
        return
    values, vectors = matrix.eigh()
    q = wide(vectors.to_dense())
    close(values, np.linalg.eigvalsh(w), jnp.finfo(matrix.dtype).dtype)
    close(np.asarray(q * wide(values) @ q.conj().T, matrix.dtype), w, matrix.dtype)
    close(matrix.exp().to_dense(), scipy.linalg.expm(w), matrix.dtype)


def stacked(rng, dtype):
    return ms.BlockDiagonal(jnp.stack([regular(rng, 2, dtype) for _ in range(3)]))


def ragged(rng, dtype):
    kron = ms.Kronecker((regular(rng, 2, dtype), regular(rng, 1, dtype)))
    return ms.BlockDiagonal.of(regular(rng, 3, dtype), ms.Identity(1, dtype), kron @ kron)


ORDER, OTHER = np.array([4, 0, 5, 2, 1, 3]), np.array([1, 0, 2, 3, 5, 4])

COMPOSED = {
    "stacked blocks": stacked,
    "permuted": lambda rng, d: ms.Permuted.of(stacked(rng, d), ORDER, OTHER),
    "rows permuted": lambda rng, d: ms.Permuted.of(stacked(rng, d), rows=ORDER),
    "columns permuted": lambda rng, d: ms.Permuted.of(stacked(rng, d), columns=ORDER),
    "permuted twice": lambda rng, d: ms.Permuted.of(
        ms.Permuted.of(stacked(rng, d), OTHER, ORDER), ORDER
    ),
    "transposed": lambda rng, d: ms.Transposed(ms.Permuted.of(stacked(rng, d), ORDER)),
    "scaled": lambda rng, d: ms.Scaled.of(stacked(rng, d), -1.5),
    "product": lambda rng, d: ms.Product.of(
        stacked(rng, d), ms.Permuted.of(ms.Dense(regular(rng, 6, d)), ORDER), ms.Identity(6, d)
    ),
    "diagonal and low rank": lambda rng, d: (
        ms.Diagonal(2 + arrays(rng, (6,), dtype=d)[0] / 4) + thin(rng, d)
    ),
    "blocks less two of low rank": lambda rng, d: (
        stacked(rng, d) - ms.Scaled.of(thin(rng, d), 0.5) + thin(rng, d)
    ),
    "damped low rank": lambda rng, d: 3 * ms.Identity(6, d) + thin(rng, d),
}


def thin(rng, dtype):
    return ms.LowRank(*(a / 4 for a in arrays(rng, (6, 2), (2, 6), dtype=dtype)))


@every_dtype
@pytest.mark.parametrize("name", COMPOSED)
def test_systems_of_compositions(name, dtype, rng):
    check_linear(COMPOSED[name](rng, dtype), rng)


@every_dtype
def test_blocks_of_every_kind(dtype, rng):
    matrix = ragged(rng, dtype)
    b = numbers(rng, (6,), dtype)
    parts = [np.asarray(p.to_dense()) for p in (ms.Dense(matrix.blocks[0]), *matrix.blocks[1:])]
    w = scipy.linalg.block_diag(*parts)
    close(matrix.to_dense(), w, matrix.dtype)
    close(matrix[np.array([5, 0, 3])], w[[5, 0, 3]], matrix.dtype)
    close(b @ matrix, b @ w, matrix.dtype)
    close(matrix.solve(b), np.linalg.solve(w, b), matrix.dtype, 1e4)
    close((matrix @ matrix).to_dense(), w @ w, matrix.dtype)
    close((matrix + matrix).to_dense(), w + w, matrix.dtype)
    assert isinstance(matrix @ matrix, ms.BlockDiagonal)


def test_blocks_of_one_shape_are_one_array_and_merge(rng):
    a, b = (ms.BlockDiagonal.of(*arrays(rng, (3, 3), (3, 3))) for _ in range(2))
    assert a.blocks.shape == (2, 3, 3)
    for merged, want in [
        (a @ b, wide(a.to_dense()) @ wide(b.to_dense())),
        (a + b, wide(a.to_dense()) + wide(b.to_dense())),
        (2 * a, 2 * wide(a.to_dense())),
    ]:
        assert merged.blocks.shape == (2, 3, 3)
        close(merged.to_dense(), want, np.float32)
    narrow = ms.BlockDiagonal.of(*arrays(rng, (5, 1), (5, 1)))
    assert isinstance(narrow @ narrow.T, ms.Product)  # the product of the blocks would be larger


@every_dtype
def test_spectra_of_rectangular_and_hermitian_blocks(dtype, rng):
    wide_blocks = arrays(rng, (2, 3), (2, 3), dtype=dtype)
    check_spectra(ms.BlockDiagonal.of(*wide_blocks))
    check_spectra(ms.BlockDiagonal.of(*wide_blocks, *arrays(rng, (3, 1), dtype=dtype)))
    blocks = ms.BlockDiagonal.of(*(hermitian(rng, 2, dtype) for _ in range(2)))
    check_spectra(blocks)
    check_spectra(ms.Scaled.of(ms.Transposed(blocks), -2.0))
    mixed = ms.BlockDiagonal.of(hermitian(rng, 3, dtype), ms.Identity(1, dtype))
    check_spectra(ms.Permuted.of(mixed, OTHER[:4] % 4, OTHER[:4] % 4))


def test_square_matrices_of_rectangular_blocks_are_singular(rng):
    matrix = ms.BlockDiagonal.of(*arrays(rng, (1, 2), (2, 1)))
    for refused in (lambda: matrix.solve(np.ones(3, "f")), matrix.inverse, matrix.slogdet):
        with pytest.raises(ms.UnsupportedError, match="needs square blocks"):
            refused()
    close(matrix.diagonal(), np.diagonal(wide(matrix.to_dense())), np.float32)


@pytest.mark.parametrize("order", [[0], [1, 0], [2, 0, 1], [1, 0, 3, 2, 4], ORDER, OTHER])
def test_the_sign_of_a_permutation(order):
    eye = ms.Diagonal(jnp.ones(len(order)))
    want = np.linalg.det(np.eye(len(order))[np.asarray(order)])
    assert float(ms.Permuted.of(eye, order).slogdet()[0]) == round(want)
    assert float(ms.Permuted.of(eye, None, order).slogdet()[0]) == round(want)


def test_permutations_are_checked_stored_small_and_merged(rng):
    inner = ms.Dense(arrays(rng, (6, 6))[0])
    for wrong in ([0, 1, 2, 3, 4, 4], [0, 1], np.arange(6.0), np.arange(1, 7)):
        with pytest.raises(ValueError, match=r"each of 0 \.\. 5 once"):
            ms.Permuted.of(inner, rows=wrong)
    once = ms.Permuted.of(inner, ORDER, OTHER)
    assert once.rows.dtype == np.uint8
    twice = ms.Permuted.of(once, OTHER)
    assert isinstance(twice.inner, ms.Dense)
    close(twice.to_dense(), wide(inner.to_dense())[ORDER][OTHER][:, OTHER], np.float32)
    both = ms.Permuted.of(inner, ORDER, ORDER)
    assert both.symmetric
    assert both.columns is None
    assert ms.Permuted.of(inner) is inner
    long = ms.Permuted.of(ms.Diagonal(jnp.ones(300)), np.roll(np.arange(300), 7))
    assert long.rows.dtype == np.uint16
    x = numbers(rng, (2, 300), np.float32)
    close(x @ long, x @ wide(long.to_dense()), np.float32)


def test_only_symmetric_orders_keep_eigenvalues(rng):
    inner = ms.Dense(hermitian(rng, 6))
    shuffled = ms.Permuted(inner, jnp.asarray(ORDER), jnp.asarray(ORDER))
    with pytest.raises(ms.UnsupportedError, match="symmetric=True"):
        shuffled.eigh()


def test_the_identity_is_neutral_in_products(rng):
    w, eye = ms.LowRank(*arrays(rng, (4, 1), (1, 3))), ms.Identity
    assert eye(4) @ w is w
    assert w @ eye(3) is w
    assert isinstance(eye(4) @ eye(4), ms.Identity)
    assert len(ms.Product.of(w, eye(3), ms.Diagonal(jnp.ones(3))).factors) == 2
    assert (eye(4, "complex64") @ w).dtype == np.complex64
    half = (w + ms.Dense(jnp.ones((4, 3)))).astype(jnp.bfloat16)
    assert (ms.Identity(4).astype(jnp.bfloat16) @ half).dtype == jnp.bfloat16
    assert (eye(4) + w @ w.T).astype(jnp.bfloat16).dtype == jnp.bfloat16


def test_sums_without_one_term_that_solves_say_what_they_need(rng):
    many = ms.Diagonal(jnp.ones(6)) + ms.Dense(regular(rng, 6)) + thin(rng, "float32")
    for refused in (many.inverse, many.slogdet, (thin(rng, "f4") + many).slogdet):
        with pytest.raises(ms.UnsupportedError, match="one term that solves"):
            refused()
    with pytest.raises(ms.UnsupportedError, match="multiple of the identity"):
        jax.eval_shape(lambda w: w.exp().to_dense(), many)


@every_dtype
def test_functions_of_a_damped_hermitian_matrix_of_low_rank(dtype, rng):
    half = arrays(rng, (6, 2), dtype=dtype)[0] / 2
    matrix = 2 * ms.Identity(6, dtype) + ms.LowRank(half, half.conj().T)
    w = wide(matrix.to_dense())
    close(matrix.exp().to_dense(), scipy.linalg.expm(w), matrix.dtype)
    close(matrix.sqrt().to_dense(), scipy.linalg.sqrtm(w), matrix.dtype)
    close(matrix.power(-0.5).to_dense(), np.linalg.inv(scipy.linalg.sqrtm(w)), matrix.dtype)
    with pytest.raises(ValueError, match="Hermitian"):
        (ms.Identity(6, dtype) + thin(rng, dtype)).sqrt()


def test_gradients_of_an_update_of_low_rank(rng, x64):
    matrix = ms.Diagonal(2 + rng.random(5)) + ms.LowRank(rng.random((5, 2)), rng.random((2, 5)))
    matrix, b = jax.tree.map(jnp.asarray, matrix), rng.normal(size=(5, 2))

    def through(solve, slogdet):
        return jnp.sum(solve(b) ** 2) + slogdet()[1]

    def structured(w):
        return through(w.solve, w.slogdet) + jnp.sum(w.inverse().rmatmul(b.T) ** 2)

    def dense(w):
        w = w.to_dense()
        inverse = jnp.sum((b.T @ jnp.linalg.inv(w)) ** 2)
        return through(lambda b: jnp.linalg.solve(w, b), lambda: jnp.linalg.slogdet(w)) + inverse

    got, want = jax.jit(lambda w: [jax.grad(f)(w) for f in (structured, dense)])(matrix)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        close(g, w, np.float64)
    tangent = jax.tree.map(jnp.ones_like, matrix)
    forward = jax.jvp(structured, (matrix,), (tangent,))[1]
    close(forward, sum(np.sum(x) for x in jax.tree.leaves(want)), np.float64)


def test_multiples_that_are_not_positive_have_no_cholesky_by_their_parts(rng):
    inner = ms.Permuted.of(ms.BlockDiagonal.of(hermitian(rng, 2), hermitian(rng, 2)))
    close(
        ms.Scaled.of(-1 * inner, -2.0).cholesky().to_dense(),
        np.linalg.cholesky(2 * wide(inner.to_dense())),
        np.float32,
    )
    eye = ms.Identity(3)
    close(ms.Scaled.of(eye, 4.0).cholesky().to_dense(), 2 * np.eye(3), np.float32)
    with pytest.raises(ms.UnsupportedError, match="positive scalar"):
        ms.Scaled.of(eye, -4.0).cholesky()
    close(ms.Scaled.of(eye, 0.0).pinv().to_dense(), np.zeros((3, 3)), np.float32)
    with pytest.raises(ms.UnsupportedError, match="real scalar"):
        ms.Scaled(eye.astype(np.complex64), jnp.complex64(1j))._eigh()


def masks(m, n, count):
    """Where the entries of the blocks are, by definition."""
    return np.array([[i * count // m == j * count // n for j in range(n)] for i in range(m)])


def test_the_fit_of_blocks_is_the_best_under_every_kind_of_weights(rng, x64):
    dense, half, count = rng.normal(size=(6, 4)), rng.normal(size=(6, 6)), 2
    covariance, inside = half @ half.T, masks(6, 4, count)
    spec = specs.BlockDiagonal(blocks=count)
    for weights in (None, rng.random(6), rng.random((6, 4))):
        fitted = wide(spec.fit(dense, weights).to_dense())
        close(fitted, np.where(inside, dense, 0), np.float64)
    fitted = wide(spec.fit(dense, specs.Covariance(covariance)).to_dense())
    assert not fitted[~inside].any()
    root = np.linalg.cholesky(covariance).T
    for j in range(4):
        best = np.linalg.lstsq(root[:, inside[:, j]], root @ dense[:, j], rcond=None)[0]
        close(fitted[inside[:, j], j], best, np.float64)


def test_blocks_that_do_not_divide_the_sides_are_named():
    with pytest.raises(ValueError, match="blocks= can be 1, 2, 3, 6"):
        specs.BlockDiagonal(blocks=4).cost((12, 18))
    with pytest.raises(ValueError, match="Ask for compression=6"):
        specs.BlockDiagonal(compression=7).cost((12, 18))
    assert specs.BlockDiagonal(compression=2.5).sized((12, 18)) == specs.BlockDiagonal(blocks=3)
    for wrong in ({}, {"blocks": 0}, {"blocks": 2, "compression": 2.0}):
        with pytest.raises(ValueError, match="BlockDiagonal"):
            specs.BlockDiagonal(**wrong)
