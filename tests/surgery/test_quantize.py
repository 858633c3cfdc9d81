"""Whole trees in few bits."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from numpy.testing import assert_array_equal

import structlin as sl
from structlin import matrices as ms

RNG = np.random.default_rng(0)
DENSE = jnp.asarray(RNG.normal(size=(16, 12)), jnp.float32)


def params():
    doped = sl.specs.Doped(sl.specs.LowRank(rank=2), density=0.25).fit(DENSE)
    layer = {"kernel": doped, "bias": jnp.ones(12), "steps": jnp.arange(3)}
    return {"a": layer, "b": {"kernel": DENSE, "bias": jnp.ones(12)}}


def test_each_weight_is_what_its_pattern_says():
    tree = params()
    small = sl.quantize(tree, {"a/kernel": 8, ".*kernel": 3, ".*": "bfloat16"}, per="row")
    assert (small["a"]["kernel"].bits, small["b"]["kernel"].bits) == (8, 3)
    assert isinstance(small["a"]["kernel"].decode().terms[1], ms.Sparse)
    want = ms.Quantized.of(ms.Dense(DENSE), 3, per="row").to_dense()
    assert_array_equal(small["b"]["kernel"].to_dense(), want)
    assert small["a"]["bias"].dtype == jnp.bfloat16
    assert small["a"]["steps"].dtype == tree["a"]["steps"].dtype
    assert tree["b"]["kernel"] is DENSE
    assert_array_equal(sl.quantize(tree, {".*": 4})["a"]["bias"], tree["a"]["bias"])
    half = sl.quantize(tree, {"a/kernel": "float16"})["a"]["kernel"]
    assert half.dtype == jnp.float16


def test_a_model_of_nnx_becomes_a_new_one():
    model = nnx.Linear(16, 12, rngs=nnx.Rngs(0))
    small = sl.quantize(model, {"kernel": 6})
    x = jnp.ones((2, 16))
    assert np.abs(small(x) - model(x)).max() < 0.2
    assert not np.array_equal(small(x), model(x))


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ({"c": 4}, "'c' matches no weight"),
        ({"cube": 4}, r"cube has the shape \(2, 2, 2\)"),
        ({"b": "float8"}, "given 'float8'"),
        ({"b": 9}, "1 to 8 bits"),
        ({"coded": 4}, "coded is in codes already"),
    ],
)
def test_what_is_refused(bits, message):
    coded = ms.Scaled.of(ms.Quantized.of(ms.Dense(DENSE), 4), 2.0)
    with pytest.raises(ValueError, match=message):
        sl.quantize({"cube": jnp.ones((2, 2, 2)), "b": DENSE, "coded": coded}, bits)
