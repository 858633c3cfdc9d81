"""Operators on matrices: arithmetic, rows, and what a matrix refuses to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import ALL, CASES, SQUARE, diagonal, hmd, kronecker, make
from laws import close, wide
from numpy.testing import assert_allclose

from structlin import matrices as ms

every_structure = pytest.mark.parametrize("name", CASES)


@every_structure
def test_arithmetic_equals_dense(name):
    a, b = make(name, 1, np.float32), make(name, 1, np.float32, seed=1)

    @jax.jit
    def results(a, b):
        made = [a + b, a - b, -a, 3 * a, a * -0.5, a / 4, a @ b.T, a.T @ b]
        return a.to_dense(), b.to_dense(), [w.to_dense() for w in made]

    x, y, got = results(a, b)
    x, y = np.asarray(x), np.asarray(y)
    want = [x + y, x - y, -x, 3 * x, x * -0.5, x / 4, x @ y.T, x.T @ y]
    for g, w in zip(got, want, strict=True):
        assert g.dtype == np.float32
        assert_allclose(g, w, rtol=1e-5, atol=1e-5)


def partners(name):
    """Matrices of every structure that have the shape of this one's large case, it among them."""
    shape = make(name, -1, np.float32).shape
    every = [make(other, i, np.float32, 1) for other, i in ALL] + [
        factory(jax.random.key(1), np.float32) for factory in SQUARE.values()
    ]
    found = {type(w).__name__: w for w in every if w.shape == shape}
    names = sorted(found)
    start = names.index(name) if name in names else 0
    return [found[other] for other in names[start:] + names[:start]]


@every_structure
def test_sums_and_products_with_every_structure(name, rng):
    """Of all pairs the form; the numbers of those that merge, and of three others."""
    matrix, others = make(name, -1, np.float32), partners(name)
    m, n = matrix.shape
    x = rng.normal(size=(1, m)).astype("f")

    def combined(a, b):
        return a + b, a @ b.T

    def forms(b):
        return jax.eval_shape(combined, matrix, b)

    for b in others:
        total, product = forms(b)
        assert (total.shape, product.shape) == ((m, n), (m, m))
        assert total.dtype == product.dtype == np.float32
        assert total.flops() <= matrix.flops() + b.flops() + n, f"a dear sum with {b!r}"
        assert product.flops() <= matrix.flops() + b.T.flops(), f"a dear product with {b!r}"
    merged = [
        b
        for b in others
        if not (isinstance(forms(b)[0], ms.Sum) and isinstance(forms(b)[1], ms.Product))
    ]
    chosen = [*merged, *(b for b in others[1:] if not any(b is c for c in merged))][
        : len(merged) + 3
    ]

    @jax.jit
    def results(a, chosen):
        made = [[x @ w for w in combined(a, b)] for b in chosen]
        return a.to_dense(), [b.to_dense() for b in chosen], made

    dense, forms_of, made = results(matrix, chosen)
    dense = wide(dense)
    for b, other, (total, product) in zip(chosen, forms_of, made, strict=True):
        close(total, x @ (dense + wide(other)), np.float32, what=f"{name} + {b!r}")
        close(product, x @ (dense @ wide(other).T), np.float32, what=f"{name} @ {b!r}.T")


@pytest.mark.parametrize(
    "two",
    [
        2,
        2.0,
        np.float32(2),
        np.float64(2),
        np.int64(2),
        np.array(2.0),
        jnp.float32(2),
        jnp.int32(2),
    ],
    ids=lambda s: f"{type(s).__name__}-{getattr(s, 'dtype', '')}",
)
def test_scalars_of_every_kind_scale_from_both_sides(two):
    matrix = make("LowRank", 0, np.float32)
    dense = np.asarray(matrix.to_dense())
    for got in (two * matrix, matrix * two, matrix / (1 / two), (matrix / two) * 4):
        assert got.dtype == np.float32
        assert_allclose(got.to_dense(), 2 * dense, rtol=1e-6)


def test_python_scalars_keep_the_dtype_of_the_matrix():
    for matrix in (make("Dense", 0, jnp.bfloat16) * 2.5, 2 * make("Dense", 0, jnp.bfloat16)):
        assert matrix.dtype == jnp.bfloat16


def test_a_traced_scalar_scales():
    matrix = make("Kronecker", 1, np.float32)
    got = jax.jit(lambda w, s: (s * w).to_dense())(matrix, jnp.float32(1.5))
    assert_allclose(got, 1.5 * matrix.to_dense(), rtol=1e-6)


def test_combinators_of_a_kind_merge():
    w = make("HMD", 2, np.float32)
    assert len(((w + w) + (w + w)).terms) == 4
    assert len(((w @ w.T) @ (w @ w.T)).factors) == 4
    assert not isinstance((2 * (3 * w)).inner, ms.Scaled)


def test_low_rank_products_merge():
    w = make("LowRank", 2, np.float32)
    v = ms.LowRank(jnp.ones((36, 2)), jnp.ones((2, 5)))
    for product, rank in ((w @ v, 2), (v.T @ w.T, 2), (2 * w @ w.T, 3)):
        assert isinstance(product, ms.LowRank)
        assert product.left.shape[1] == rank
    np.testing.assert_allclose((w @ v).to_dense(), w.to_dense() @ v.to_dense(), rtol=1e-4)


@every_structure
def test_astype_leaves_integers_alone(name):
    matrix = make(name, 1, np.float32)
    for before, after in zip(
        jax.tree.leaves(matrix), jax.tree.leaves(matrix.astype(jnp.bfloat16)), strict=True
    ):
        integer = jnp.issubdtype(before.dtype, jnp.integer)
        assert after.dtype == (before.dtype if integer else jnp.bfloat16)
    assert matrix.astype(jnp.bfloat16).dtype == jnp.bfloat16


@every_structure
def test_becoming_an_array_or_a_sequence_is_refused(name):
    matrix = make(name, 0, np.float32)
    for become in (np.asarray, np.array, lambda w: np.add(w, 1.0), lambda w: w + np.ones(w.shape)):
        with pytest.raises(TypeError):
            become(matrix)
    with pytest.raises(TypeError, match=r"call `\.to_dense\(\)`"):
        np.asarray(matrix)
    for iterate in (iter, list, lambda w: 0.0 in w):
        with pytest.raises(TypeError):
            iterate(matrix)
    with pytest.raises(TypeError):
        jnp.asarray(matrix)
    assert matrix.ndim == 2
    assert len(matrix) == matrix.shape[0]


@pytest.mark.parametrize("name", CASES)
def test_mismatched_shapes_raise(name):
    matrix = make(name, -1, np.float32)
    m, n = matrix.shape
    with pytest.raises(ValueError, match=rf"needs {m}"):
        np.ones((2, m + 1)) @ matrix
    with pytest.raises(ValueError, match=rf"needs {n}"):
        matrix @ np.ones(n + 1)
    with pytest.raises(ValueError, match=rf"needs {n}"):
        matrix @ np.ones((n + 1, 2))
    with pytest.raises(ValueError, match=rf"needs {n}"):
        matrix @ diagonal(n + 1)(jax.random.key(0), np.float32)
    with pytest.raises(ValueError, match="Cannot add"):
        matrix + diagonal(m + 1)(jax.random.key(0), np.float32)


def test_scalars_and_arrays_in_the_wrong_place_raise():
    matrix = make("LowRank", 0, np.float32)
    for product in (lambda: matrix @ 2.0, lambda: np.float32(2) @ matrix):
        with pytest.raises(ValueError, match=r"use `\*`"):
            product()
    for scale in (
        lambda: matrix * np.ones(3),
        lambda: np.ones(3) * matrix,
        lambda: matrix * matrix,
    ):
        with pytest.raises(TypeError, match="`@` for a product"):
            scale()
    for mixed in (lambda: matrix + 1.0, lambda: 1.0 - matrix, lambda: 1.0 / matrix):
        with pytest.raises(TypeError):
            mixed()


def test_rows_are_picked_by_integers_only():
    matrix = make("Diagonal", 1, np.float32)
    with pytest.raises(TypeError, match="flatnonzero"):
        matrix[np.array([True, False, False, True, False])]
    with pytest.raises(TypeError, match="integers; given float32"):
        matrix[1.0]
    with pytest.raises(TypeError, match=r"columns from `W\.T`"):
        matrix[0, 1]


@pytest.mark.parametrize(
    "factory",
    [diagonal(300), kronecker((30, 1), (10, 2)), lambda k, d: hmd(2, 300, 2, 1)(k, d).T],
    ids=["Diagonal", "Kronecker", "Transposed"],
)
@pytest.mark.parametrize("ids", [np.uint8([0, 44, 255]), np.int8([0, -1, 127])], ids=["u8", "i8"])
def test_narrow_row_numbers_reach_every_row(factory, ids):
    matrix = factory(jax.random.key(0), np.float32)
    dense = np.asarray(matrix.to_dense())
    assert_allclose(matrix[ids], dense[ids], rtol=1e-6)
    assert_allclose(matrix.take(abs(ids)), dense[abs(ids)], rtol=1e-6)


def test_rows_of_every_kind_of_slice():
    matrix = make("Kronecker", 2, np.float32)
    dense = np.asarray(matrix.to_dense())
    every = slice(None), slice(2, 4), slice(-2, None), slice(None, None, -1), slice(3, 3)
    got = jax.jit(lambda w: [w[rows] for rows in every])(matrix)
    for g, rows in zip(got, every, strict=True):
        assert g.shape == dense[rows].shape
        assert_allclose(g, dense[rows], rtol=1e-6)


def test_two_structures_of_one_name_are_refused():
    with pytest.raises(TypeError, match="already defined in structlin"):
        type("Dense", (ms.Matrix,), {"__annotations__": {}, "__module__": "elsewhere"})
