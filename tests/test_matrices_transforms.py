"""Matrices under ``vmap``, ``scan`` and ``jit``, and the promise that nothing becomes dense."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, POSITIVE, SQUARE, make
from laws import largest_value
from numpy.testing import assert_allclose

from structlin import matrices as ms

pytestmark = pytest.mark.usefixtures("strict_promotion")
every_structure = pytest.mark.parametrize("name", CASES)


@every_structure
def test_vmap_over_stacked_matrices(name, rng):
    made = [make(name, 1, np.float32, seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *made)
    m, n = made[0].shape
    assert stacked.shape == (m, n)
    x, v = rng.normal(size=(2, m)).astype("f"), rng.normal(size=(2, n)).astype("f")

    def one(w, x, v):
        return w.to_dense(), x @ w, w @ v, w[0], w.T.to_dense()

    dense, left, right, row, flipped = jax.jit(jax.vmap(one))(stacked, x, v)
    dense = np.asarray(dense)
    if jax.tree.leaves(stacked):  # what stores no numbers has no two values
        assert np.abs(dense[0] - dense[1]).max() > 0.01
    assert_allclose(left, np.einsum("bm,bmn->bn", x, dense), rtol=1e-4, atol=1e-5)
    assert_allclose(right, np.einsum("bmn,bn->bm", dense, v), rtol=1e-4, atol=1e-5)
    assert_allclose(row, dense[:, 0], rtol=1e-5)
    assert_allclose(flipped, dense.swapaxes(1, 2), rtol=1e-5)


@every_structure
def test_scan_carries_a_matrix(name):
    matrix = make(name, 0, np.float32)
    weights, fixed = ms.partition(matrix)
    x = np.ones((3, matrix.shape[0]), np.float32)

    @jax.jit
    def run(matrix, x):
        def step(w, x):
            weights, fixed = ms.partition(w)
            return ms.combine(jax.tree.map(lambda a: a * a, weights), fixed), x @ w

        return jax.lax.scan(step, matrix, x)

    last, outputs = run(matrix, x)
    assert type(last) is type(matrix)
    for i in range(3):
        powered = ms.combine(jax.tree.map(lambda a, i=i: a ** (2**i), weights), fixed)
        assert_allclose(outputs[i], x[i] @ powered.to_dense(), rtol=1e-4, atol=1e-5)


@every_structure
def test_jit_traces_once_for_two_values(name):
    traces = []

    @jax.jit
    def total(w):
        traces.append(name)
        return w.dtype.itemsize * sum(jnp.sum(leaf).astype(float) for leaf in jax.tree.leaves(w))

    results = [float(total(make(name, 1, np.float32, seed))) for seed in (0, 1)]
    assert results[0] != results[1] or not jax.tree.leaves(make(name, 1, np.float32))
    assert len(traces) == 1


KEY = jax.random.key(0)
SMALL = (SQUARE, POSITIVE)
COMPACT = [name for name in CASES if name not in ("Dense", "Masked")]
"""The structures that store less than the dense matrix."""


@pytest.mark.parametrize("name", COMPACT)
def test_nothing_becomes_dense(name):
    matrix = make(name, -1, np.float32)
    (m, n), (weights, fixed) = matrix.shape, ms.partition(matrix)
    assert matrix.cost().bytes < matrix.cost().dense_bytes
    x, v, ids = np.ones((2, m), np.float32), np.ones((n, 2), np.float32), np.arange(2)

    def loss(weights, x, v):
        w = ms.combine(weights, fixed)
        return jnp.sum((x @ w) ** 2) + jnp.sum((w @ v) ** 2) + jnp.sum(w.take(ids) ** 2)

    for operation, function in (products(x, v, ids) | NUMBERS).items():
        largest = largest_value(function, matrix)
        assert largest < m * n, f"{operation} of {name} forms {largest} numbers of {m} x {n}"
    if jax.tree.leaves(weights):
        forward = functools.partial(jax.jvp, loss)
        point = (weights, x, v)
        assert largest_value(jax.grad(loss, (0, 1, 2)), *point) < m * n, f"gradient of {name}"
        assert largest_value(forward, point, point) < m * n, f"forward derivative of {name}"
    stacked = jax.tree.map(lambda leaf: leaf[None], matrix)
    if jax.tree.leaves(stacked):
        assert largest_value(jax.vmap(lambda w: x @ w), stacked) < m * n


def products(x, v, ids):
    """Operation -> what calls it."""
    return {
        "rmatmul": lambda w: x @ w,
        "matmul": lambda w: w @ v,
        "matmul by a vector": lambda w: w @ v[:, 0],
        "take": lambda w: w.take(ids),
        "one row": lambda w: w[0],
        "transpose": lambda w: v.T @ w.T,
        "conjugate transpose": lambda w: v.T @ w.H,
        "arithmetic": lambda w: x @ (2 * w - w),
        "gram": lambda w: v.T @ w.gram(),
    }


NUMBERS = {
    "diagonal": lambda w: w.diagonal(),
    "trace": lambda w: w.trace(),
    "frobenius_norm": lambda w: w.frobenius_norm(),
    "norm(1)": lambda w: w.norm(1),
    "norm(2)": lambda w: w.norm(2),
    "norm(inf)": lambda w: w.norm(np.inf),
}
"""Operation -> what calls it."""

SOLVING = {
    "solve": lambda w, b: w.solve(b),
    "slogdet": lambda w, b: w.slogdet(),
    "inverse": lambda w, b: b @ w.inverse(),
    "pinv": lambda w, b: b @ w.pinv(),
    "cholesky": lambda w, b: b @ w.cholesky(),
    "exp": lambda w, b: b @ w.exp(),
    "sqrt": lambda w, b: b @ w.sqrt(),
    "power": lambda w, b: b @ w.power(-2),
    "eigh": lambda w, b: b @ w.eigh()[1],
    "svd": lambda w, b: b @ w.svd()[0],
}


@pytest.mark.parametrize("name", COMPACT)
def test_solving_forms_nothing_dense(name):
    """On the large case if it is square, and on smaller ones that store less than the dense."""
    made = [make(name, -1, np.float32), *(c[name](KEY, np.float32) for c in SMALL if name in c)]
    for matrix in made:
        m, n = matrix.shape
        leaves = jax.tree.leaves(matrix)
        if m != n or any(leaf.size >= m * n for leaf in leaves) or n < 6:
            continue
        for operation, function in SOLVING.items():
            try:
                largest = largest_value(function, matrix, np.ones(n, np.float32))
            except ms.UnsupportedError:
                continue
            assert largest < m * n, f"{operation} of {name} forms {largest} numbers of {m} x {n}"


def test_a_dense_form_inside_a_loop_is_seen():
    matrix = make("Kronecker", -1, np.float32)
    m, n = matrix.shape

    def hidden(w, x):
        return jax.lax.scan(lambda c, _: (c + x @ w.to_dense(), None), jnp.zeros(n), None, 2)[0]

    assert largest_value(jax.jit(hidden), matrix, np.ones(m, np.float32)) >= m * n
