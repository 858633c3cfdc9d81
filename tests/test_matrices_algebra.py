"""Diagonals, norms, inverses, factorizations and functions: each by the equation that defines it.

An operation that a structure has runs on its entry in ``SQUARE`` or ``POSITIVE`` of ``cases.py``;
one that it has not must say who has.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from cases import CASES, POSITIVE, SQUARE, make
from laws import close, numbers, positive, precision, square, wide

from structlin import matrices as ms
from structlin.matrices._registry import HOOKS, able

pytestmark = pytest.mark.usefixtures("strict_promotion")
every_structure = pytest.mark.parametrize("name", CASES)
every_square = pytest.mark.parametrize("name", SQUARE)
every_positive = pytest.mark.parametrize("name", POSITIVE)

LINEAR = {
    "solve": lambda w, b: [w.solve(b[:, 0]), w.solve(b)],
    "inverse": lambda w, _: w.inverse().to_dense(),
    "pinv": lambda w, _: w.pinv().to_dense(),
    "slogdet": lambda w, _: w.slogdet(),
}
"""What is asked of square matrices."""

LINEAR_ALONE = {
    "inverse": lambda w: w.inverse().to_dense(),
    "pinv": lambda w: w.pinv().to_dense(),
    "slogdet": lambda w: w.slogdet(),
}
"""Those of them that need no right side."""

SPECTRAL = {
    "cholesky": lambda w: w.cholesky().to_dense(),
    "eigh": lambda w: (lambda values, vectors: (values, vectors.to_dense()))(*w.eigh()),
    "svd": lambda w: (lambda u, s, vh: (u.to_dense(), s, vh.to_dense()))(*w.svd()),
    "exp": lambda w: w.exp().to_dense(),
    "sqrt": lambda w: w.sqrt().to_dense(),
    "power": lambda w: [w.power(p).to_dense() for p in (0, 2, -1, 0.5)] + [(w**3).to_dense()],
}
"""What is asked of positive definite matrices."""


def can(name):
    """The operations of a structure."""
    return tuple(operation for operation in HOOKS if name in able(operation))


def test_every_structure_has_a_case_for_what_it_can():
    for operation in HOOKS:
        needed = {n for n in able(operation) if ms.REGISTRY[n].__module__.startswith("structlin.")}
        cases, where = (SQUARE, "SQUARE") if operation in LINEAR else (POSITIVE, "POSITIVE")
        known = set(CASES) if operation in ("svd", "pinv") else set(cases)
        missing = needed - known
        assert not missing, (
            f"{sorted(missing)} can `{operation}`: add a well conditioned matrix of each to "
            f"{where} in tests/cases.py"
        )


# Numbers about a matrix.


def sizes_of(w):
    """Everything that `Reductions` derives, for one compilation."""
    found = {
        "dense": w.to_dense(),
        "diagonal": w.diagonal(),
        "trace": w.trace(),
        "frobenius": w.frobenius_norm(),
        "conj": w.conj().to_dense(),
        "H": w.H.to_dense(),
        "gram": w.gram().to_dense(),
        **{str(ord): w.norm(ord) for ord in ("fro", 1, 2, np.inf)},
    }
    if has_svd(w):
        found |= {str(ord): w.norm(ord) for ord in (-2, "nuc")}
    return found


def has_svd(w):
    try:
        jax.eval_shape(lambda w: w.svd()[1], w)
    except ms.UnsupportedError:
        return False
    return True


@pytest.mark.parametrize(("which", "dtype"), [(0, "float32"), (1, "complex64"), (-1, "float64")])
@every_structure
def test_diagonal_trace_norms_and_gram_equal_dense(name, which, dtype):
    with precision(dtype):
        matrix = make(name, which, dtype)
        got = jax.jit(sizes_of)(matrix)
    dtype, real = jnp.dtype(dtype), jnp.finfo(dtype).dtype
    dense = got.pop("dense")
    w = wide(dense)
    want = {
        "diagonal": np.diagonal(w),
        "trace": np.trace(w),
        "frobenius": np.linalg.norm(w),
        "conj": w.conj(),
        "H": w.conj().T,
        "gram": w.conj().T @ w,
        **{str(ord): np.linalg.norm(w, ord) for ord in ("fro", 1, 2, np.inf, -2, "nuc")},
    }
    norms = {"frobenius", "fro", "1", "2", "inf", "-2", "nuc"}
    for what, value in got.items():
        # Power iteration stops where it hardly grows.
        loose = 1e-3 / float(jnp.finfo(real).eps) if what == "2" else None
        close(value, want[what], real if what in norms else dtype, loose, what)


def test_norms_of_other_names_raise():
    with pytest.raises(ValueError, match="'nuc'"):
        make("Dense", 0, np.float32).norm("spectral")


@every_structure
def test_kron_with_itself_and_another(name, x64, rng):
    matrix, other = make(name, 1, np.float64), make("LowRank", 1, np.float64)
    m, k = len(matrix), len(other)
    x = rng.normal(size=(2, m * k))
    y = rng.normal(size=(2, m * m))

    @jax.jit
    def run(a, b, x, y):
        parts = [a.kron(b), b.kron(a), a.kron(a)]
        return a.to_dense(), b.to_dense(), [x @ parts[0], x @ parts[1], y @ parts[2]]

    a, b, got = run(matrix, other, x, y)
    a, b = np.asarray(a), np.asarray(b)
    for g, w in zip(got, [x @ np.kron(a, b), x @ np.kron(b, a), y @ np.kron(a, a)], strict=True):
        close(g, w, np.float64)


# Linear systems.


@functools.partial(jax.jit, static_argnames="operations")
def linear(w, b, operations):
    found = {what: ask(w, b) for what, ask in LINEAR.items() if what in operations}
    return w.to_dense(), found


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@every_square
def test_solve_inverse_pinv_and_slogdet(name, dtype, rng):
    with precision(dtype):
        matrix = square(name, dtype)
        b = numbers(rng, (matrix.shape[0], 2), matrix.dtype)
        dense, got = linear(matrix, b, can(name))
    dtype, real = jnp.dtype(dtype), jnp.finfo(dtype).dtype
    w, b, units = wide(dense), wide(b), 1e4
    if "solve" in got:
        for x, right in zip(got["solve"], (b[:, 0], b), strict=True):
            close(x, np.linalg.solve(w, right), dtype, units, "solve")
    if "inverse" in got:
        close(got["inverse"], np.linalg.inv(w), dtype, units, "inverse")
    if "pinv" in got:
        share = max(w.shape) * np.finfo(dtype).eps
        close(got["pinv"], np.linalg.pinv(w, share), dtype, units, "pinv")
    if "slogdet" in got:
        for value, want, kind in zip(
            got["slogdet"], np.linalg.slogdet(w), (dtype, real), strict=True
        ):
            close(value, want, kind, units, "slogdet")


@every_structure
def test_the_pseudo_inverse_meets_the_conditions_of_penrose(name, x64):
    if name not in able("pinv"):
        return
    for index in range(len(CASES[name])):
        matrix = make(name, index, np.float64)
        try:
            w, p = (wide(x) for x in jax.jit(lambda w: (w.to_dense(), w.pinv().to_dense()))(matrix))
        except ms.UnsupportedError:
            continue
        for got, want in [(w @ p @ w, w), (p @ w @ p, p), (w @ p, (w @ p).conj().T)]:
            close(got, want, np.float64)
        close(p @ w, (p @ w).conj().T, np.float64)


@every_structure
def test_singular_vectors_and_values(name, x64):
    if name not in able("svd"):
        return
    for index in range(len(CASES[name])):
        matrix = make(name, index, np.float64)
        if has_svd(matrix):
            dense, parts = jax.jit(lambda w: (w.to_dense(), SPECTRAL["svd"](w)))(matrix)
            check_svd(wide(dense), parts, np.dtype("float64"), 1e5)


def test_pinv_takes_a_tolerance(x64):
    values = jnp.array([2.0, 1e-3, 1.0])
    for matrix in (ms.Diagonal(values), ms.Dense(jnp.diag(values))):
        got = np.diagonal(matrix.pinv(rtol=1e-2).to_dense())
        close(got, [0.5, 0, 1], np.float64)


@every_square
def test_gradients_of_solve_inverse_and_slogdet(name, x64, rng):
    asked = [what for what in ("solve", "inverse", "slogdet") if name in able(what)]
    matrix = square(name, np.float64)
    weights, fixed = ms.partition(matrix)
    if not asked or not jax.tree.leaves(weights):
        return
    b = rng.normal(size=(matrix.shape[0], 2))

    def loss(solve, inverse, slogdet, b):
        found = {
            "solve": lambda: jnp.sum(solve(b) ** 2),
            "inverse": lambda: jnp.sum(inverse(b) ** 2),
            "slogdet": lambda: slogdet()[1],
        }
        return sum(found[what]() for what in asked)

    def structured(weights, b):
        w = ms.combine(weights, fixed)
        return loss(w.solve, lambda b: b.T @ w.inverse(), w.slogdet, b)

    def through_dense(weights, b):
        w = ms.combine(weights, fixed).to_dense()
        pieces = (
            lambda b: jnp.linalg.solve(w, b),
            lambda b: b.T @ jnp.linalg.inv(w),
            lambda: jnp.linalg.slogdet(w),
        )
        return loss(*pieces, b)

    both = jax.jit(lambda *a: [jax.grad(f, (0, 1))(*a) for f in (structured, through_dense)])
    got, want = both(weights, b)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        close(g, w, np.float64, 1e6)


# Factorizations and functions.


@functools.partial(jax.jit, static_argnames="operations")
def spectral(w, operations):
    return w.to_dense(), {what: ask(w) for what, ask in SPECTRAL.items() if what in operations}


def check_svd(w, parts, dtype, units):
    u, s, vh = map(wide, parts)
    close(parts[1], np.linalg.svd(w)[1][: len(s)], jnp.finfo(dtype).dtype, units, "svd")
    assert np.linalg.matrix_rank(w, 1e-3) <= len(s) <= min(w.shape), "svd: rank"
    assert (np.diff(s) <= 1e-5 * s.max()).all(), "svd: the values descend"
    eye, what = np.eye(len(s)), "svd: vectors are orthonormal"
    close(as_dtype(u.conj().T @ u, dtype), eye, dtype, units, what)
    close(as_dtype(vh @ vh.conj().T, dtype), eye, dtype, units, what)
    close(as_dtype(u * s @ vh, dtype), w, dtype, units, "svd: the product")
    assert {x.dtype for x in (parts[0], parts[2])} == {dtype}


def as_dtype(x, dtype):
    return np.asarray(x).astype(dtype)


def check_eigh(w, parts, dtype, units):
    values, vectors = map(wide, parts)
    close(parts[0], np.linalg.eigvalsh(w), jnp.finfo(dtype).dtype, units, "eigh")
    assert parts[1].dtype == dtype
    eye, what = np.eye(len(w)), "eigh: vectors are orthonormal"
    close(as_dtype(vectors.conj().T @ vectors, dtype), eye, dtype, units, what)
    whole = vectors * values @ vectors.conj().T
    close(as_dtype(whole, dtype), w, dtype, units, "eigh: the product")


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@every_positive
def test_factorizations_and_functions(name, dtype):
    with precision(dtype):
        matrix = positive(name, dtype)
        dense, got = spectral(matrix, can(name))
    dtype, w, units = jnp.dtype(dtype), wide(dense), 1e3
    values, vectors = np.linalg.eigh(w)
    proper = np.allclose(w, w.conj().T, atol=1e-4) and values[0] > 0.01
    assert proper, f"POSITIVE[{name!r}] in tests/cases.py is not positive definite"
    if "eigh" in got:
        check_eigh(w, got["eigh"], dtype, units)
    if "svd" in got:
        check_svd(w, got["svd"], dtype, units)
    if "cholesky" in got:
        lower = wide(got["cholesky"])
        assert (np.triu(lower, 1) == 0).all(), "cholesky: lower triangular"
        assert (np.diagonal(lower).real > 0).all(), "cholesky: positive diagonal"
        close(got["cholesky"], np.linalg.cholesky(w), dtype, units, "cholesky")
    if "exp" in got:
        close(got["exp"], scipy.linalg.expm(w), dtype, units, "exp")
    root = (vectors * np.sqrt(values)) @ vectors.conj().T
    if "sqrt" in got:
        close(got["sqrt"], root, dtype, units, "sqrt")
    if "power" in got:
        want = [np.eye(len(w)), w @ w, np.linalg.inv(w), root, w @ w @ w]
        for g, x, p in zip(got["power"], want, (0, 2, -1, 0.5, 3), strict=True):
            close(g, x, dtype, units, f"power {p}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@every_structure
def test_every_operation_keeps_the_dtype(name, dtype):
    dtype = jnp.dtype(dtype)
    asked = [(SQUARE, {"solve": lambda w: w.solve(jnp.ones(len(w), dtype)), **LINEAR_ALONE})]
    asked += [(POSITIVE, SPECTRAL), (dict.fromkeys(CASES, CASES[name][-1]), {"sizes": sizes_of})]
    for cases, operations in asked:
        for operation, ask in operations.items():
            if name in cases and (operation == "sizes" or operation in can(name)):
                w = cases[name](jax.random.key(0), dtype)
                made = jax.eval_shape(ask, w)
                kinds = {leaf.dtype for leaf in jax.tree.leaves(made)}
                assert kinds == {dtype}, f"{operation} of {dtype} gives {kinds}"


# What is refused.


def a_square(name):
    """A square matrix of the structure."""
    if name in SQUARE:
        return square(name, np.float32)
    made = (make(name, i, np.float32) for i in range(len(CASES[name])))
    found = next((w for w in made if w.shape[0] == w.shape[1]), None)
    assert found is not None, f"add a square matrix of {name} to SQUARE in tests/cases.py"
    return found


ASK = {
    **{what: getattr(ms.Matrix, what) for what in HOOKS},
    "solve": lambda w: w.solve(np.ones(w.shape[0], np.float32)),
    "power": lambda w: w.power(0.5),
}


@every_structure
def test_what_is_unsupported_names_who_can(name):
    for operation in HOOKS:
        if name in able(operation):
            continue
        matrix = a_square(name)
        if operation in ("cholesky", "eigh", "exp", "sqrt", "power"):
            leaves = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), matrix)
            ask = functools.partial(jax.eval_shape, ASK[operation], leaves)  # no probe of values
        else:
            ask = functools.partial(ASK[operation], matrix)
        with pytest.raises(ms.UnsupportedError) as raised:
            ask()
        message = str(raised.value)
        assert f"no structured `{operation}`" in message
        assert "Call `.to_dense()` first" in message
        assert ", ".join(able(operation)) in message


@every_structure
def test_only_square_matrices_have_inverses_and_powers(name):
    matrix = make(name, -1, np.float32)
    if matrix.shape[0] == matrix.shape[1]:
        return
    for operation in HOOKS:
        if operation not in ("pinv", "svd"):
            with pytest.raises(ValueError, match=f"`{operation}` is of square matrices"):
                ASK[operation](matrix)


@every_square
def test_a_right_side_that_does_not_fit_is_refused(name):
    matrix = square(name, np.float32)
    n = len(matrix)
    for shape in [(n + 1,), (n + 1, 2), (1, n, 2)]:
        with pytest.raises(ValueError, match=rf"\({n},\) or \({n}, k\)"):
            matrix.solve(np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="scalar"):
        matrix.solve(1.0)


@every_positive
def test_what_is_not_hermitian_has_no_eigenvectors(name):
    matrix = square(name, np.float32) if name in SQUARE else make(name, 1, np.float32)
    w = np.asarray(matrix.to_dense())
    if w.shape[0] != w.shape[1] or np.allclose(w, w.T, atol=1e-3):
        return
    for operation in ("eigh", "cholesky"):
        with pytest.raises(ValueError, match=r"needs a Hermitian matrix.*`\(W \+ W\.H\) / 2`"):
            getattr(matrix, operation)()


def test_a_power_is_a_number_of_python():
    matrix = positive("Dense", np.float32)
    for exponent in ("2", None, 1j, jnp.float32(2), np.ones(2)):
        with pytest.raises(TypeError, match="Python number"):
            matrix.power(exponent)
    for exponent in (2, 2.0, np.int64(2), np.float32(2)):
        close(matrix.power(exponent).to_dense(), wide(matrix @ matrix.to_dense()), np.float32)


def test_eigenproblems_run_under_jit_where_values_are_not_known():
    matrix = square("Dense", np.float32)
    assert jax.jit(lambda w: w.eigh()[0])(matrix).shape == (len(matrix),)
