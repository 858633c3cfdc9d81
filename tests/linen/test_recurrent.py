"""The recurrent cells of Flax with structured kernels, and `structlin.RNN`, against Flax's."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import specs

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 5, 6))
HIDDEN = 8
LENGTHS = jnp.array([5, 2, 4])
PAIRS = {
    "LSTM": (nn.OptimizedLSTMCell, sl.LSTMCell),
    "GRU": (nn.GRUCell, sl.GRUCell),
    "Simple": (nn.SimpleCell, sl.SimpleCell),
    "MGU": (nn.MGUCell, sl.MGUCell),
}
RNNS = {
    **{name: theirs(HIDDEN) for name, (theirs, _) in PAIRS.items()},
    "plain LSTM": nn.LSTMCell(HIDDEN),
    "residual": nn.SimpleCell(HIDDEN, residual=True),
    "no reset": nn.MGUCell(HIDDEN, reset_gate=False, activation_fn=nn.relu),
}
LOW, DOPED = specs.LowRank(rank=2), specs.Doped(specs.LowRank(rank=1), density=0.25)


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=atol, rtol=1e-4), a, b)


def jitter(variables, key=KEY):
    """The same tree with noise, so that no bias is zero."""
    leaves, tree = jax.tree.flatten(variables)
    keys = jax.random.split(key, len(leaves))

    def noisy(x, k):  # a pruned entry stays zero
        return jnp.where((x != 0) | (x.ndim < 2), x + 0.1 * jax.random.normal(k, x.shape), x)

    return jax.tree.unflatten(tree, map(noisy, leaves, keys))


def test_without_specs_they_are_flax_cells(pair):
    theirs, ours = (nn.RNN(cls(HIDDEN)) for cls in pair)
    variables = theirs.init(KEY, X)
    jax.tree.map(assert_array_equal, ours.init(KEY, X), variables)
    assert_array_equal(ours.apply(variables, X), theirs.apply(variables, X))


def test_fields_are_flax_fields_in_order():
    others = [(nn.RNN, sl.RNN), (nn.LSTMCell, sl.LSTMCell)]
    for theirs, ours in [*PAIRS.values(), *others]:
        fields = theirs.__dataclass_fields__
        assert [n for n in ours.__dataclass_fields__ if n in fields] == list(fields)
        for name, field in fields.items():
            if theirs is not nn.LSTMCell or "recurrent" not in name:
                assert ours.__dataclass_fields__[name].default is field.default


def test_the_plain_lstm_cell_has_the_same_tree():
    theirs, ours = nn.RNN(nn.LSTMCell(HIDDEN)), sl.RNN(sl.LSTMCell(HIDDEN))
    variables = jitter(theirs.init(KEY, X))
    assert jax.tree.map(jnp.shape, ours.init(KEY, X)) == jax.tree.map(jnp.shape, variables)
    assert_allclose(ours.apply(variables, X), theirs.apply(variables, X), atol=1e-6)


def loss(rnn, variables, x=X):
    carry, y = rnn.apply(variables, x, return_carry=True)
    return (y**2).sum() + sum((c**3).sum() for c in jax.tree.leaves(carry))


@pytest.mark.parametrize(
    ("name", "sides"), [*((name, "both") for name in PAIRS), ("GRU", "input"), ("GRU", "recurrent")]
)
def test_forward_and_gradient_are_those_of_the_densified_cell(name, sides):
    """Before and after packing, in ``nn.RNN`` and hoisted."""
    ours = PAIRS[name][1]
    cell = ours(
        HIDDEN,
        input=None if sides == "recurrent" else LOW,
        recurrent=None if sides == "input" else DOPED,
    )
    variables = jitter(nn.RNN(cell).init(KEY, X))
    for tree in (variables, sl.pack(variables)):
        trainable, fixed = sl.partition(tree)

        def value(run, dense, t, fixed=fixed):
            tree = sl.combine(t, fixed)
            return loss(run, sl.densify(tree) if dense else tree)

        runs = [(nn.RNN(ours(HIDDEN)), True), (sl.RNN(ours(HIDDEN)), False)]
        runs += [(nn.RNN(cell), False)] if tree is variables else []
        every = [jax.value_and_grad(functools.partial(value, *r)) for r in runs]
        expected, *found = jax.jit(lambda t, every=every: [f(t) for f in every])(trainable)
        for one in found:
            close(one, expected, 1e-4)


def test_a_flax_tree_with_a_matrix_in_every_place(pair):
    theirs, ours = pair
    variables = jitter(nn.RNN(theirs(HIDDEN)).init(KEY, X))
    cell = {
        name: {k: specs.LowRank(rank=6).fit(v) if k == "kernel" else v for k, v in gate.items()}
        for name, gate in variables["params"]["cell"].items()
    }
    tree = {"params": {"cell": cell}}
    expected = nn.RNN(theirs(HIDDEN)).apply(sl.densify(tree), X)
    for run in (nn.RNN, sl.RNN):
        assert_allclose(run(ours(HIDDEN)).apply(tree, X), expected, atol=1e-5)


@pytest.mark.parametrize("name", RNNS)
def test_rnn_has_the_results_of_flax_rnn(name):
    cell = RNNS[name]
    variables = jitter(nn.RNN(cell).init(KEY, X))
    carry = jitter(cell.initialize_carry(KEY, X[:, 0].shape))
    cases = (
        {},
        {"initial_carry": carry, "return_carry": True, "time_major": True},
        {"reverse": True, "return_carry": True},
        {"reverse": True, "keep_order": True, "init_key": jax.random.key(3)},
        {"seq_lengths": LENGTHS, "return_carry": True},
        {"seq_lengths": LENGTHS, "reverse": True, "keep_order": True},
    )

    @jax.jit
    def both(variables):
        found = []
        for kwargs in cases:
            x = X.swapaxes(0, 1) if kwargs.get("time_major") else X
            pair = sl.RNN(cell, unroll=2), nn.RNN(cell)
            found.append([rnn.apply(variables, x, **kwargs) for rnn in pair])
        for x in (X[0], jnp.stack([X, -X])):  # no batch axis, and two
            found.append([rnn(cell).apply(variables, x) for rnn in (sl.RNN, nn.RNN)])
        return found

    for ours, theirs in both(variables):
        close(ours, theirs)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_the_gradient_of_rnn_is_that_of_flax_rnn(name):
    cell = RNNS[name]
    variables = jitter(nn.RNN(cell).init(KEY, X))

    def gradient(rnn):
        def f(variables, x):
            carry, y = rnn(cell, reverse=True, return_carry=True).apply(
                variables, x, seq_lengths=LENGTHS
            )
            return (y**2).sum() + sum((c**3).sum() for c in jax.tree.leaves(carry))

        return jax.grad(f, argnums=(0, 1))

    close(*jax.jit(lambda v: [gradient(r)(v, X) for r in (sl.RNN, nn.RNN)])(variables))


def test_rnn_runs_other_cells_as_flax_does():
    images = jax.random.normal(KEY, (2, 3, 4, 4, 1))
    convolution = nn.ConvLSTMCell(2, kernel_size=(2, 2))
    variables = nn.RNN(convolution).init(KEY, images)
    assert_array_equal(
        sl.RNN(convolution).apply(variables, images), nn.RNN(convolution).apply(variables, images)
    )

    class Louder(nn.OptimizedLSTMCell):
        @nn.compact
        def __call__(self, carry, inputs):
            carry, y = super().__call__(carry, inputs)
            return carry, 2 * y

    settings = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
    settings["variable_broadcast"] = False
    for cell, fields in ((Louder(HIDDEN), {}), (nn.GRUCell(HIDDEN), settings)):
        variables = nn.RNN(cell, **fields).init(KEY, X)
        ours, theirs = (run(cell, **fields).apply(variables, X) for run in (sl.RNN, nn.RNN))
        assert_array_equal(ours, theirs)


class Model(nn.Module):
    """Both directions, remat, jit, layers in a scan and members of an ensemble."""

    rnn: type

    def setup(self):
        cells = [sl.GRUCell(HIDDEN, input=LOW, recurrent=DOPED) for _ in range(2)]
        self.both = nn.Bidirectional(*map(self.rnn, cells))
        self.remat = nn.remat(self.rnn)(sl.LSTMCell(6, recurrent=LOW))
        self.jit = nn.jit(self.rnn)(nn.remat(sl.MGUCell)(6, recurrent=LOW))
        self.last = Stacked(self.rnn)

    def __call__(self, x):
        return self.last(self.jit(self.remat(self.both(x))))


class Stacked(nn.Module):
    rnn: type

    @nn.compact
    def __call__(self, x):
        own = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        layers = nn.scan(lambda layer, x, _: (layer(x), None), length=2, **own)
        x, _ = layers(self.rnn(sl.SimpleCell(6, input=LOW), name="layers"), x, None)
        members = nn.vmap(lambda member, x: member(x), in_axes=None, axis_size=2, **own)
        return members(self.rnn(sl.LSTMCell(4, input=LOW), name="members"), x)


def test_inside_other_modules():
    variables = jitter(Model(nn.RNN).init(KEY, X))
    same = jax.tree.map(lambda a, b: a.shape == b.shape, Model(sl.RNN).init(KEY, X), variables)
    assert all(jax.tree.leaves(same))

    def value(rnn):
        return jax.value_and_grad(lambda v: (Model(rnn).apply(v, X) ** 2).sum())

    close(*jax.jit(lambda v: [value(rnn)(v) for rnn in (sl.RNN, nn.RNN)])(variables))


def test_bfloat16_and_bad_shapes(pair):
    cell = pair[1](HIDDEN, input=LOW, recurrent=LOW)
    variables = nn.RNN(cell).init(KEY, X)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(variables))
    for settings in ({"dtype": jnp.bfloat16}, {"param_dtype": jnp.bfloat16}):
        for x in (X, X.astype(jnp.bfloat16)):
            if ("param_dtype" in settings) == (x.dtype == jnp.float32):
                continue  # the carry of some cells would change its dtype: Flax refuses it too
            if "dtype" in settings and pair[0] is nn.SimpleCell:
                continue
            # JAX draws no orthogonal matrix of half precision.
            draw = {"recurrent_kernel_init": nn.initializers.lecun_normal()}
            ours = pair[1](HIDDEN, recurrent=LOW, **settings)
            theirs = pair[0](HIDDEN, **settings, **draw)
            dtypes = [
                jax.eval_shape(rnn.init_with_output, KEY, x)[0].dtype
                for rnn in (nn.RNN(theirs), nn.RNN(ours), sl.RNN(ours))
            ]
            assert len(set(dtypes)) == 1
    with pytest.raises(ValueError, match="kernel holds"):
        nn.RNN(cell).apply(variables, X[..., :4])


@pytest.mark.parametrize("lift", ["scan", "vmap"])
def test_names_of_axes_go_through_stacks(lift):
    """Those of the leaves get the name of the layers' axis in front."""
    init = nn.with_partitioning(nn.initializers.lecun_normal(), ("rows", "columns"))

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            own = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            own["metadata_params"] = {nn.PARTITION_NAME: "layers"}
            layer = sl.RNN(sl.SimpleCell(6, input=LOW, kernel_init=init), name="layer")
            if lift == "scan":
                return nn.scan(lambda m, x, _: (m(x), None), length=2, **own)(layer, x, None)[0]
            return nn.vmap(lambda m, x: m(x), in_axes=None, axis_size=2, **own)(layer, x)

    variables = jax.eval_shape(Stack().init, KEY, X)
    (cell,) = nn.get_partition_spec(variables)["params"].values()
    kernel = cell["i"]["kernel"]
    assert kernel.left == jax.P("layers", "rows", None)
    assert kernel.right == jax.P("layers", None, "columns")
    found = jax.eval_shape(Stack().apply, variables, X)
    assert found.shape == (*([2] if lift == "vmap" else []), 3, 5, 6)


def test_members_under_vmap_of_jax():
    """Neither scan keeps anything between calls."""
    cell = sl.GRUCell(HIDDEN, input=LOW, recurrent=LOW)
    keys = jax.random.split(KEY, 2)
    members = jax.vmap(lambda k: nn.RNN(cell).init(k, X))(keys)
    both = [
        jax.vmap(lambda v, rnn=rnn: jax.value_and_grad(lambda v: loss(rnn(cell), v))(v))
        for rnn in (sl.RNN, nn.RNN)
    ]
    close(*jax.jit(lambda v: [f(v) for f in both])(members), 1e-4)


def test_tabulate_counts_the_stored_numbers():
    rnn = sl.RNN(sl.GRUCell(HIDDEN, input=LOW, recurrent=LOW))
    size = sum(x.size for x in jax.tree.leaves(rnn.init(KEY, X)))
    assert f"Total Parameters: {size:,}" in rnn.tabulate(KEY, X)


def test_initialisers_of_the_biases_and_the_kernels():
    """A fused bias starts gate by gate as Flax's; a kernel init of one's own is fitted."""
    cell = sl.MGUCell(HIDDEN, input=LOW, recurrent=specs.LowRank(rank=HIDDEN))
    params = nn.RNN(cell).init(KEY, X)["params"]["cell"]
    assert_array_equal(params["i"]["bias"], [1] * HIDDEN + [0] * HIDDEN)
    assert params["h"]["bias"].shape == (HIDDEN,)
    constant = cell.clone(recurrent_kernel_init=nn.initializers.constant(0.5))
    kernel = nn.RNN(constant).init(KEY, X)["params"]["cell"]["h"]["kernel"]
    assert_allclose(kernel.to_dense(), jnp.full((HIDDEN, 2 * HIDDEN), 0.5), atol=1e-5)
