"""Native products and recurrences obey the laws of XLA's, at every size and for every number."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import ALL, make
from flax import nnx
from laws import close

import structlin as sl
from structlin import functional
from structlin import matrices as ms

pytestmark = pytest.mark.usefixtures("native_code")


def calls(function, *args):
    """How many calls of native code a function makes."""
    return jax.jit(function).lower(*args).as_text().count("custom_call @structlin")


def apply(w, x):
    return x @ w


@functools.cache
def natives():
    """Every case that has native code, in single precision."""
    made = ((name, i, ms.Native.of(make(name, i, np.float32))) for name, i in ALL)
    found = [(f"{name}-{i}", w) for name, i, w in made if isinstance(w, ms.Native)]
    return [pair for pair in found if not pair[0].startswith("Native-")]


def test_the_structures_with_native_code():
    names = {label.partition("-")[0] for label, _ in natives()}
    expected = ["Dense", "Kronecker", "LowRank", "HMD", "Masked", "Sparse", "BlockSparse"]
    assert {*expected, "Quantized", "Sum", "Product", "ColumnBlocks"} <= names


@pytest.mark.parametrize("instructions", ["baseline", "avx2", "avx512"])
def test_products_of_every_structure(native_code, rng, instructions):
    best = native_code.instructions()
    try:
        native_code.instructions(instructions)
    except ValueError as error:
        pytest.skip(str(error))
    try:
        made = dict(natives())
        rows = [
            {k: rng.normal(size=(*batch, len(w))).astype("f") for k, w in made.items()}
            for batch in [(), (5,)]
        ]
        run = jax.jit(lambda made, rows: [{k: x[k] @ w for k, w in made.items()} for x in rows])
        for x, products in zip(rows, run(made, rows), strict=True):
            for k, w in made.items():
                close(products[k], x[k] @ np.asarray(w.to_dense()), np.float32, what=k)
    finally:
        native_code.instructions(best)


def kernels(h, gates, draw, rng):
    """Recurrent kernels of every kind that has native code, ``(h, gates h)``."""
    n = gates * h
    slots = ms.Sparse(draw(2, n), jnp.asarray(rng.integers(0, h, (2, n)), jnp.uint16), h)
    blocks = ms.BlockSparse(draw(1, h, 1, gates), jnp.asarray(rng.integers(0, h, (1, h)), "u4"), h)
    half = h // 2
    hmd = [ms.HMD(draw(h, half), draw(h, 1), draw(h - half)) for _ in range(gates)]
    return {
        "dense": ms.Dense(draw(h, n)),
        "doped": ms.Kronecker((draw(h, gates), draw(1, h))) + slots + blocks,
        "gates": ms.ColumnBlocks(tuple(hmd)),
        "codes": ms.Quantized.of(ms.Dense(draw(h, n)), 4) + ms.LowRank(draw(h, 2), draw(2, n)),
    }


@pytest.mark.parametrize("h", [1, 7, 33, 651])
@pytest.mark.parametrize("gates", [4, 3], ids=["lstm", "gru"])
def test_sequences_and_steps(rng, gates, h):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape).astype("f")) / h**0.5

    cell = functional.LSTM() if gates == 4 else functional.GRU()
    made = kernels(h, gates, draw, rng)
    made = {"doped": made["doped"]} if h > 10 else made
    steps, bias = draw(3, 5), None if gates == 4 else draw(h)
    carry = (draw(h), draw(h)) if gates == 4 else draw(h)

    def run(kernel, steps):
        weights = functional.CellWeights(draw(5, gates * h) * 0 + 0.1, kernel, None, bias)
        whole = cell.sequence(weights, carry, steps)
        return whole, cell.step(weights, carry, steps[0])

    for name, kernel in made.items():
        prepared = ms.Native.of(kernel)
        few = isinstance(prepared, ms.Native) and kernel.shape[1] > 1
        got = jax.jit(run)(prepared, steps)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, run(kernel, steps)
        )
        assert calls(run, prepared, steps) == (2 if few else 0), name


def pair(rng, h=6):
    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape).astype("f")) / 2

    slots = ms.Sparse(draw(2, 24), jnp.asarray(rng.integers(0, 6, (2, 24)), jnp.uint8), 6)
    inner = ms.Kronecker((draw(2, 4), draw(3, 6))) + slots
    weights = functional.CellWeights(draw(5, 24), inner, draw(24))
    return weights, weights._replace(recurrent=ms.Native(inner)), draw


def test_no_steps_no_rows_and_history(rng):
    plain, fast, draw = pair(rng)
    cell = functional.LSTM()
    for batch, steps in [((), 0), ((0,), 3), ((2, 0), 3)]:
        carry, x = (draw(*batch, 6), draw(*batch, 6)), draw(steps, *batch, 5)
        a, b = cell.sequence(fast, carry, x), cell.sequence(plain, carry, x)
        jax.tree.map(np.testing.assert_array_equal, a, b)
    carry, x = (draw(6), draw(6)), draw(3, 5)
    a, b = (cell.sequence(w, carry, x, history=True) for w in (fast, plain))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-6), a, b)


def test_numbers_that_are_none_go_where_xla_sends_them(rng):
    plain, fast, draw = pair(rng)
    values = np.array([np.nan, np.inf, -np.inf, 1e-42, -0.0], np.float32)
    made = dict(natives())
    rows = {k: np.stack([np.resize(draw(6), len(w)) for _ in values]) for k, w in made.items()}
    for x in rows.values():
        x[:, x.shape[1] // 2] = values

    @jax.jit
    def both(made, rows):  # one row at a time: more of them may not be native
        found = [{k: [x @ w for x in rows[k]] for k, w in made.items()}]
        return [*found, {k: list(rows[k] @ w.inner) for k, w in made.items()}]

    got, want = both(made, rows)
    for k in made:
        for g, w in zip(got[k], want[k], strict=True):
            np.testing.assert_allclose(g, w, atol=1e-5, err_msg=k)

    cell, steps = functional.LSTM(), np.stack([draw(3, 5)] * len(values), axis=1)
    steps[1, :, 2] = values
    carry = draw(len(values), 6), draw(len(values), 6)
    a, b = (jax.vmap(cell.sequence, (None, 0, 1))(w, carry, steps) for w in (plain, fast))
    jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, atol=1e-6), a, b)


def test_transformations(rng):
    plain, fast, draw = pair(rng)
    cell, w = functional.LSTM(), fast.recurrent
    carry, x = (draw(6), draw(6)), draw(4, 3, 5)

    def run(weights, carry, x):
        return cell.sequence(weights, carry, x)[1]

    batched = jax.vmap(run, (None, None, 0))
    assert calls(batched, fast, carry, x) == 1
    np.testing.assert_allclose(batched(fast, carry, x), batched(plain, carry, x), atol=1e-6)
    stacked = [jax.tree.map(lambda a: jnp.stack([a, 2 * a]), v) for v in (fast, plain)]
    both = [jax.vmap(run, (0, None, None))(v, carry, x[0]) for v in stacked]
    np.testing.assert_allclose(*both, atol=1e-6)

    def gradient(weights):
        floats, fixed = ms.partition(weights)

        def loss(floats, carry, x):
            return (run(ms.combine(floats, fixed), carry, x) ** 2).sum()

        return jax.grad(loss, (0, 1, 2))(floats, carry, x[0])

    gradients = gradient(fast), gradient(plain)
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    rows = draw(3, 6)
    second = [jax.hessian(lambda x, m=m: ((x @ m) ** 3).sum())(rows) for m in (w, w.inner)]
    np.testing.assert_allclose(*second, atol=1e-4)
    over_rows = jax.vmap(apply, (None, 0))
    assert calls(over_rows, w, rows) == 1
    np.testing.assert_allclose(over_rows(w, rows), rows @ w.inner, atol=1e-5)


def test_inside_shard_map(rng):
    _, fast, draw = pair(rng)
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((1,), ("d",), axis_types=kinds, devices=jax.devices()[:1])
    cut = jax.sharding.PartitionSpec("d")
    for check in (True, False):
        run = jax.shard_map(
            lambda x: x @ fast.recurrent, mesh=mesh, in_specs=cut, out_specs=cut, check_vma=check
        )
        x = draw(3, 6)
        assert calls(run, x) == (0 if check else 1)
        np.testing.assert_allclose(jax.jit(run)(x), x @ fast.recurrent.inner, atol=1e-5)


def test_what_native_code_does_not_do_is_xlas(rng):
    w = make("Native", -1, np.float32)
    few, many = (rng.normal(size=(rows, len(w))).astype("f") for rows in (2, 65))
    assert calls(apply, w, few) == 1
    assert calls(apply, w, many) == 0
    assert calls(apply, w.astype(jnp.bfloat16), few.astype(jnp.bfloat16)) == 0
    wrong = ms.Native(ms.Sparse(jnp.ones((1, 4)), jnp.full((1, 4), 9, jnp.uint8), 3))
    with pytest.raises(jax.errors.JaxRuntimeError, match="an index is 9 and must be below 3"):
        jax.block_until_ready(jnp.ones(3) @ wrong)


def test_prepare(rng):
    spec = sl.specs.DopedKron(density=0.2)
    model = sl.RNN(sl.LSTMCell(12, input=spec, recurrent=spec))
    x = rng.normal(size=(1, 3, 8)).astype("f")
    params = model.init(jax.random.key(0), x)
    fast = sl.prepare(params)
    assert calls(model.apply, fast, x) == 2
    assert calls(model.apply, params, x) == 0
    np.testing.assert_allclose(model.apply(fast, x), model.apply(params, x), atol=1e-6)
    again = sl.prepare(fast)
    assert jax.tree.structure(again) == jax.tree.structure(fast)


def test_prepare_a_model_of_nnx(rng):
    spec = sl.specs.DopedKron(density=0.2)
    cell = sl.nnx.GRUCell(8, 12, input=spec, recurrent=spec, rngs=nnx.Rngs(0))
    model, x = sl.nnx.RNN(cell, rngs=nnx.Rngs(0)), rng.normal(size=(1, 3, 8)).astype("f")
    fast = sl.prepare(model)
    assert isinstance(sl.nnx.kernels(fast)["cell/dense_h/kernel"], ms.Native)
    np.testing.assert_allclose(fast(x), model(x), atol=1e-6)


def test_codes_with_levels_for_each_row_have_no_native_code(rng):
    dense = jnp.asarray(rng.normal(size=(8, 24)).astype("f"))
    coded = ms.Quantized.of(ms.Dense(dense), 4, per="row")
    assert coded.tables[0].ndim == 2
    assert not isinstance(ms.Native.of(coded), ms.Native)
