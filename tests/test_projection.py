"""Projections: entries by definition, their statistics, and products that never form them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin import kernels
from structlin import matrices as ms

MASK = 0xFFFFFFFF


def mix(word):
    """The finaliser, in Python's integers."""
    word = (word ^ word >> 16) * 0x85EBCA6B & MASK
    word = (word ^ word >> 13) * 0xC2B2AE35 & MASK
    return word ^ word >> 16


def word(row, column, seed):
    """The hash of one entry, in Python's integers."""
    first = mix((seed & MASK) + 0x9E3779B9 & MASK)
    second = mix(first ^ (seed >> 32 & MASK) + 0x7F4A7C15 & MASK)
    third = mix(second + 0x9E3779B9 & MASK)
    both = mix(row + first & MASK) ^ mix(column + second & MASK)
    return mix(mix(both) + third & MASK)


def entry(row, column, seed, kind):
    """One number before it is scaled to variance ``1 / m``."""
    bits = word(row, column, seed)
    if kind == "sign":
        return -1.0 if bits >> 31 else 1.0
    if kind == "ternary":
        return {0: 0.0, 1: 2**0.5, 2: -(2**0.5), 3: 0.0}[bits >> 30]
    if kind == "uniform":
        levels = [(2 * level - 255) / 256 for level in range(256)]
        return levels[bits >> 24] / (sum(v * v for v in levels) / 256) ** 0.5
    one, two = (((b >> 9) + 0.5) / 2**23 for b in (bits, mix(bits + 0x3C6EF372 & MASK)))
    return math.sqrt(-2 * math.log(one)) * math.cos(2 * math.pi * two)


@pytest.mark.parametrize("kind", ["sign", "ternary", "uniform", "normal"])
@pytest.mark.parametrize("seed", [0, 7, -1, 2**40 + 3])
def test_entries_by_definition(kind, seed):
    m, n = 4, 3
    matrix = ms.Projection.of((m, n), seed, kind)
    want = [[entry(i, j, seed, kind) / m**0.5 for j in range(n)] for i in range(m)]
    assert_allclose(matrix.to_dense(), want, rtol=1e-5, atol=1e-6)
    assert_array_equal(matrix.T.to_dense(), matrix.to_dense().T)


GOLDEN = [
    [4175324097, 4138428183, 2538989575],
    [2889606816, 784916842, 3162015470],
    [3292357489, 622497247, 1015092186],
]
"""The words of rows 0, 1, 99,999 and columns 0, 1, 70,000 at seed 0."""


def test_words_never_change():
    rows, columns = np.array([[0], [1], [99_999]]), np.array([0, 1, 70_000])
    words = kernels.hash_words(jnp.asarray(rows), jnp.asarray(columns), 0)
    assert words.dtype == jnp.uint32
    assert words.tolist() == GOLDEN
    assert [[word(i, j, 0) for j in columns.tolist()] for i in rows[:, 0].tolist()] == GOLDEN


def bits_of(rows, columns, seed):
    """The words of a block as bits, ``(rows, columns, 32)`` of -1 and 1."""
    words = kernels.hash_words(jnp.arange(rows)[:, None], jnp.arange(columns), seed)
    return 1.0 - 2.0 * (np.asarray(words)[..., None] >> np.arange(32) & 1)


def test_every_bit_is_even_and_pairs_are_independent():
    m = n = 128
    bits = bits_of(m, n, 5)
    count = m * n
    assert np.abs(bits.mean((0, 1))).max() < 5 / count**0.5  # 32 means of 16,384 fair coins
    flat = bits.reshape(count, 32)
    assert np.abs(flat.T @ flat / count - np.eye(32)).max() < 5 / count**0.5
    for high in (bits[..., 31], bits[..., 30]):
        for table in (high, high.T):  # all pairs of rows, and of columns: 8,128 of each
            products = table @ table.T / 128**0.5
            products = products[np.triu_indices(128, 1)]
            assert np.abs(products).max() < 5.5
            assert 0.9 < products.var() < 1.1


def test_bytes_are_uniform():
    words = np.asarray(kernels.hash_words(jnp.arange(256)[:, None], jnp.arange(256), 1))
    for shift in (0, 8, 16, 24):
        counts = np.bincount((words >> shift & 255).ravel(), minlength=256)
        chi_square = ((counts - 256.0) ** 2 / 256).sum()
        assert abs(chi_square - 255) < 5 * (2 * 255) ** 0.5


def test_neighbouring_seeds_rows_and_columns_are_unrelated():
    a, b = (bits_of(128, 128, seed)[..., 31] for seed in (0, 1))
    above = np.triu_indices(128, 1)
    for one, other in ((a, b), (a[1:], a[:-1]), (a[:, 1:], a[:, :-1]), (a[above], a.T[above])):
        assert abs((one * other).mean()) < 5 / one.size**0.5


def test_no_two_rows_of_a_large_table_agree():
    rows = jnp.arange(200_000, dtype=jnp.int32)[:, None]
    words = np.asarray(kernels.hash_words(rows, jnp.arange(2), 0)).astype(np.uint64)
    assert len(np.unique(words[:, 0] << np.uint64(32) | words[:, 1])) == 200_000


@pytest.mark.parametrize(
    ("kind", "fourth"), [("sign", 1.0), ("ternary", 2.0), ("uniform", 1.8), ("normal", 3.0)]
)
def test_moments(kind, fourth):
    m, n = 200, 300
    w = np.asarray(ms.Projection.of((m, n), 3, kind).to_dense(), np.float64) * m**0.5
    assert abs(w.mean()) < 5 / w.size**0.5
    assert abs((w**2).mean() - 1) < 0.03
    assert abs((w**4).mean() - fourth) < 0.1
    if kind == "ternary":
        assert abs((w == 0).mean() - 0.5) < 0.02


@pytest.mark.parametrize("kind", ["sign", "ternary", "uniform", "normal"])
def test_products_keep_the_variance_and_distances(kind, rng):
    matrix = ms.Projection.of((60, 400), 1, kind)
    x = rng.normal(size=(16, 60)).astype("f")
    y = np.asarray(x @ matrix)
    assert 1 / 1.2 < np.mean(y**2) < 1.2
    lengths = (y**2).mean(1) / (x**2).mean(1)
    assert np.abs(lengths - 1).max() < 0.5


def test_large_products_in_parts_equal_dense(rng):
    for shape in ((1030, 70), (3, 70_000), (70_000, 2)):
        matrix = ms.Projection.of(shape, 9)
        dense = np.asarray(matrix.to_dense())
        x, v = rng.normal(size=(2, shape[0])).astype("f"), rng.normal(size=shape[1]).astype("f")
        assert_allclose(x @ matrix, x @ dense, atol=1e-3)
        assert_allclose(matrix @ v, dense @ v, atol=1e-2)
        assert_array_equal(matrix[[0, -1]], dense[[0, -1]])


def test_what_it_costs():
    matrix = ms.Projection.of((100_000, 64))
    cost = matrix.cost()
    assert (cost.bytes, cost.params, cost.flops) == (0, 0, 2 * 100_000 * 64)
    assert jax.tree.leaves(matrix) == []
    assert matrix.astype(jnp.bfloat16).dtype == jnp.bfloat16
    assert matrix.conj() is matrix


def test_gradients_forward_and_backward_store_no_rows(x64, rng):
    matrix = ms.Projection.of((64, 48), 2, dtype=jnp.float64)
    dense, x, v = np.asarray(matrix.to_dense()), rng.normal(size=64), rng.normal(size=64)

    def loss(x):
        return jnp.sum((x @ matrix) ** 3)

    want = dense @ (3 * (x @ dense) ** 2)
    assert_allclose(jax.grad(loss)(x), want, rtol=1e-9)
    assert_allclose(jax.jvp(loss, (x,), (v,))[1], want @ v, rtol=1e-9)
    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 8 * 64 * 48


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 3),), "sizes from 1"),
        (((3, 2**31),), "sizes from 1"),
        (((2, 3), 0, "gaussian"), "sign, ternary, uniform, normal; given 'gaussian'"),
        (((2, 3), 0, "sign", jnp.int32), "floating dtype"),
    ],
)
def test_what_makes_no_projection(arguments, message):
    with pytest.raises(ValueError, match=message):
        ms.Projection.of(*arguments)
