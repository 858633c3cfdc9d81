"""`structlin.Dense` and its named forms against `flax.linen.Dense`."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import errors, serialization, traverse_util
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin.matrices import Kronecker, LowRank, Matrix, Sum

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (2, 3, 12))
FEATURES = 20
LAYERS = {
    "DopedKron": sl.DopedKron(FEATURES, compression=2),
    "Kron": sl.Kron(FEATURES),
    "HMD": sl.HMD(FEATURES, compression=2),
    "LowRank": sl.LowRank(FEATURES, rank=3),
    "Sparse": sl.Sparse(FEATURES, density=0.25),
    "Monarch": sl.Monarch(FEATURES),
    "BlockLowRank": sl.BlockLowRank(FEATURES, groups=3, ranks=2),
    "BlockDiagonal": sl.BlockDiagonal(FEATURES, blocks=4),
    "Toeplitz": sl.Toeplitz(FEATURES),
    "Circulant": sl.Circulant(12),
    "spec": sl.Dense(FEATURES, spec=sl.specs.PerGate(sl.specs.LowRank(rank=2))),
}
NAMED = sorted({type(v) for v in LAYERS.values()} - {sl.Dense}, key=lambda c: c.__name__)


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]


def equal(a, b):
    jax.tree.map(assert_array_equal, a, b)


def test_without_spec_it_is_flax_dense():
    theirs, ours = nn.Dense(FEATURES), sl.Dense(FEATURES)
    variables = theirs.init(KEY, X)
    equal(ours.init(KEY, X), variables)
    assert_array_equal(ours.apply(variables, X), theirs.apply(variables, X))


def test_fields_are_flax_fields_in_order():
    names = list(nn.Dense.__dataclass_fields__)
    for cls in (sl.Dense, *NAMED):
        ours = [n for n in cls.__dataclass_fields__ if n in names]
        assert ours == names, cls.__name__
        for name, field in nn.Dense.__dataclass_fields__.items():
            assert cls.__dataclass_fields__[name].default is field.default, (cls.__name__, name)


def test_named_layers_have_the_fields_of_their_specs():
    """In their order, with their types and defaults, after those of ``nn.Dense``."""
    for cls in NAMED:
        fields = dataclasses.fields(cls.spec_type)
        ours = cls.__dataclass_fields__
        shared = sl.Dense.__dataclass_fields__
        own = [f.name for f in dataclasses.fields(cls) if f.name not in shared]
        assert own == [f.name for f in fields]
        for f in fields:
            assert (ours[f.name].default, ours[f.name].type) == (f.default, f.type)
    with pytest.raises(TypeError, match="groups"):
        sl.BlockLowRank(FEATURES)


def test_equals_the_densified_layer(layer):
    variables = layer.init(KEY, X)
    dense = sl.densify(variables)
    expected = nn.Dense(layer.features).apply(dense, X)
    for form in (variables, sl.pack(variables), dense):
        assert_allclose(layer.apply(form, X), expected, atol=1e-5)
    # A layer with no spec runs whatever its parameters hold.
    assert_allclose(sl.Dense(layer.features).apply(variables, X), expected, atol=1e-5)


def test_gradient_equals_that_through_the_dense_kernel(layer):
    variables = layer.init(KEY, X)

    def structured(v):
        return (layer.apply(v, X) ** 2).sum()

    def densified(v):
        return (nn.Dense(layer.features).apply(sl.densify(v), X) ** 2).sum()

    both = jax.tree.map(
        lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        jax.grad(structured)(variables),
        jax.grad(densified)(variables),
    )
    assert jax.tree.structure(both) == jax.tree.structure(jax.tree.map(lambda _: None, variables))


def test_dtypes_are_flax_dtypes(layer):
    variables = layer.init(KEY, X)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
    half = layer.clone(dtype=jnp.bfloat16)
    assert half.apply(variables, X).dtype == jnp.bfloat16
    assert layer.apply(variables, X.astype(jnp.bfloat16)).dtype == jnp.float32
    assert layer.apply(variables, jnp.ones((2, 12), int)).dtype == jnp.float32
    stored = layer.clone(param_dtype=jnp.bfloat16).init(KEY, X)
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(stored))


def test_no_bias_and_precision(layer):
    plain = layer.clone(use_bias=False, precision=jax.lax.Precision.HIGHEST)
    variables = plain.init(KEY, X)
    assert set(variables["params"]) == {"kernel"}
    assert_allclose(
        plain.apply(variables, X), X @ sl.densify(variables)["params"]["kernel"], atol=1e-5
    )
    with pytest.raises(ValueError, match="one precision"):
        layer.clone(precision=("high", "low")).init(KEY, X)


def test_kernel_init_is_fitted():
    layer = sl.LowRank(12, rank=4, kernel_init=nn.initializers.orthogonal())
    kernel = layer.init(KEY, X)["params"]["kernel"]
    singular = np.linalg.svd(kernel.to_dense(), compute_uv=False)
    assert_allclose(singular, [1] * 4 + [0] * 8, atol=1e-5)


def test_what_a_structure_cannot_honour_raises():
    for field in ({"dot_general": jax.lax.dot_general}, {"promote_dtype": lambda *a, **k: a}):
        with pytest.raises(ValueError, match=next(iter(field))):
            sl.Kron(FEATURES, **field).init(KEY, X)
    with pytest.raises(ValueError, match="own fields"):
        sl.Kron(FEATURES, spec=sl.specs.Kron()).init(KEY, X)
    with pytest.raises(ValueError, match="compression=9.6 or less"):
        sl.Sparse(FEATURES).init(KEY, X)


def test_a_kernel_of_another_shape_names_the_path():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return sl.Kron(FEATURES, name="out")(x)

    variables = Model().init(KEY, X)
    with pytest.raises(ValueError, match=r"out/kernel holds Kronecker\(12x20"):
        Model().apply(variables, X[..., :6])


def test_matrix_is_one_leaf_of_the_tree_and_paths_go_into_it():
    variables = sl.DopedKron(FEATURES, compression=2).init(KEY, X)
    flat = traverse_util.flatten_dict(variables["params"], sep="/")
    assert isinstance(flat["kernel"], Sum)
    paths = [
        jax.tree_util.keystr(p, simple=True, separator="/")
        for p, _ in jax.tree_util.tree_leaves_with_path(variables)
    ]
    assert "params/kernel/kronecker/factors/0" in paths
    assert "params/kernel/sparse/values" in paths


def test_flax_serialisation_round_trip(layer):
    variables = layer.init(KEY, X)
    for form in (variables, sl.pack(variables)):
        blank = jax.tree.map(jnp.zeros_like, form)
        equal(serialization.from_bytes(blank, serialization.to_bytes(form)), form)


def test_optax_and_partitioning():
    layer = sl.Kron(FEATURES)
    variables = layer.init(KEY, X)
    optimiser = optax.adamw(1e-2)
    grads = jax.grad(lambda v: (layer.apply(v, X) ** 2).sum())(variables)
    updates, _ = optimiser.update(grads, optimiser.init(variables), variables)
    new = optax.apply_updates(variables, updates)
    assert isinstance(new["params"]["kernel"], Kronecker)
    boxed = jax.tree.map(lambda x: nn.Partitioned(x, (None,) * x.ndim), variables)
    assert_allclose(layer.apply(boxed, X), layer.apply(variables, X), atol=1e-6)


def test_lifted_transformations():
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            block = nn.remat(sl.LowRank)
            scanned = nn.scan(
                lambda layer, x, _: (layer(x), None),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            x, _ = scanned(block(12, rank=2, name="block"), x, None)
            return nn.vmap(
                sl.Kron,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                in_axes=None,
                axis_size=2,
            )(12, name="heads")(x)

    variables = Stack().init(KEY, X)
    stacked = variables["params"]["block"]["kernel"]
    assert isinstance(stacked, LowRank)
    assert stacked.left.shape == (3, 12, 2)
    assert stacked.shape == (12, 12)
    out = jax.jit(Stack().apply)(variables, X)
    layers = [jax.tree.map(lambda v, i=i: v[i], variables["params"]["block"]) for i in range(3)]
    expected = X
    for params in layers:
        expected = sl.LowRank(12, rank=2).apply({"params": params}, expected)
    heads = [jax.tree.map(lambda v, i=i: v[i], variables["params"]["heads"]) for i in range(2)]
    expected = jnp.stack([sl.Kron(12).apply({"params": p}, expected) for p in heads])
    assert_allclose(out, expected, atol=1e-5)


def test_tabulate_counts_the_stored_numbers(layer):
    params = jax.tree.leaves(layer.init(KEY, X))
    text = layer.tabulate(KEY, X)
    assert f"Total Parameters: {sum(p.size for p in params):,}" in text


def test_plain_flax_dense_refuses_a_matrix():
    variables = sl.LowRank(FEATURES, rank=3).init(KEY, X)
    assert isinstance(variables["params"]["kernel"], Matrix)
    with pytest.raises((TypeError, errors.FlaxError)):
        nn.Dense(FEATURES).apply(variables, X)
