"""`structlin.Embed` and `structlin.DenseGeneral` against Flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
IDS = jnp.array([[0, 3, 11], [-1, -12, 5]])
X = jax.random.normal(jax.random.key(1), (2, 3, 4, 5))
SPECS = {
    "low rank": specs.LowRank(rank=2),
    "kron": specs.Kron(),
    "doped": specs.Doped(specs.LowRank(rank=1), density=0.25),
    "block low rank": specs.BlockLowRank(groups=3, ranks=1),
}


@pytest.fixture(params=SPECS)
def spec(request):
    return SPECS[request.param]


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=atol, rtol=1e-4), a, b)


def test_without_spec_they_are_flax_layers():
    pairs = [
        (nn.Embed(12, 6), sl.Embed(12, 6), IDS),
        (nn.DenseGeneral((2, 3), axis=(1, -1)), sl.DenseGeneral((2, 3), axis=(1, -1)), X),
        (nn.DenseGeneral(7), sl.DenseGeneral(7), X),
    ]
    for theirs, ours, x in pairs:
        fields = theirs.__dataclass_fields__
        assert [n for n in ours.__dataclass_fields__ if n in fields] == list(fields)
        assert all(ours.__dataclass_fields__[n].default is f.default for n, f in fields.items())
        variables = theirs.init(KEY, x)
        jax.tree.map(assert_array_equal, ours.init(KEY, x), variables)
        assert_array_equal(ours.apply(variables, x), theirs.apply(variables, x))
    query = jnp.ones((2, 6))
    variables = sl.Embed(12, 6).init(KEY, IDS)
    attended = sl.Embed(12, 6).apply(variables, query, method="attend")
    assert_array_equal(attended, nn.Embed(12, 6).apply(variables, query, method="attend"))


def test_embed_equals_its_dense_form(spec):
    layer = sl.Embed(12, 6, spec=spec)
    variables = layer.init(KEY, IDS)
    assert variables["params"]["embedding"].shape == (12, 6)
    query = jax.random.normal(KEY, (2, 6))

    def both(embed, v):
        return embed.apply(v, IDS), embed.apply(v, query, method="attend")

    expected = both(nn.Embed(12, 6), sl.densify(variables))
    for form in (variables, sl.pack(variables)):
        for embed in (layer, sl.Embed(12, 6)):
            close(jax.jit(lambda v, e=embed: both(e, v))(form), expected)


def test_embed_starts_with_the_variance_of_flax():
    for spec in (specs.LowRank(rank=40), specs.Kron(), SPECS["doped"]):
        table = sl.Embed(400, 80, spec=spec).init(KEY, IDS)["params"]["embedding"].to_dense()
        assert 0.7 < np.asarray(table).std() * 80**0.5 < 1.4


def test_what_is_out_of_range_is_flax_s():
    layer = sl.Embed(12, 6, spec=specs.LowRank(rank=2))
    variables = layer.init(KEY, IDS)
    ids = jnp.array([12, 3, -13])
    expected = nn.Embed(12, 6).apply(sl.densify(variables), ids)
    assert_allclose(layer.apply(variables, ids), expected, atol=1e-5)
    single = sl.Embed(1, 6, spec=specs.LowRank(rank=1))
    variables = single.init(KEY, ids)
    expected = nn.Embed(1, 6).apply(sl.densify(variables), ids)
    assert_allclose(single.apply(variables, ids), expected, atol=1e-5)
    with pytest.raises(ValueError, match="integer"):
        single.apply(variables, jnp.ones(3))


class TiedLM(nn.Module):
    """The embedding reads the words and scores them."""

    embed: nn.Module
    cell: nn.Module
    tied: bool = True

    def setup(self):
        self.rnn = sl.RNN(self.cell)
        self.out = sl.Dense(12, spec=specs.LowRank(rank=2))

    def __call__(self, ids):
        h = self.rnn(self.embed(ids))
        return self.embed.attend(h) if self.tied else self.out(h)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_models_equal_their_dense_forms(tied):
    ids = jnp.abs(IDS) % 12
    embed = sl.Embed(12, 6, spec=SPECS["doped"])
    model = TiedLM(embed, sl.LSTMCell(6, recurrent=specs.LowRank(rank=2)), tied)
    plain = TiedLM(nn.Embed(12, 6), sl.LSTMCell(6), tied)
    variables = model.init(KEY, ids)
    for tree in (variables, sl.pack(variables)):
        trainable, fixed = sl.partition(tree)

        def loss(m, dense, t, fixed=fixed):
            tree = sl.combine(t, fixed)
            return (m.apply(sl.densify(tree) if dense else tree, ids) ** 2).sum()

        @jax.jit
        def both(t, loss=loss):
            runs = ((model, False), (plain, True))
            return [jax.value_and_grad(lambda t, r=r: loss(*r, t))(t) for r in runs]

        close(*both(trainable), 1e-4)


GENERAL = {
    "last": {"features": 8},
    "two axes": {"features": (2, 4), "axis": (1, -1)},
    "turned": {"features": (4, 2), "axis": (-1, 1), "use_bias": False},
    "first": {"features": 6, "axis": 0},
}


@pytest.mark.parametrize("fields", GENERAL.values(), ids=GENERAL)
def test_dense_general_equals_its_dense_form(fields):
    layer = sl.DenseGeneral(**fields, spec=specs.LowRank(rank=2))
    variables = layer.init(KEY, X)
    theirs = nn.DenseGeneral(**fields)
    shapes = jax.eval_shape(theirs.init, KEY, X)["params"]

    def dense(v):
        params = {
            name: x.reshape(shapes[name].shape) for name, x in sl.densify(v)["params"].items()
        }
        return theirs.apply({"params": params}, X)

    def value(run):
        return jax.value_and_grad(lambda v: (run(v) ** 3).sum())

    assert_allclose(layer.apply(variables, X), dense(variables), atol=1e-5)
    close(*jax.jit(lambda v: (value(lambda v: layer.apply(v, X))(v), value(dense)(v)))(variables))


def test_what_a_structure_cannot_honour_raises():
    low = specs.LowRank(rank=2)
    with pytest.raises(ValueError, match="batch_dims"):
        sl.DenseGeneral(4, batch_dims=(0,), spec=low).init(KEY, X)
    with pytest.raises(ValueError, match="dot_general"):
        sl.DenseGeneral(4, dot_general=jax.lax.dot_general, spec=low).init(KEY, X)
    with pytest.raises(ValueError, match="promote_dtype"):
        sl.Embed(12, 6, promote_dtype=lambda *a, **k: a, spec=low).init(KEY, IDS)
    variables = sl.Embed(12, 6, spec=low).init(KEY, IDS)
    with pytest.raises(ValueError, match=r"embedding holds LowRank\(12x6"):
        sl.Embed(10, 6).apply(variables, IDS)


def test_dtypes_and_initialisers():
    layer = sl.Embed(12, 6, spec=SPECS["low rank"], dtype=jnp.bfloat16)
    variables = layer.init(KEY, IDS)
    assert layer.apply(variables, IDS).dtype == jnp.bfloat16
    assert layer.apply(variables, jnp.ones(6), method="attend").dtype == jnp.bfloat16
    half = sl.Embed(12, 6, spec=SPECS["kron"], param_dtype=jnp.bfloat16).init(KEY, IDS)
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(half))
    one = sl.Embed(12, 6, spec=SPECS["low rank"], embedding_init=nn.initializers.ones)
    assert_allclose(one.init_with_output(KEY, IDS)[0], jnp.ones((2, 3, 6)), atol=1e-5)
    general = sl.DenseGeneral((2, 3), spec=SPECS["low rank"], dtype=jnp.bfloat16)
    assert general.init_with_output(KEY, X)[0].dtype == jnp.bfloat16


def test_partitioning_names_go_to_the_leaves():
    """A leaf as long as the rows or the columns is split like them; others are replicated."""
    init = nn.with_partitioning(nn.initializers.lecun_normal(), ("rows", "columns"))
    layer = sl.DenseGeneral(
        (2, 4), kernel_init=init, spec=specs.Doped(specs.LowRank(rank=2), density=0.5)
    )
    variables = layer.init(KEY, X)
    partition = nn.get_partition_spec(variables)["params"]["kernel"]
    low, sparse = partition.terms
    assert low.left == jax.P("rows", None)
    assert low.right == jax.P(None, "columns")
    assert sparse.values == jax.P("rows", "columns")
    plain = nn.meta.unbox(variables)
    assert_allclose(layer.apply(variables, X), layer.apply(plain, X), atol=1e-6)

    # The default initialiser in a box still leaves the drawing to the spec.
    default = nn.with_partitioning(nn.linear.default_kernel_init, ("rows", "columns"))
    for boxed in (sl.LowRank(8, rank=2, kernel_init=default), sl.LowRank(8, rank=2)):
        drawn = boxed.init(KEY, X)
        jax.tree.map(assert_array_equal, nn.meta.unbox(drawn), sl.LowRank(8, rank=2).init(KEY, X))
    embed = sl.Embed(12, 6, spec=SPECS["low rank"], embedding_init=init)
    partition = nn.get_partition_spec(embed.init(KEY, IDS))["params"]["embedding"]
    assert partition.left == jax.P("rows", None)
    recurrent = nn.with_partitioning(nn.initializers.orthogonal(), (None, "gates"))
    cell = sl.GRUCell(8, recurrent=SPECS["low rank"], recurrent_kernel_init=recurrent)
    variables = nn.RNN(cell).init(KEY, X[0])
    names = nn.get_partition_spec(variables)["params"]["cell"]["h"]["kernel"]
    assert names.right == jax.P(None, "gates")
    outputs = [r(cell).apply(variables, X[0]) for r in (nn.RNN, sl.RNN)]
    assert_allclose(*outputs, atol=1e-5)
