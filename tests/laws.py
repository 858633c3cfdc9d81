"""What the tests of laws share: numbers, tolerances, and a look into jaxprs."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from cases import POSITIVE, SQUARE, make


def numbers(rng, shape, dtype):
    """Normal numbers as a NumPy array."""
    values = rng.normal(size=shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        values = values + 1j * rng.normal(size=shape)
    return np.asarray(values.astype(dtype))


def wide(x):
    """``x`` in double precision."""
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def close(got, want, dtype, units=None, what=""):
    """That ``got`` has ``dtype`` and is within ``units`` of its rounding of ``want``.

    The size of ``want`` as a whole sets the scale, at least one.
    """
    assert got.shape == np.shape(want), what
    assert got.dtype == dtype, what
    eps = float(jnp.finfo(dtype).eps)
    units = units or (16 if eps > 1e-4 else 1e3 if eps > 1e-8 else 1e5)
    difference = np.abs(wide(got) - wide(want))
    most = float(difference.max(initial=0))
    scale = max(1.0, float(np.abs(wide(want)).max(initial=0)))
    assert most <= units * eps * scale, f"{what}: off by {most:.2e} at size {scale:.2e}"


@contextlib.contextmanager
def precision(dtype):
    """64-bit types where ``dtype`` has them, and mixed types where it is complex."""
    promotion = "standard" if jnp.issubdtype(dtype, jnp.complexfloating) else "strict"
    with jax.enable_x64(jnp.finfo(dtype).bits == 64), jax.numpy_dtype_promotion(promotion):
        yield


def square(name, dtype, seed=0):
    """The case ``SQUARE[name]``."""
    return SQUARE[name](jax.random.key(seed), dtype)


def positive(name, dtype, seed=0):
    """The case ``POSITIVE[name]``."""
    return POSITIVE[name](jax.random.key(seed), dtype)


def large(name, dtype=np.float32):
    """The last of the cases of a structure."""
    return make(name, -1, dtype)


def equations(jaxpr):
    """Every equation of a jaxpr and of the jaxprs inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def largest_value(function, *args):
    """The most elements that any equation of ``function`` puts out."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    sizes = (v.aval.size for e in equations(jaxpr) for v in e.outvars if hasattr(v.aval, "size"))
    return max(sizes, default=0)
