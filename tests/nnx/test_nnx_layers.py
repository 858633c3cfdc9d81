"""The linear layers and the embedding of `structlin.nnx` against Flax's."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from densified import assert_gradient_is_that_of_the_densified
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs
from structlin.matrices import LowRank, Sparse, Sum

X = jax.random.normal(jax.random.key(1), (2, 3, 12))
IDS = jnp.array([[0, 19, 3], [-1, 7, 7]])


def rngs():
    return nnx.Rngs(0)


LAYERS = {
    "DopedKron": lambda: sl.nnx.DopedKron(12, 20, compression=2, rngs=rngs()),
    "Kron": lambda: sl.nnx.Kron(12, 20, rngs=rngs()),
    "HMD": lambda: sl.nnx.HMD(12, 20, compression=2, rngs=rngs()),
    "LowRank": lambda: sl.nnx.LowRank(12, 20, rank=3, rngs=rngs()),
    "Sparse": lambda: sl.nnx.Sparse(12, 20, density=0.25, rngs=rngs()),
    "Monarch": lambda: sl.nnx.Monarch(12, 20, rngs=rngs()),
    "BlockDiagonal": lambda: sl.nnx.BlockDiagonal(12, 20, blocks=2, rngs=rngs()),
    "BlockLowRank": lambda: sl.nnx.BlockLowRank(12, 20, groups=2, ranks=1, rngs=rngs()),
    "Circulant": lambda: sl.nnx.Circulant(12, 12, rngs=rngs()),
    "Toeplitz": lambda: sl.nnx.Toeplitz(12, 20, rngs=rngs()),
    "per gate": lambda: sl.nnx.Linear(
        12, 20, rngs=rngs(), spec=specs.PerGate(specs.LowRank(rank=2))
    ),
    "general": lambda: sl.nnx.LinearGeneral(
        (3, 12), (4, 5), axis=(1, -1), rngs=rngs(), spec=specs.LowRank(rank=3)
    ),
    "attend": lambda: Scores(sl.nnx.Embed(20, 12, rngs=rngs(), spec=specs.LowRank(rank=3))),
}


class Scores(nnx.Module):
    """Both ways through one embedding."""

    def __init__(self, embed):
        self.embed = embed

    def __call__(self, x):
        return self.embed.attend(x) + self.embed(IDS).sum()


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]()


def loss(layer):
    return (layer(X) ** 2).sum()


@pytest.mark.parametrize(
    ("ours", "theirs", "own"),
    [
        (sl.nnx.Linear, nnx.Linear, ["spec"]),
        (sl.nnx.LinearGeneral, nnx.LinearGeneral, ["spec"]),
        (sl.nnx.Embed, nnx.Embed, ["spec"]),
        (sl.nnx.LSTMCell, nnx.OptimizedLSTMCell, ["input", "recurrent"]),
        (sl.nnx.GRUCell, nnx.GRUCell, ["input", "recurrent"]),
        (sl.nnx.SimpleCell, nnx.SimpleCell, ["input", "recurrent"]),
        (sl.nnx.LowRank, nnx.Linear, ["rank", "compression"]),
    ],
)
def test_fields_are_flax_fields_in_order(ours, theirs, own):
    expected = inspect.signature(theirs.__init__).parameters
    found = inspect.signature(ours.__init__).parameters
    assert list(found) == [*expected, *own]
    assert all(found[n].default is p.default for n, p in expected.items())


@pytest.mark.parametrize(
    ("ours", "theirs", "sizes", "x"),
    [
        (sl.nnx.Linear, nnx.Linear, (12, 20), X),
        (sl.nnx.LinearGeneral, nnx.LinearGeneral, (12, (4, 5)), X),
        (sl.nnx.Embed, nnx.Embed, (20, 12), IDS),
    ],
)
def test_without_spec_it_is_flax_layer(ours, theirs, sizes, x):
    ours, theirs = ours(*sizes, rngs=rngs()), theirs(*sizes, rngs=rngs())
    jax.tree.map(
        assert_array_equal, nnx.to_pure_dict(nnx.state(ours)), nnx.to_pure_dict(nnx.state(theirs))
    )
    assert_array_equal(ours(x), theirs(x))


def test_equals_the_densified_layer_forward_and_gradient(layer):
    expected = sl.densify(layer)(X)
    for form in (layer, sl.pack(layer)):
        assert_allclose(form(X), expected, atol=1e-4)
        assert_gradient_is_that_of_the_densified(loss, form)


def test_trains_with_nnx_optimizer_packed_too(layer):
    @nnx.jit
    def step(model, optimiser):
        value, grads = nnx.value_and_grad(loss)(model)
        optimiser.update(model, grads)
        return value

    for model in (layer, sl.pack(layer)):
        optimiser = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
        first = step(model, optimiser)
        assert step(model, optimiser) < first


def test_split_merge_and_paths():
    layer = sl.pack(sl.nnx.DopedKron(12, 20, compression=2, rngs=rngs()))
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    paths = {"/".join(map(str, p)) for p, _ in nnx.to_flat_state(params)}
    factors = {"kernel/kronecker/factors/0", "kernel/kronecker/factors/1"}
    assert paths == {"bias", "kernel/sparse/values"} | factors
    ((path, index),) = nnx.to_flat_state(rest)
    assert path[-1] == "indices"
    assert isinstance(index, sl.nnx.Index)
    assert isinstance(layer.kernel, Sum)
    merged = nnx.merge(graph, params, rest)
    assert_array_equal(merged(X), layer(X))
    assert "Kronecker" in repr(layer)


def test_layers_of_a_stack_by_vmap_and_scan():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def stack(rngs):
        return sl.nnx.DopedKron(12, 12, density=0.25, rngs=rngs)

    layers = stack(rngs())

    @nnx.jit
    def forward(layers, x):
        return nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(
            x, layers
        )

    expected = X
    graph, state = nnx.split(layers)
    for i in range(3):
        expected = nnx.merge(graph, jax.tree.map(lambda x, i=i: x[i], state))(expected)
    assert_allclose(forward(layers, X), expected, atol=1e-5)
    with pytest.raises(ValueError, match="stack of matrices"):
        sl.pack(layers)


def test_dtypes_are_flax_dtypes():
    for dtype, param, x in [
        (None, jnp.float32, X.astype(jnp.bfloat16)),
        (jnp.bfloat16, jnp.float32, X),
        (None, jnp.bfloat16, X.astype(jnp.bfloat16)),
    ]:
        fields = {"dtype": dtype, "param_dtype": param, "rngs": rngs()}
        ours, theirs = sl.nnx.LowRank(12, 20, rank=2, **fields), nnx.Linear(12, 20, **fields)
        assert ours(x).dtype == theirs(x).dtype
        assert ours.kernel.left.dtype == param
        ours, theirs = (
            sl.nnx.Embed(20, 12, spec=specs.LowRank(rank=2), **fields),
            nnx.Embed(20, 12, **fields),
        )
        assert ours(IDS).dtype == theirs(IDS).dtype
        assert ours.attend(x).dtype == theirs.attend(x).dtype


def test_indices_out_of_range_are_those_of_flax():
    ids = jnp.array([0, -1, 19, 20, -21])
    for rows in (1, 20):
        ours = sl.nnx.Embed(rows, 12, spec=specs.LowRank(rank=1), rngs=rngs())
        assert_allclose(ours(ids), sl.densify(ours)(ids), atol=1e-6)


def test_initializers_are_fitted():
    draw = nnx.initializers.orthogonal()
    layer = sl.nnx.LowRank(12, 12, rank=4, kernel_init=draw, rngs=rngs())
    singular = np.linalg.svd(layer.kernel.left[...] @ layer.kernel.right[...], compute_uv=False)
    assert_allclose(singular, [1] * 4 + [0] * 8, atol=1e-5)


def test_metadata_goes_to_every_leaf():
    layer = sl.nnx.LowRank(12, 20, rank=2, kernel_metadata={"group": "slow"}, rngs=rngs())
    assert layer.kernel.left.group == layer.kernel.right.group == "slow"


def test_what_a_structure_cannot_honour_raises():
    for field, value in {
        "dot_general": jax.lax.dot,
        "promote_dtype": lambda x, **_: x,
        "preferred_element_type": jnp.float32,
        "kernel_metadata": {"out_sharding": ("x", None)},
        "kernel_init": nnx.with_partitioning(nnx.initializers.ones, ("x", None)),
    }.items():
        with pytest.raises(ValueError, match=field):
            sl.nnx.LowRank(12, 20, rank=2, rngs=rngs(), **{field: value})
    with pytest.raises(ValueError, match="batch_axis"):
        sl.nnx.LinearGeneral(12, 20, batch_axis={0: 2}, rngs=rngs(), spec=specs.LowRank(rank=2))
    with pytest.raises(TypeError, match="own fields"):
        sl.nnx.LowRank(12, 20, spec=specs.LowRank(rank=2), rngs=rngs())
    with pytest.raises(ValueError, match="one precision"):
        sl.nnx.LowRank(12, 20, rank=2, precision=("high", "low"), rngs=rngs())(X)
    embed = sl.nnx.Embed(20, 12, spec=specs.LowRank(rank=2), rngs=rngs())
    with pytest.raises(ValueError, match="integers"):
        embed(X)


def test_precision_and_sharding_are_passed_on():
    layer = sl.nnx.LowRank(12, 20, rank=2, precision="highest", rngs=rngs())
    assert "HIGHEST" in str(jax.make_jaxpr(layer)(X))
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        assert layer(X, out_sharding=jax.P("x")).sharding.spec == jax.P("x", None, None)


def test_packed_is_sparse_and_keeps_low_rank():
    layer = sl.nnx.Sparse(12, 20, density=0.25, rngs=rngs())
    packed = sl.pack(layer)
    assert isinstance(packed.kernel, Sparse)
    assert not isinstance(layer.kernel, Sparse)
    assert isinstance(sl.pack(sl.nnx.LowRank(12, 20, rank=2, rngs=rngs())).kernel, LowRank)
