"""NNX models through every kind of checkpoint, and dense ones into structured ones."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization
from numpy.testing import assert_allclose
from storage.trees import same

import structlin as sl
from structlin import specs, storage

WORDS, WIDTH, HIDDEN = 12, 6, 8
TOKENS = jnp.array([[1, 4, 2], [3, 3, 9]])
LOW = specs.LowRank(rank=2)
DOPED = specs.DopedKron(density=0.25)


class Model(nnx.Module):
    """Of Flax's layers, or the same with specs; tied, with statistics and a layer without one."""

    def __init__(self, embed=None, cell=None, split=None):
        rngs = nnx.Rngs(0)
        extra = {"rngs": rngs}
        if embed is None:
            self.embed = nnx.Embed(WORDS, WIDTH, **extra)
            lstm = nnx.OptimizedLSTMCell(WIDTH, HIDDEN, **extra)
            self.split = nnx.LinearGeneral(HIDDEN, (2, 3), use_bias=False, **extra)
            self.gru = nnx.RNN(nnx.GRUCell(HIDDEN, HIDDEN, **extra), **extra)
        else:
            self.embed = sl.nnx.Embed(WORDS, WIDTH, spec=embed, **extra)
            lstm = sl.nnx.LSTMCell(WIDTH, HIDDEN, input=embed, recurrent=cell, **extra)
            fields = {"use_bias": False, "spec": split, **extra}
            self.split = sl.nnx.LinearGeneral(HIDDEN, (2, 3), **fields)
            self.gru = sl.nnx.RNN(sl.nnx.GRUCell(HIDDEN, HIDDEN, recurrent=cell, **extra), **extra)
        self.lstm = nnx.RNN(lstm, **extra)
        self.norm = nnx.BatchNorm(HIDDEN, use_running_average=True, **extra)
        self.out = nnx.Linear(WIDTH, WIDTH, **extra)

    def __call__(self, tokens):
        x = self.norm(self.gru(self.lstm(self.embed(tokens))))
        return self.embed.attend(self.out(self.split(x).reshape(*tokens.shape, WIDTH)))


SHAPES = {
    "embed/embedding": (12, 6),
    "gru/cell/dense_h/kernel": (8, 24),
    "lstm/cell/dense_h/kernel": (8, 32),
    "lstm/cell/dense_i/kernel": (6, 32),
    "split/kernel": (8, 6),
}


@pytest.fixture(scope="module")
def dense():
    return Model()


@pytest.fixture(scope="module")
def small():
    return Model(LOW, DOPED, LOW)


@pytest.fixture(scope="module")
def forms(small):
    """As it trains, and packed with an embedding in codes."""
    coded = specs.Quantized(LOW, 8).fit(sl.nnx.kernels(small)["embed/embedding"].to_dense())
    packed = sl.nnx.with_kernels(sl.pack(small), {"embed/embedding": coded})
    return {"training": small, "packed": packed}


@pytest.fixture(params=["training", "packed"])
def model(request, forms):
    return forms[request.param]


@pytest.fixture(scope="module")
def checkpointer():
    with ocp.StandardCheckpointer() as found:
        yield found


def saved(checkpointer, path, tree):
    checkpointer.save(path, tree)
    checkpointer.wait_until_finished()
    return path


@nnx.jit
def run(model):
    return model(TOKENS)


def test_parameters_come_back_as_they_were(model, small, checkpointer, tmp_path):
    """Through every format, and into a model whose own parameters have another form."""
    tree = sl.nnx.params(model)
    target = storage.template(storage.describe(tree))
    path = saved(checkpointer, tmp_path / "params", tree)
    sl.save(tmp_path / "params.slin", tree)
    found = {
        "msgpack": serialization.from_bytes(target, serialization.to_bytes(tree)),
        "state dict": serialization.from_state_dict(target, serialization.to_state_dict(tree)),
        "pickle": pickle.loads(pickle.dumps(tree)),
        "file": sl.load(tmp_path / "params.slin"),
        "orbax": checkpointer.restore(path, target),
        "orbax without a target": storage.rebuild(checkpointer.restore(path), target),
    }
    for way, again in found.items():
        assert same(again, jax.tree.map(lambda x: x, tree)), way
    restored = sl.nnx.with_params(small, found["orbax without a target"])
    assert same(sl.nnx.params(restored), tree)
    assert same(np.asarray(run(restored)), np.asarray(run(model)))


def test_the_state_comes_back_as_it_was(model, checkpointer, tmp_path):
    """All of it, with indices and statistics; the graph definition says what it is the state of."""
    graph, state, rest = nnx.split(model, nnx.Not(nnx.RngState), ...)
    path = saved(checkpointer, tmp_path / "state", state)
    plain = saved(checkpointer, tmp_path / "plain", nnx.to_pure_dict(state))
    blank = jax.tree.map(jnp.zeros_like, state)
    replaced = jax.tree.map(lambda x: x, blank)
    nnx.replace_by_pure_dict(replaced, storage.rebuild(checkpointer.restore(plain), pure(state)))
    found = {
        "pickle": pickle.loads(pickle.dumps(state)),
        "orbax": checkpointer.restore(path, blank),
        "orbax without a target": storage.rebuild(checkpointer.restore(path), state),
        "orbax as a dict": replaced,
        "msgpack": jax.tree.unflatten(
            jax.tree.structure(state),
            jax.tree.leaves(
                serialization.from_bytes(pure(blank), serialization.to_bytes(pure(state)))
            ),
        ),
    }
    for way, again in found.items():
        assert jax.tree.structure(again) == jax.tree.structure(state), way
        pairs = zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True)
        assert all(same(x, y) for x, y in pairs), way
    again = nnx.merge(graph, found["orbax without a target"], rest)
    assert same(np.asarray(run(again)), np.asarray(run(model)))


def pure(state):
    return nnx.to_pure_dict(state)


def test_a_recipe_names_each_weight_that_has_a_spec(small, dense):
    recipe = sl.recipe(small)
    assert dict(recipe.shapes) == SHAPES
    assert recipe["lstm/cell/dense_i/kernel"] == recipe["split/kernel"] == LOW
    assert recipe["gru/cell/dense_h/kernel"] == DOPED
    with pytest.raises(ValueError, match="No layer of this Model has a spec"):
        sl.recipe(dense)


def test_a_dense_model_is_fitted_as_by_hand(dense, small):
    """The model itself, the tree of its parameters, or its state as a dict."""
    recipe = sl.recipe(small)
    fitted = sl.compress(dense, recipe).model
    kernels = sl.nnx.kernels(dense)
    for path, spec in zip(SHAPES, recipe.values(), strict=True):
        assert same(sl.nnx.kernels(fitted)[path], spec.fit(kernels[path])), path
    expected = sl.nnx.params(fitted)
    for tree in (sl.nnx.params(dense), nnx.to_pure_dict(nnx.state(dense, nnx.Param))):
        found = sl.compress(tree, recipe).params
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        assert all(map(same, jax.tree.leaves(found), jax.tree.leaves(expected)))
        loaded = sl.nnx.with_params(small, found)
        assert same(np.asarray(run(loaded)), np.asarray(run(fitted)))


def test_with_full_rank_the_model_computes_the_same(dense):
    full = Model(specs.LowRank(rank=6), specs.LowRank(rank=8), specs.LowRank(rank=6))
    params = sl.compress(sl.nnx.params(dense), sl.recipe(full)).params
    assert_allclose(run(sl.nnx.with_params(full, params)), run(dense), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t | {"embed": {}}, "weight 12 x 6 at 'embed/embedding'.*none there"),
        (
            lambda t: t | {"split": {"kernel": jnp.ones((8, 3, 3))}},
            r"split/kernel is 24 x 3, \(8, 3, 3\) as stored, where the recipe needs 8 x 6",
        ),
        (
            lambda t: t | {"embed": {"embedding": jnp.ones((9, 6))}},
            "embed/embedding is 9 x 6 where the recipe needs 12 x 6",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_the_model(change, words, dense, small):
    with pytest.raises(ValueError, match=words):
        sl.compress(change(sl.nnx.params(dense)), sl.recipe(small))


def test_a_model_of_another_size(small):
    with pytest.raises(ValueError, match="kernel is 5 x 3 where the recipe needs 4 x 3"):
        sl.compress(
            nnx.Linear(5, 3, rngs=nnx.Rngs(0)),
            sl.recipe(sl.nnx.Linear(4, 3, spec=LOW, rngs=nnx.Rngs(0))),
        )
