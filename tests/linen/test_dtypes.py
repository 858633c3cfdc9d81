"""Every combination of dtypes gives the dtypes that Flax gives."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
LOW = specs.LowRank(rank=2)
HALVES = (jnp.bfloat16, jnp.float16)
FIELDS = list(itertools.product((None, jnp.float32, *HALVES), (jnp.float32, *HALVES)))
LAYERS = {
    "dense": (nn.Dense, sl.Dense, (4,), {}),
    "no bias": (nn.Dense, sl.Dense, (4,), {"use_bias": False}),
    "general": (nn.DenseGeneral, sl.DenseGeneral, ((2, 2),), {"axis": (1, -1)}),
    "embed": (nn.Embed, sl.Embed, (5, 6), {}),
    "attend": (nn.Embed, sl.Embed, (5, 6), {}),
}
CELLS = [
    (nn.OptimizedLSTMCell, sl.LSTMCell),
    (nn.LSTMCell, sl.LSTMCell),
    (nn.GRUCell, sl.GRUCell),
    (nn.SimpleCell, sl.SimpleCell),
    (nn.MGUCell, sl.MGUCell),
]


def of_dtype(tree, dtype):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), tree)


def dtypes(model, params, *args, **kwargs):
    """The dtypes of what ``model`` gives."""
    run = functools.partial(model.apply, **kwargs)
    found = jax.eval_shape(lambda p, *a: run({"params": p}, *a), params, *args)
    return [x.dtype for x in jax.tree.leaves(found)]


def attempt(*args, **kwargs):
    """The same of a scan, which Flax refuses where the carry changes its dtype."""
    try:
        return dtypes(*args, **kwargs)
    except TypeError:
        return "the carry changes"


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    flax, ours, sizes, own = LAYERS[name]
    ids = name == "embed"
    kwargs = {"method": "attend"} if name == "attend" else {}
    start = jnp.ones((2, 3, 6), jnp.int32 if flax is nn.Embed else jnp.float32)
    dense, structured = (
        jax.eval_shape(layer.init, KEY, start)["params"]
        for layer in (flax(*sizes, **own), ours(*sizes, spec=LOW, **own))
    )
    for dtype, param in FIELDS:
        fields = {"dtype": dtype, "param_dtype": param, **own}
        given, layer = of_dtype(structured, param), ours(*sizes, spec=LOW, **fields)
        for kind in (jnp.int8,) if ids else (jnp.float32, *HALVES, jnp.int32):
            x = jax.ShapeDtypeStruct((2, 3, 6), kind)
            want = dtypes(flax(*sizes, **fields), of_dtype(dense, param), x, **kwargs)
            assert dtypes(layer, given, x, **kwargs) == want, fields
            with sl.linen.structured():
                assert dtypes(flax(*sizes, **fields), given, x, **kwargs) == want, fields


@pytest.mark.parametrize("pair", CELLS, ids=lambda pair: pair[0].__name__)
def test_cells(pair):
    """A step, whose carry tells whether a scan can run, and both scans."""
    # JAX draws no orthogonal matrix of half precision.
    flax = functools.partial(pair[0], recurrent_kernel_init=nn.initializers.lecun_normal())
    ours = functools.partial(pair[1], 4, input=LOW, recurrent=LOW)
    dense, structured = (
        jax.eval_shape(nn.RNN(cell, name="rnn").init, KEY, jnp.ones((2, 3, 6)))["params"]["cell"]
        for cell in (flax(4), ours())
    )
    for dtype, param in FIELDS:
        fields = {"dtype": dtype, "param_dtype": param}
        theirs, cell = flax(4, **fields), ours(**fields)
        arrays, given = of_dtype(dense, param), of_dtype(structured, param)
        carry = jax.eval_shape(functools.partial(theirs.initialize_carry, input_shape=(2, 6)), KEY)
        for kind in (jnp.float32, *HALVES):
            x = jax.ShapeDtypeStruct((2, 6), kind)
            want = dtypes(theirs, arrays, carry, x)
            assert dtypes(cell, given, carry, x) == want, (fields, kind)
            assert dtypes(sl.Structured(theirs), given, carry, x) == want, (fields, kind)
        x = jax.ShapeDtypeStruct((2, 3, 6), param)
        want = attempt(nn.RNN(theirs), {"cell": arrays}, x, return_carry=True)
        for scan, params in ((sl.RNN(theirs), arrays), (sl.RNN(cell), given)):
            assert attempt(scan, {"cell": params}, x, return_carry=True) == want, fields
