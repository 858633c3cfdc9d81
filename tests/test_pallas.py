"""The step of a doped LSTM in Pallas: interpreted, against the same step in XLA, and lowered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import largest_value
from numpy.testing import assert_allclose

from structlin import kernels
from structlin.functional import LSTM
from structlin.matrices import Kronecker, Sparse

pl = pytest.importorskip("jax.experimental.pallas")
triton = pytest.importorskip("jax.experimental.pallas.triton")

# The factors' shapes, slots, rows and the type of indices. In the comments: what is odd.
CASES = {
    1: ((1, 4), (1, 1), 1, 1, np.uint8),
    7: ((7, 7), (1, 4), 2, 3, np.uint8),
    33: ((3, 11), (11, 12), 5, 16, np.int32),  # gates begin within a column of a factor
    65: ((5, 10), (13, 26), 3, 3, np.uint16),  # units beyond two programs, gates as for 33
    66: ((1, 4), (66, 66), 1, 1, np.uint8),  # more rows than are taken at a time
    70: ((35, 28), (2, 10), 9, 1, np.uint8),  # programs touch several columns of a factor
}


def draw(hidden, rng):
    """The arguments of the step: state, memory, projection, factors, values, indices."""
    left, right, slots, batch, kind = CASES[hidden]

    def normal(*shape):
        return (rng.normal(size=shape) / 2).astype("f")

    rows = normal(batch, hidden), normal(batch, hidden), normal(batch, 4 * hidden)
    indices = rng.integers(0, hidden, (slots, 4 * hidden)).astype(kind)
    return *rows, (normal(*left), normal(*right)), normal(slots, 4 * hidden), indices


def in_xla(h, c, z, factors, values, indices):
    w = Kronecker(tuple(factors)) + Sparse(values, indices, h.shape[-1])
    return LSTM().apply((), z, h @ w, (c, h))[0]


def interpreted(*args):
    return kernels.doped_lstm_step(*args, interpret=True)


def same(got, want):
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, want)


@pytest.mark.parametrize("hidden", CASES)
def test_the_step_is_that_of_xla(hidden, rng):
    args = draw(hidden, rng)
    got = jax.jit(interpreted)(*args)
    assert [x.dtype for x in got] == [np.float32] * 2
    same(got, jax.jit(in_xla)(*args))


def test_a_sequence_is_that_of_xla(rng):
    h, c, z, *kernel = draw(33, rng)

    def run(step):
        def body(carry, z):
            c, h = step(carry[1], carry[0], z, *kernel)
            return (c, h), h

        return jax.jit(lambda zs: jax.lax.scan(body, (c, h), zs))(np.stack([z, -z, z]))

    same(run(interpreted), run(in_xla))


def test_derivatives_are_those_of_xla(rng):
    *args, indices = draw(33, rng)

    def loss(step):
        def value(args):
            c, h = step(*args, indices)
            return jnp.sum(jnp.sin(c)) + jnp.sum(h**2)

        return value

    def both(step):
        tangents = jax.tree.map(jnp.cos, args)
        return jax.grad(loss(step))(args), jax.jvp(loss(step), (args,), (tangents,))

    same(jax.jit(lambda: both(interpreted))(), jax.jit(lambda: both(in_xla))())


@pytest.mark.parametrize("axes", [(0, 0, 0, None, None, None), 0])
def test_batches_of_batches(axes, rng):
    several = [draw(7, rng) for _ in range(2)]
    stacked = list(jax.tree.map(lambda *x: np.stack(x), *several))
    args = stacked if axes == 0 else [*stacked[:3], *several[0][3:]]
    step, want = (jax.jit(jax.vmap(f, in_axes=axes)) for f in (interpreted, in_xla))
    same(step(*args), want(*args))


def lower(function, *args):
    return jax.jit(function).trace(*args).lower(lowering_platforms=("cuda",)).as_text()


@pytest.fixture(scope="module")
def gpu_lowering():
    """Whether this JAX lowers any kernel at all for a GPU, there being none."""

    def copy(x, y):
        y[...] = x[...]

    x = jnp.zeros(16)
    params = triton.CompilerParams()
    call = pl.pallas_call(copy, jax.typeof(x), compiler_params=params)
    try:
        lower(call, x)
    except Exception as error:
        pytest.skip(f"this JAX does not lower Pallas for a GPU here: {error}")


@pytest.mark.parametrize("hidden", CASES)
def test_it_lowers_for_cuda(hidden, rng, gpu_lowering):
    assert "triton" in lower(kernels.doped_lstm_step, *draw(hidden, rng))


def test_it_lowers_for_cuda_in_batches_and_under_x64(rng, gpu_lowering):
    args = draw(33, rng)
    batches = jax.tree.map(lambda x: np.stack([x, x]), args)
    assert "triton" in lower(jax.vmap(kernels.doped_lstm_step), *batches)
    with jax.enable_x64(True):
        assert "triton" in lower(kernels.doped_lstm_step, *args)


def test_the_matrix_is_never_formed(rng):
    hidden, batch = 650, 1
    f = np.ones((1, 4 * hidden), "f")
    rows = np.ones((batch, hidden), "f")
    factors = np.ones((26, 50), "f"), np.ones((25, 52), "f")
    args = rows, rows, f, factors, f, f.astype("i4")
    assert largest_value(kernels.doped_lstm_step, *args) < hidden * 4 * hidden / 100


def test_what_does_not_fit_is_named(rng):
    h, c, z, factors, values, indices = draw(7, rng)
    for args, message in [
        ((h[0], c, z, factors, values, indices), r"h has shape \(7,\)"),
        ((h[:0], c, z, factors, values, indices), r"h has shape \(0, 7\)"),
        ((h, c[:, 1:], z, factors, values, indices), r"c has shape \(3, 6\).*needs \(3, 7\)"),
        ((h, c, c, factors, values, indices), r"z has shape \(3, 7\).*needs \(3, 28\)"),
        ((h, c, z, factors[:1], values, indices), "1 factors were given"),
        ((h, c, z, (factors[0], values[0]), values, indices), "two axes"),
        ((h, c, z, (factors[1], factors[1]), values, indices), r"product of the factors"),
        ((h, c, z, factors, values[0], indices), r"values has shape \(28,\)"),
        ((h, c, z, factors, values[:0], indices), r"values has shape \(0, 28\)"),
        ((h, c, z, factors, values, indices[:1]), r"indices has shape \(1, 28\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            interpreted(*args)
    for args in [
        (h.astype("f2"), c, z, factors, values, indices),
        (h, c, z, factors, values, values),
    ]:
        with pytest.raises(TypeError, match="float32"):
            interpreted(*args)


def test_a_cpu_only_interprets(rng):
    if jax.default_backend() != "cpu":
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="interpret"):
        kernels.doped_lstm_step(*draw(7, rng))
