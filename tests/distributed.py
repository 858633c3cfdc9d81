"""Checks of models on meshes of eight devices; prints a line of JSON: check -> what went wrong.

Run by ``test_distributed.py`` in a process that has eight devices.
"""

import contextlib
import functools
import math
import re
import warnings
from pathlib import Path

import conftest  # noqa: F401 (the settings of the tests)
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from devices import mesh_of, near, on, report
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import structlin as sl
from structlin import specs

WORDS, FEATURES, BATCH, TIME, STEPS = 128, 16, 16, 5, 5
IDS = np.random.default_rng(0).integers(0, WORDS, (BATCH, TIME + 1)).astype(np.int32)
WITHIN = 1e-5
PAGE = Path(__file__).parents[1] / "docs" / "distributed.md"
KRON = specs.Kron(shapes=((16, 4), (8, 4)))
CELL = {
    "input": specs.LowRank(rank=4),
    "recurrent": specs.DopedKron(shapes=((4, 8), (4, 8)), density=0.25, anneal=True),
}
ONE = jax.sharding.Mesh(jax.devices()[:1], ("data",))


class Model(nn.Module):
    """Scores of the next word, by the embedding itself or by a head of its own."""

    embedding: specs.Spec
    head: specs.Spec | None = None
    named: bool = False  # whether Flax's names say which axes are split

    @nn.compact
    def __call__(self, ids):
        def drawn(*names):
            init = nn.initializers.normal(FEATURES**-0.5)
            return nn.with_partitioning(init, names) if self.named else init

        into, out, bias = drawn("model", None), drawn(None, "model"), drawn("model")
        embed = sl.Embed(WORDS, FEATURES, embedding_init=into, spec=self.embedding, name="embed")
        x = sl.RNN(sl.LSTMCell(FEATURES, **CELL, name="cell"))(embed(ids))
        if self.head is None:
            return embed.attend(x)
        return sl.Dense(WORDS, spec=self.head, kernel_init=out, bias_init=bias, name="head")(x)


class NNXModel(nnx.Module):
    """The same, tied, for NNX."""

    def __init__(self, rngs):
        self.embed = sl.nnx.Embed(WORDS, FEATURES, spec=KRON, rngs=rngs)
        self.rnn = sl.nnx.RNN(sl.nnx.LSTMCell(FEATURES, FEATURES, **CELL, rngs=rngs), rngs=rngs)

    def __call__(self, ids):
        return self.embed.attend(self.rnn(self.embed(ids)))


def cross_entropy(scores, ids):
    """The mean loss, without a gather along the words, which explicit axes refuse to guess."""
    right = jnp.where(ids[..., None] == jnp.arange(WORDS), scores, 0).sum(-1)
    return (jax.nn.logsumexp(scores, -1) - right).mean()


def optimiser(params):
    return sl.train.sparsify(optax.adam(3e-2), sl.train.targets(params), end=4, every=1)


def communication(program):
    """The collectives of a compiled program: the kind of each and the sizes of what it makes."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    found = []
    for line in program.as_text().splitlines():
        if made := re.search(rf"= (.*?) ({kinds})(-start)?\(", line):
            shapes = re.findall(r"\w+\[([\d,]*)\]", made[1])
            sizes = [math.prod(int(n) for n in shape.split(",") if n) for shape in shapes]
            found.append((made[2], sizes))
    return found


def stays_data_parallel(program, params):
    """The loss and the gradients are added up, a tied table's once for each use; no more moves."""
    found = communication(program)
    assert {kind for kind, _ in found} == {"all-reduce"}, found
    size = sum(x.size for x in jax.tree.leaves([params, params["embed"]]))
    assert sum(sum(sizes) for _, sizes in found) <= size + 1, f"{found} for {size} parameters"


def linen_losses(mesh):
    """The loss of each step, the compiled step, and the parameters after the last."""
    model = Model(KRON)
    params = jax.jit(model.init)(jax.random.key(0), IDS[:1, :-1])["params"]
    tx = optimiser(params)

    def step(params, state, ids):
        def loss(params):
            return cross_entropy(model.apply({"params": params}, ids[:, :-1]), ids[:, 1:])

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    params = jax.tree.map(lambda x: on(mesh, x), params)
    state, ids, losses = tx.init(params), on(mesh, IDS, "data"), []
    program = jax.jit(step).lower(params, state, ids).compile()
    for _ in range(STEPS):
        params, state, loss = program(params, state, ids)
        losses.append(float(loss))
    kernel = params["cell"]["h"]["kernel"]
    assert np.mean(np.asarray(kernel.terms[1].values) != 0) == 0.25
    return losses, program, params


@functools.cache
def linen_losses_of_one():
    return linen_losses(ONE)[0]


def linen_data_parallel(axis_type, context=jax.set_mesh):
    want = linen_losses_of_one()
    mesh = jax.make_mesh((8,), ("data",), axis_types=(axis_type,))
    with context(mesh):
        got, program, params = linen_losses(mesh)
    near(got, want, WITHIN)
    stays_data_parallel(program, params)
    assert want[-1] < want[0] - 0.005, want


def packed_products():
    """A packed matrix leaves rows where they lie, whichever axis is split and without a mesh."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    drawn = specs.Sparse(density=0.3).init(jax.random.key(0), (64, 6))
    trained, fixed = sl.partition(sl.pack(drawn))

    def loss(trained, x):
        return (sl.functional.dense(x, sl.combine(trained, fixed)) ** 2).sum()

    for axes in (("data",), (None, "data")):
        x = on(mesh, np.ones((16, 16, 64), np.float32), *axes)
        weights = jax.tree.map(lambda leaf: on(mesh, leaf), trained)
        program = jax.jit(jax.value_and_grad(loss)).lower(weights, x).compile()
        found = communication(program)
        assert {kind for kind, _ in found} == {"all-reduce"}, (axes, found)


def nnx_losses(mesh):
    model = NNXModel(nnx.Rngs(0))
    nnx.update(model, jax.tree.map(lambda x: on(mesh, x), nnx.state(model)))
    opt = nnx.Optimizer(model, optimiser(model), wrt=nnx.Param)
    ids, losses = on(mesh, IDS, "data"), []

    @nnx.jit
    def step(model, opt, ids):
        def loss(model):
            return cross_entropy(model(ids[:, :-1]), ids[:, 1:])

        value, grads = nnx.value_and_grad(loss)(model)
        opt.update(model, grads)
        return value

    for _ in range(STEPS):
        losses.append(float(step(model, opt, ids)))
    kernel = model.rnn.cell.dense_h.kernel
    assert np.mean(np.asarray(kernel.terms[1].values[...]) != 0) == 0.25
    return losses


def nnx_data_parallel():
    want = nnx_losses(ONE)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        got = nnx_losses(mesh)
    near(got, want, WITHIN)
    assert want[-1] < want[0] - 0.005, want


ROWS, COLUMNS = P("model"), P(None, "model")
PLACES = {  # the leaves that have an axis of words, where Flax's names do not say it
    "kron": {
        "embed/embedding/factors/0": ROWS,
        "head/kernel/factors/0": COLUMNS,
        "head/bias": ROWS,
    },
    "block low rank": {
        "embed/embedding/lefts/.": ROWS,
    },
}
TABLES = {
    "kron": (KRON, specs.Kron(shapes=((2, 8), (8, 16)))),
    "low rank": (specs.LowRank(rank=4), specs.LowRank(rank=4)),
    "block low rank": (
        specs.BlockLowRank(groups=(32, 96), ranks=(4, 2)),
        None,
    ),
}


def place(mesh, params, places):
    """``params`` on the mesh: each leaf as the first pattern that matches its path says."""

    def one(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = next((s for pattern, s in places.items() if re.fullmatch(pattern, name)), P())
        return on(mesh, leaf, *spec)

    return jax.tree_util.tree_map_with_path(one, params)


@functools.cache
def on_one_device(name, tied):
    """The model, its loss with scores, its parameters in their boxes, and what comes out."""
    embedding, head = TABLES[name]
    model = Model(embedding, None if tied else head, named=name not in PLACES)

    def loss(params, ids):
        scores = model.apply({"params": params}, ids[:, :-1])
        return cross_entropy(scores, ids[:, 1:]), scores

    function = jax.value_and_grad(loss, has_aux=True)
    boxed = jax.jit(model.init)(jax.random.key(0), IDS[:, :-1])["params"]
    params = nn.meta.unbox(boxed)
    return function, params, nn.get_partition_spec(boxed), jax.jit(function)(params, IDS)


def vocabulary_split(axis_type, name, tied):
    """The table of words is split, its scores too, and neither is ever in one place."""
    function, params, named, want = on_one_device(name, tied)
    mesh = mesh_of(axis_type)
    with jax.set_mesh(mesh):
        if name in PLACES:
            params = place(mesh, params, PLACES[name])
        else:
            params = jax.tree.map(lambda x, spec: on(mesh, x, *spec), params, named)
        where = jax.tree.map(lambda x: x.sharding, params)
        ids = on(mesh, IDS, "data")
        program = jax.jit(function, out_shardings=(None, where)).lower(params, ids).compile()
        got = program(params, ids)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        near(g, w, WITHIN)
    assert got[0][1].sharding.spec == P("data", None, "model"), got[0][1].sharding.spec
    split = sum("model" in s.spec for s in jax.tree.leaves(where))
    assert split >= (1 if tied else 3), where
    found = communication(program)
    assert "all-gather" not in {kind for kind, _ in found}, found
    scores, table = BATCH // 4 * TIME * WORDS, WORDS * FEATURES
    assert max(max(sizes) for _, sizes in found) < min(scores, table), found


def cells():
    """Every cell keeps the batch where it is, forward and backward; shardings are of types."""
    mesh = mesh_of(AxisType.Explicit)
    names = [name for name in sl.linen.__all__ if name.endswith("Cell")]
    assert len(names) > 8, names
    with jax.set_mesh(mesh):
        inputs = on(mesh, np.ones((8, 3, 4), np.float32), "data")
        for name in names:
            model = sl.RNN(getattr(sl, name)(4))

            def outputs(params, inputs, model=model):
                y = model.apply(params, inputs)
                return (y**2).sum(), y

            params = jax.eval_shape(model.init, jax.random.key(0), np.ones((8, 3, 4), np.float32))
            _, y = jax.eval_shape(jax.grad(outputs, has_aux=True), params, inputs)
            assert y.sharding.spec == P("data", None, None), (name, y.sharding)


def page():
    """The code of ``docs/distributed.md``, and that an optimizer's state lies as it says."""
    text = PAGE.read_text(encoding="utf-8")
    names: dict = {}
    exec("\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)), names)
    moments = names["state"][0].mu
    for tree in names["params"], moments:
        left, right = tree["embedding"].left, tree["embedding"].right
        assert left.sharding.spec == ROWS, left.sharding
        assert right.sharding.is_fully_replicated, right.sharding
    params = {"w": on(names["mesh"], jnp.ones((8, 8)), "model")}
    state = sl.train.sparsify(optax.sgd(1.0), {"w": 0.5}).init(params)
    assert state.masks["w"].sharding == params["w"].sharding, state.masks["w"].sharding


def main():
    explicit = functools.partial(vocabulary_split, AxisType.Explicit)
    auto = functools.partial(vocabulary_split, AxisType.Auto)
    report(
        {
            "data linen auto": functools.partial(linen_data_parallel, AxisType.Auto),
            "data linen without a mesh in context": functools.partial(
                linen_data_parallel, AxisType.Auto, contextlib.nullcontext
            ),
            "data linen explicit": functools.partial(linen_data_parallel, AxisType.Explicit),
            "data packed products": packed_products,
            "data cells": cells,
            "data nnx": nnx_data_parallel,
            "words kron tied": functools.partial(auto, "kron", tied=True),
            "words kron untied": functools.partial(auto, "kron", tied=False),
            "words block low rank tied": functools.partial(auto, "block low rank", tied=True),
            "words low rank untied": functools.partial(auto, "low rank", tied=False),
            "words page": page,
            "words kron tied explicit": functools.partial(explicit, "kron", tied=True),
        }
    )


if __name__ == "__main__":
    with warnings.catch_warnings():
        main()
