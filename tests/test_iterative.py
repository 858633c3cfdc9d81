"""Linear systems by closed forms and by products alone."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import make

from structlin import matrices as ms
from structlin.matrices import solve

ITERATIVE = ["cg", "gmres", "bicgstab", "normal_cg", "lsmr"]


def opaque(array):
    """A matrix with no closed form that is ``array``."""
    half = ms.Dense(jnp.asarray(array) / 2)
    return ms.Sum((half, half))


def system(rng, m, n, dtype, method="lsmr", columns=()):
    """A well conditioned array and a right side; Hermitian positive definite for CG."""
    cplx = np.issubdtype(dtype, np.complexfloating)

    def draw(*shape):
        x = rng.normal(size=shape)
        return x + 1j * rng.normal(size=shape) if cplx else x

    array = draw(m, n) / np.sqrt(m)
    if method == "cg":
        array = array @ array.conj().T + np.eye(m)
    elif m == n:
        array = np.eye(m) + 0.2 * array
    return (100 * array).astype(dtype), draw(m, *columns).astype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
@pytest.mark.parametrize("method", ITERATIVE)
def test_every_method_solves_a_square_system(method, dtype, rng, x64):
    array, b = system(rng, 9, 9, dtype, method, columns=(2,))
    found = jax.jit(lambda w, b: solve(w, b, method, rtol=1e-5))(opaque(array), b)
    assert found.value.dtype == dtype
    assert found.method == method
    left = np.linalg.norm(b - array @ np.asarray(found.value), axis=0) / np.linalg.norm(b, axis=0)
    np.testing.assert_allclose(found.residual_norm, left, atol=1e-6)
    assert np.all(left <= 1e-5)
    assert found.iterations.shape == found.converged.shape == (2,)
    assert np.all(found.converged)
    assert np.all(found.iterations > 0)
    assert found.check() is found


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (1, 4), (4, 1)])
@pytest.mark.parametrize("method", ["normal_cg", "lsmr"])
def test_least_squares_find_the_shortest_solution(method, shape, rng):
    array, b = system(rng, *shape, np.float32)
    found = jax.jit(lambda w, b: solve(w, b, method, rtol=1e-6))(opaque(array), b).check()
    np.testing.assert_allclose(found.value, np.linalg.pinv(array) @ b, rtol=1e-3, atol=1e-5)


def test_auto_takes_the_closed_form_where_there_is_one(rng):
    diagonal = ms.Diagonal(jnp.arange(1.0, 4.0))
    found = solve(diagonal, jnp.ones(3)).check()
    assert found.method == "direct"
    assert int(found.iterations) == 0
    np.testing.assert_allclose(found.value, 1 / np.arange(1.0, 4.0), rtol=1e-6)
    tall = ms.Dense(jnp.asarray(rng.normal(size=(5, 3)), jnp.float32))
    b = jnp.asarray(rng.normal(size=(5, 2)), jnp.float32)
    found = solve(tall, b).check()
    assert found.method == "direct"
    np.testing.assert_allclose(found.value, np.linalg.pinv(tall.to_dense()) @ b, atol=1e-5)
    assert solve(opaque(np.eye(3, dtype=np.float32)), jnp.ones(3)).method == "lsmr"


@pytest.mark.parametrize("name", ["Kronecker", "Sum", "Product", "Transposed", "Sparse"])
def test_structures_solve_by_products(name):
    matrix = make(name, -1, np.float32)
    x = np.random.default_rng(1).normal(size=matrix.shape[1]).astype(np.float32)
    run = jax.jit(lambda w, b: solve(w, b, "lsmr", rtol=1e-4))
    found = run(matrix, matrix @ x)
    assert bool(found.converged)
    np.testing.assert_allclose(
        matrix @ found.value, matrix @ x, atol=1e-3 * np.linalg.norm(matrix @ x)
    )


@pytest.mark.parametrize("method", ["direct", "cg", "gmres", "lsmr", "normal_cg"])
def test_gradients_are_those_of_the_exact_solution(method, rng, x64):
    array, b = system(rng, 4, 4, np.float64, method)
    make_ = ms.Dense if method == "direct" else opaque

    def ours(a, b):
        a = (a + a.T) / 2 if method == "cg" else a
        return jnp.sum(solve(make_(a), b, method, rtol=1e-12).value ** 3)

    def theirs(a, b):
        a = (a + a.T) / 2 if method == "cg" else a
        return jnp.sum(jnp.linalg.solve(a, b) ** 3)

    got = jax.jit(jax.grad(ours, (0, 1)))(array, b)
    want = jax.jit(jax.grad(theirs, (0, 1)))(array, b)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6 * np.abs(w).max())


def test_gradient_of_least_squares(rng, x64):
    array, b = system(rng, 6, 3, np.float64)
    ours = jax.grad(
        lambda a, b: jnp.sum(solve(opaque(a), b, "lsmr", rtol=1e-13).value ** 2), (0, 1)
    )
    theirs = jax.grad(lambda a, b: jnp.sum((jnp.linalg.pinv(a) @ b) ** 2), (0, 1))
    for g, w in zip(jax.jit(ours)(array, b), jax.jit(theirs)(array, b), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6 * np.abs(w).max())


@pytest.mark.parametrize("method", ["cg", "gmres"])
def test_a_preconditioner_saves_steps(method, rng):
    scale = np.geomspace(1, 1000, 40)
    array = (np.diag(scale) + 0.01 * np.ones((40, 40))).astype(np.float32)
    b = rng.normal(size=40).astype(np.float32)
    nearly = ms.Diagonal(jnp.asarray(1 / scale, jnp.float32))
    run = jax.jit(lambda w, p: solve(w, b, method, preconditioner=p))
    plain, helped = run(opaque(array), None), run(opaque(array), nearly).check()
    assert int(helped.iterations) < int(plain.iterations)
    np.testing.assert_allclose(array @ helped.value, b, atol=1e-4)


def test_a_good_guess_saves_steps(rng):
    array, b = system(rng, 20, 20, np.float32)
    x = np.linalg.solve(array, b)
    run = jax.jit(lambda w, x0: solve(w, b, "lsmr", x0=x0))
    cold, warm = run(opaque(array), None), run(opaque(array), x * (1 + 1e-4)).check()
    assert int(warm.iterations) < int(cold.iterations)
    np.testing.assert_allclose(warm.value, x, rtol=1e-3, atol=1e-4)


def test_a_right_side_of_zeros():
    for method in ("lsmr", "gmres", "cg"):
        found = jax.jit(lambda w, m=method: solve(w, jnp.zeros(3), m))(opaque(jnp.eye(3))).check()
        np.testing.assert_array_equal(found.value, 0)
        assert float(found.residual_norm) == 0


def test_what_does_not_converge_says_so(rng):
    array, b = system(rng, 20, 20, np.float32)
    found = jax.jit(lambda w: solve(w, b, "lsmr", max_steps=1))(opaque(array))
    assert not bool(found.converged)
    assert float(found.residual_norm) > 1e-3
    with pytest.raises(ArithmeticError, match="max_steps"):
        found.check()
    singular = solve(ms.Diagonal(jnp.array([1.0, 0.0])), jnp.ones(2))
    assert not bool(singular.converged)
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda w: solve(w, jnp.ones(2)).check().value)(ms.Diagonal(jnp.ones(2)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_solved_in_single(dtype, strict_promotion):
    w = ms.Sum((ms.Dense(jnp.eye(4, dtype=dtype)), ms.Diagonal(jnp.ones(4, dtype))))
    found = jax.jit(lambda w: solve(w, jnp.ones(4, dtype), "lsmr"))(w).check()
    assert found.value.dtype == dtype
    assert found.residual_norm.dtype == jnp.float32
    np.testing.assert_allclose(found.value.astype(np.float32), 0.5, rtol=1e-2)


def test_vmap_over_matrices(rng):
    arrays = jnp.asarray(np.stack([system(rng, 4, 4, np.float32)[0] for _ in range(2)]))
    b = jnp.ones(4)
    found = jax.jit(jax.vmap(lambda a: solve(opaque(a), b, "lsmr")))(arrays)
    assert np.all(found.converged)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", arrays, found.value), 1, atol=1e-4)


EYE = ms.Diagonal(jnp.ones(3))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: solve(EYE, jnp.ones(4)), ValueError, r"\(3,\) or \(3, k\)"),
        (lambda: solve(EYE, jnp.ones((3, 1, 1))), ValueError, "given"),
        (lambda: solve(EYE, jnp.ones(3), "newton"), ValueError, "lsmr"),
        (lambda: solve(EYE, jnp.ones(3), rtol=0.0), ValueError, "above zero"),
        (lambda: solve(EYE, jnp.ones(3), rtol=-1.0), ValueError, "above zero"),
        (lambda: solve(EYE, jnp.ones(3), "lsmr", max_steps=0), ValueError, "at least 1"),
        (lambda: solve(EYE, jnp.ones(3), x0=jnp.ones(3)), ValueError, "no use for x0"),
        (lambda: solve(EYE, jnp.ones(3), "cg", x0=jnp.ones(2)), ValueError, "shape"),
        (lambda: solve(EYE, jnp.ones(3), "lsmr", preconditioner=EYE), ValueError, "gmres"),
        (lambda: solve(EYE, jnp.ones(3), "bicgstab"), ValueError, "64-bit"),
        (
            lambda: solve(EYE, jnp.ones(3), "cg", preconditioner=ms.Diagonal(jnp.ones(2))),
            ValueError,
            "inverse",
        ),
        (
            lambda: solve(ms.Dense(jnp.ones((2, 3))), jnp.ones(2), "gmres"),
            ValueError,
            "lsmr",
        ),
        (lambda: solve(opaque(jnp.eye(3)), jnp.ones(3), "direct"), ms.UnsupportedError, "Sum"),
    ],
)
def test_bad_input_is_refused(call, error, says):
    with pytest.raises(error, match=says):
        call()


def test_without_lineax_the_error_names_the_extra():
    code = """
import sys
sys.modules["lineax"] = None
import jax.numpy as jnp
from structlin import matrices as ms
w = ms.Diagonal(jnp.ones(2))
ms.solve(w, jnp.ones(2)).check()
try:
    ms.solve(w, jnp.ones(2), "lsmr")
except ImportError as error:
    assert "structlin[solve]" in str(error), error
else:
    sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
