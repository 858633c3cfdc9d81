"""The arithmetic of every recurrent cell: by definition, and the sequence as the step scanned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles_cells import ORACLES

from structlin import combine, densify, functional, matrices, pack, partition, specs

H, IN, STEPS, P = 6, 5, 4, 3


def draw(rng, *shape):
    return rng.normal(size=shape) / 2


def sides(rng, gates, h_bias=0, i_bias=0, rows=H, inputs=IN):
    """Fused sides as Linen names them; a bias has so many gates."""
    tree = {"i": {"kernel": draw(rng, inputs, gates * H)}}
    if rows:
        tree["h"] = {"kernel": draw(rng, rows, gates * H)}
    for side, biased in (("i", i_bias), ("h", h_bias)):
        if biased:
            tree[side]["bias"] = draw(rng, biased * H)
    return tree


def projected(rng):
    extra = {"peephole": {g: draw(rng, H) for g in "ifo"}}
    return sides(rng, 4, 4, rows=P) | extra | {"projection": {"kernel": draw(rng, H, P)}}


def fast(rng):
    biases = {name: {"bias": draw(rng, H)} for name in ("gate", "candidate")}
    return sides(rng, 1) | biases | {"zeta": draw(rng), "nu": draw(rng)}


def sru(rng, inputs=IN):
    memory = {"memory": {g: draw(rng, H) for g in "fr"}}
    return sides(rng, 3 if inputs == H else 4, i_bias=2, rows=0, inputs=inputs) | memory


def pair(rng, second=H):
    return draw(rng, H), draw(rng, second)


def one(rng):
    return draw(rng, H)


CASES = {
    "lstm": (functional.LSTM(), "LSTMCell", lambda r: sides(r, 4, 4), pair),
    "simple": (functional.Simple(), "SimpleCell", lambda r: sides(r, 1, i_bias=1), one),
    "gru": (functional.GRU(), "GRUCell", lambda r: sides(r, 3, 1, 3), one),
    "mgu": (functional.MGU(), "MGUCell", lambda r: sides(r, 2, 1, 2), one),
    "mgu, no reset": (
        functional.MGU(reset_gate=False),
        "MGUCell",
        lambda r: sides(r, 2, 0, 2),
        one,
    ),
    "projected": (
        functional.ProjectedLSTM(),
        "ProjectedLSTMCell",
        projected,
        lambda r: pair(r, P),
    ),
    "peepholes off": (
        functional.ProjectedLSTM(),
        "ProjectedLSTMCell",
        lambda r: sides(r, 4, 4),
        pair,
    ),
    "coupled": (functional.CoupledLSTM(), "CoupledLSTMCell", lambda r: sides(r, 3, 3), pair),
    "fast": (functional.FastGRNN(), "FastGRNNCell", fast, one),
    "sru": (functional.SRU(), "SRUCell", sru, one),
    "sru, as wide": (functional.SRU(), "SRUCell", lambda r: sru(r, H), one),
    "qrnn": (
        functional.QRNN(),
        "QRNNCell",
        lambda r: sides(r, 3, i_bias=3, rows=0, inputs=3 * IN),
        lambda r: pair(r, 2 * IN),
    ),
}


@pytest.fixture(params=CASES)
def case(request, rng):
    cell, name, params, carry = CASES[request.param]
    width = H if "as wide" in request.param else IN
    return cell, ORACLES[name], params(rng), carry(rng), draw(rng, STEPS, width)


def single(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=atol, rtol=1e-4), a, b)


def scanned(cell, weights, carry, inputs):
    """The step in a scan, through which JAX differentiates by itself."""
    return jax.lax.scan(lambda c, x: cell.step(weights, c, x), carry, inputs)


def test_step_and_sequence_are_the_definition(case):
    cell, oracle, params, start, inputs = case
    weights = cell.weights(single(params))
    found, (carries, hoisted) = jax.jit(lambda *a: cell.sequence(*a, history=True))(
        weights, single(start), single(inputs)
    )
    carry = start
    for t, x in enumerate(inputs):
        before, (carry, output) = carry, oracle(params, carry, x)
        close(jax.tree.map(lambda c, t=t: c[t], carries), carry)
        assert_allclose(hoisted[t], output, atol=1e-5)
        if t == 0:
            close(cell.step(weights, single(before), single(x)), (carry, output))
    close(found, carry)


def test_a_cell_of_a_sum_reads_nothing_else(case):
    cell, _, params, start, inputs = case
    weights = cell.weights(single(params))
    if not cell.summed:
        pytest.skip("it reads both")
    x = cell.project(weights, single(inputs[0]))
    hidden = jnp.cos(jnp.arange(x.size)).reshape(x.shape)
    apart = cell.apply(weights.extra, x, hidden, single(start))
    close(apart, cell.apply(weights.extra, x + hidden, 0.0, single(start)))


@pytest.mark.parametrize("batch", [STEPS, STEPS + 1])
def test_inputs_may_be_shared_by_a_batch_of_carries(batch):
    rng = np.random.default_rng(0)
    cell = functional.LSTM()
    weights = cell.weights(single(sides(rng, 4, 4)))
    carry, inputs = single((tuple(draw(rng, batch, H) for _ in "ch"), draw(rng, STEPS, IN)))
    found, want = (
        jax.grad(lambda w, x, run=run: (run(w, carry, x)[1] ** 2).sum(), argnums=(0, 1))
        for run in (cell.sequence, lambda *a: scanned(cell, *a))
    )
    close(found(weights, inputs), want(weights, inputs))


def test_a_cell_of_ones_own_reads_what_it_wants():
    class Apart(functional.LSTM):
        def apply(self, extra, projected, hidden, carry):
            return super().apply(extra, projected, 2 * jnp.tanh(hidden), carry)

    assert not Apart.summed
    rng = np.random.default_rng(0)
    cell = Apart()
    weights = cell.weights(single(sides(rng, 4, 4)))
    rest = single((tuple(draw(rng, H) for _ in "ch"), draw(rng, STEPS, IN)))
    found, want = (
        jax.grad(lambda w, run=run: (run(w, *rest)[1] ** 2).sum())(weights)
        for run in (cell.sequence, lambda *a: scanned(cell, *a))
    )
    close(found, want)


@pytest.mark.parametrize("structure", ["dense", "low rank", "packed"])
def test_the_gradient_is_that_of_the_step_scanned(case, structure):
    """Batched inputs; every kernel of the structure, the packed one with its integers."""
    cell, _, params, start, inputs = case
    params, start, inputs = single((params, start, inputs))
    if structure != "dense":
        spec = specs.LowRank(rank=2) if structure == "low rank" else specs.Sparse(density=0.6)
        params = {
            name: {k: spec.fit(v) if k == "kernel" else v for k, v in group.items()}
            if isinstance(group, dict)
            else group
            for name, group in params.items()
        }
        params = pack(params)
    inputs = jnp.stack([inputs, -inputs], axis=1)
    start = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), start)
    trainable, fixed = partition(params)

    def loss(run):
        def f(trainable, carry, inputs):
            weights = cell.weights(combine(trainable, fixed))
            last, outputs = run(weights, carry, inputs)
            return (outputs**2).sum() + sum((x**3).sum() for x in jax.tree.leaves(last))

        return jax.value_and_grad(f, argnums=(0, 1, 2))

    both = jax.jit(lambda *a: (loss(cell.sequence)(*a), loss(lambda *b: scanned(cell, *b))(*a)))
    close(*both(trainable, start, inputs))


def test_history_is_differentiable():
    cell = functional.GRU()
    rng = np.random.default_rng(0)
    weights, carry, inputs = single(
        (cell.weights(sides(rng, 3, 1, 3)), draw(rng, H), draw(rng, STEPS, IN))
    )

    def loss(run):
        return jax.grad(lambda w: (run(w) * jnp.arange(1.0, STEPS + 1)[:, None]).sum())(weights)

    def carries(w):
        return cell.sequence(w, carry, inputs, history=True)[1][0]

    close(loss(carries), loss(lambda w: scanned(cell, w, carry, inputs)[1]))


@pytest.mark.parametrize("name", ["gru", "projected"])
def test_forward_mode_and_second_derivatives(name):
    rng = np.random.default_rng(0)
    cell, _, params, carry = CASES[name]
    point = single((params(rng), carry(rng), draw(rng, STEPS, IN)))
    direction = jax.tree.map(jnp.cos, point)

    def loss(run):
        def f(params, carry, inputs):
            return (run(cell.weights(params), carry, inputs)[1] ** 2).sum()

        return f

    @jax.jit
    def both(point, direction):
        found = []
        for run in (cell.sequence, lambda *a: scanned(cell, *a)):
            gradient = jax.grad(loss(run), argnums=(0, 1, 2))
            found.append(
                (jax.jvp(loss(run), point, direction), jax.jvp(gradient, point, direction))
            )
        return found

    close(*both(point, direction), 1e-4)


def test_unrolling_and_settings():
    rng = np.random.default_rng(0)
    inputs = single(draw(rng, STEPS, IN))
    for key, cell in (
        ("gru", functional.GRU()),
        ("mgu, no reset", functional.MGU(reset_gate=False)),
        ("simple", functional.Simple(residual=True)),
        ("lstm", functional.LSTM(jax.nn.hard_sigmoid)),
    ):
        weights = cell.weights(single(CASES[key][2](rng)))
        carry = single(CASES[key][3](rng))
        expected = cell.sequence(weights, carry, inputs)
        close(cell.sequence(weights, carry, inputs, unroll=3), expected)
        close(cell.step(weights, carry, inputs[0])[1], expected[1][0])


def test_dtypes_are_kept():
    rng = np.random.default_rng(0)
    cell = functional.GRU()
    weights = cell.weights(single(sides(rng, 3, 1, 3)))
    inputs, carry = single((draw(rng, STEPS, IN), draw(rng, H)))
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), (weights, carry, inputs))
    assert cell.sequence(*half)[1].dtype == jnp.bfloat16
    # A narrower dtype for the products leaves the carry in its own, as Flax does.
    last, outputs = cell.sequence(weights, carry, inputs, dtype=jnp.bfloat16)
    assert last.dtype == outputs.dtype == jnp.float32
    assert_allclose(outputs, cell.sequence(weights, carry, inputs)[1], atol=0.05)


def test_a_missing_weight_is_named():
    params = sides(np.random.default_rng(0), 3, 0, 3)
    with pytest.raises(KeyError, match=r"GRU needs 'h/bias'.*\['h', 'i'\]"):
        functional.GRU().weights(params)


def test_embedding():
    table = specs.LowRank(rank=2).fit(jnp.arange(12.0).reshape(4, 3))
    assert isinstance(table, matrices.LowRank)
    ids = jnp.array([[0, 3], [-1, -4]], jnp.int8)
    dense = densify(table)
    for embedding in (table, dense):
        assert_allclose(functional.embed(ids, embedding), dense[ids], atol=1e-5)
        found = functional.embed(jnp.array([4, -5, 1]), embedding)
        assert np.isnan(found[:2]).all()
        assert not np.isnan(found[2]).any()
        query = jnp.ones((2, 3))
        assert_allclose(functional.attend(query, embedding), query @ dense.T, atol=1e-4)
        assert functional.embed(ids, embedding, dtype=jnp.bfloat16).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="integers"):
        functional.embed(jnp.ones(2), table)
