"""Monarch matrices: entries and fits by their definitions, sizes, and what is refused."""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from structlin import decompose, specs
from structlin import matrices as ms

SIZES = [(1, 1, 2, 3, 1), (2, 3, 1, 1, 1), (2, 3, 4, 2, 2), (3, 2, 2, 3, 1)]  # K, I, J, L, r


def monarch(rng, sizes, order="columns"):
    k, i, j, width, rank = sizes
    left, right = rng.normal(size=(k, i, j * rank)), rng.normal(size=(j, k * rank, width))
    return ms.Monarch(jnp.asarray(left), jnp.asarray(right), order)


def by_definition(matrix, sizes, order):
    blocks_in, size_in, blocks_out, size_out, rank = sizes
    left, right = np.asarray(matrix.left), np.asarray(matrix.right)
    w = np.zeros((blocks_in * size_in, blocks_out * size_out))
    for k, i in itertools.product(range(blocks_in), range(size_in)):
        for j, c in itertools.product(range(blocks_out), range(size_out)):
            by_rows = order == "rows"
            row = i * blocks_in + k if by_rows else k * size_in + i
            column = j * size_out + c if by_rows else c * blocks_out + j
            for p in range(rank):
                w[row, column] += left[k, i, j * rank + p] * right[j, k * rank + p, c]
    return w


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize("sizes", SIZES)
def test_entries_by_definition(sizes, order, x64, rng):
    matrix = monarch(rng, sizes, order)
    w = by_definition(matrix, sizes, order)
    assert matrix.shape == w.shape
    assert_allclose(matrix.to_dense(), w, atol=1e-12)
    assert_allclose(np.eye(len(w)) @ matrix, w, atol=1e-12)
    assert_allclose(matrix @ np.eye(w.shape[1]), w, atol=1e-12)
    assert_allclose(matrix[:], w, atol=1e-12)
    assert isinstance(matrix.T, ms.Monarch)
    assert_allclose(matrix.T.to_dense(), w.T, atol=1e-12)
    assert_allclose(matrix.frobenius_norm(), np.linalg.norm(w), rtol=1e-12)


def test_it_is_two_block_diagonals_and_permutations(x64, rng):
    k = i = j = width = 3
    matrix = monarch(rng, (k, i, j, width, 1))

    def block_diagonal(blocks):
        (count, rows, columns), w = blocks.shape, np.zeros((9, 9))
        for b in range(count):
            w[b * rows : (b + 1) * rows, b * columns : (b + 1) * columns] = blocks[b]
        return w

    regroup = np.zeros((9, 9))
    for a, b in itertools.product(range(3), repeat=2):
        regroup[a * 3 + b, b * 3 + a] = 1
    left, right = (block_diagonal(np.asarray(f)) for f in (matrix.left, matrix.right))
    assert_allclose(matrix.to_dense(), left @ regroup @ right @ regroup, atol=1e-12)


def test_kronecker_products_are_monarch(x64, rng):
    a, b = rng.normal(size=(3, 2)), rng.normal(size=(2, 5))
    dense = np.kron(a, b)
    fit = specs.Monarch(blocks=(3, 5)).fit(dense)
    assert_allclose(fit.to_dense(), dense, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_is_the_best_of_every_block(rank, weighted, x64, rng):
    k, i, j, width = 2, 3, 2, 4
    dense, weights = rng.normal(size=(k * i, j * width)), rng.random(k * i)
    fit = specs.Monarch(blocks=(k, j), rank=rank).fit(dense, weights if weighted else None)
    root = np.sqrt(weights) if weighted else np.ones(k * i)
    error, least = root[:, None] * (dense - np.asarray(fit.to_dense())), 0.0
    for a in range(k):
        for b in range(j):
            block = (root[:, None] * dense)[a * i : (a + 1) * i, b::j]
            least += (np.linalg.svd(block)[1][rank:] ** 2).sum()
    assert_allclose((error**2).sum(), least, rtol=1e-9)


def test_fits_of_full_rank_and_complex_numbers_are_exact(x64, rng):
    dense = rng.normal(size=(6, 8)) + 1j * rng.normal(size=(6, 8))
    fit = specs.Monarch(blocks=2, rank=3).fit(dense)
    assert fit.dtype == np.complex128
    assert_allclose(fit.to_dense(), dense, atol=1e-12)


@pytest.mark.parametrize("order", ["columns", "rows"])
@pytest.mark.parametrize(
    ("k", "j", "rank"), [(2, 3, 1), (3, 2, 1), (2, 2, 1), (2, 3, 2), (3, 3, 1)]
)
def test_inverse_and_determinant_by_blocks(k, j, rank, order, x64, rng):
    matrix = monarch(rng, (k, j * rank, j, k * rank, rank), order)
    w = np.asarray(matrix.to_dense())
    assert isinstance(matrix.inverse(), ms.Monarch)
    assert_allclose(matrix.inverse().to_dense() @ w, np.eye(len(w)), atol=1e-7)
    b = rng.normal(size=(len(w), 2))
    assert_allclose(w @ matrix.solve(b), b, atol=1e-7)
    for got, want in zip(matrix.slogdet(), np.linalg.slogdet(w), strict=True):
        assert_allclose(got, want, rtol=1e-8)


def test_blocks_that_are_not_square_have_no_inverse(rng):
    matrix = monarch(rng, (2, 3, 2, 3, 1))
    for use in (lambda: matrix.solve(np.ones(6)), matrix.inverse, matrix.slogdet):
        with pytest.raises(ms.UnsupportedError, match="needs square blocks"):
            use()


def test_sizes_by_default_are_near_the_square_root():
    assert specs.Monarch().sized((64, 100)).blocks == (8, 10)
    assert specs.Monarch().sized((12, 7)).blocks == (3, 1)
    assert specs.Monarch(blocks=4).blocks == (4, 4)
    assert specs.from_json(specs.Monarch(blocks=4).to_json()) == specs.Monarch(blocks=(4, 4))


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("compression", [1.5, 3, 8])
def test_compression_takes_the_largest_within_the_budget(compression, rank):
    m, n = 48, 60
    spec = specs.Monarch(compression=compression, rank=rank)
    cost = spec.cost((m, n))
    assert cost.compression >= compression
    k, j = spec.sized((m, n))._pair
    assert cost.params == rank * (m * j + n * k)
    assert cost.flops == 2 * cost.params
    for a, b in itertools.product(range(1, m + 1), range(1, n + 1)):
        if m % a == 0 == n % b and max(a, b) <= 2 * min(a, b) and rank <= min(m // a, n // b):
            size = 4 * rank * (m * b + n * a)
            assert size <= cost.bytes or size > 4 * m * n / compression


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (specs.Monarch(blocks=(4, 2)), (6, 6), "must divide its sizes"),
        (specs.Monarch(blocks=3, rank=3), (6, 6), "rank is 2 at most"),
        (specs.Monarch(compression=1000), (48, 60), "Ask for compression=26.66 or less"),
        (specs.Monarch(compression=2, rank=9), (4, 6), "rank 4 at most"),
    ],
)
def test_shapes_that_do_not_fit(spec, shape, message):
    dense = np.ones(shape, np.float32)
    key = jax.random.key(0)
    for use in (lambda: spec.init(key, shape), lambda: spec.fit(dense), lambda: spec.cost(shape)):
        with pytest.raises(ValueError, match=message):
            use()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: specs.Monarch(blocks=2, compression=2.0), "not both"),
        (lambda: specs.Monarch(blocks=0), "positive counts"),
        (lambda: specs.Monarch(blocks=(1, 2, 3)), "positive counts"),
        (lambda: specs.Monarch(rank=0), "rank of 1 or more"),
        (lambda: specs.Monarch(compression=-1), "positive number"),
    ],
)
def test_specs_that_make_no_sense(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("spec", [specs.Monarch(), specs.Monarch(blocks=(4, 2), rank=3)], ids=str)
def test_init_keeps_the_variance_of_its_input(spec, rng):
    made = jax.jit(lambda key: spec.init(key, (48, 64)).to_dense())
    x = rng.normal(size=(32, 48))
    keys = (jax.random.key(seed, impl="rbg") for seed in range(24))
    mean = np.mean([np.mean((x @ np.asarray(made(key))) ** 2) for key in keys])
    assert 1 / 1.5 < mean < 1.5


@pytest.mark.slow
def test_large_fits_take_seconds(rng):
    dense = jnp.asarray(rng.normal(size=(3000, 1500)), jnp.float32)
    start = time.perf_counter()
    blocks = dense.reshape(50, 60, 50, 30).transpose(0, 2, 1, 3)
    jax.block_until_ready(decompose.nearest_monarch(blocks, 1))
    assert time.perf_counter() - start < 60
