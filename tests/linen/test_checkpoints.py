"""Parameters through every kind of checkpoint, as they train and packed."""

import pickle

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from cases import ALL, LARGE, make
from flax import serialization
from flax.training.train_state import TrainState
from storage.trees import same

import structlin as sl
from structlin import specs, storage

WORDS, WIDTH, HIDDEN = 12, 6, 8
TOKENS = jnp.array([[1, 4, 2], [3, 3, 9]])
KEY = jax.random.key(0)
LOW = specs.LowRank(rank=2)
ANNEALED = specs.DopedKron(density=0.25, anneal=True)


class Model(nn.Module):
    """What the tests train and restore."""

    @nn.compact
    def __call__(self, tokens):
        x = sl.Embed(WORDS, WIDTH, spec=LOW, name="embed")(tokens)
        cell = sl.LSTMCell(HIDDEN, input=specs.PerGate(LOW), recurrent=ANNEALED, name="cell")
        return sl.Dense(3, name="out")(sl.RNN(cell)(x))


@pytest.fixture(scope="module")
def every():
    """Every structure as it trains and as it is packed, and the large ones in other dtypes."""
    sl.linen.register_serialization()
    made = {f"{name}{i}": make(name, i, np.float32) for name, i in sorted(ALL)}
    half = [make(name, i, jnp.bfloat16) for name, i in LARGE]
    wide = [make(name, 1, np.complex64) for name in ("Circulant", "Fourier", "Scaled")]
    other = {"half": half, "wide": wide}
    return {"made": made, "other": other, "packed": sl.pack(made), "tuple": (jnp.ones(()), None)}


@pytest.fixture(scope="module")
def state():
    """A model after two steps of pruning."""
    params = Model().init(KEY, TOKENS)["params"]
    tx = sl.train.sparsify(optax.adamw(0.1), sl.train.targets(params), end=1, every=1)
    created = TrainState.create(apply_fn=Model().apply, params=params, tx=tx)
    for _ in range(2):
        created = stepped(created)
    return created


@jax.jit
def stepped(state):
    return state.apply_gradients(grads=jax.tree.map(jnp.cos, state.params))


@pytest.fixture(scope="module")
def packed(state):
    """Its packed parameters, with an embedding in codes."""
    recipe = {"embed/embedding": specs.Quantized(LOW, 8)}
    return sl.pack(sl.compress(state.params, recipe).params)


@pytest.fixture(scope="module")
def checkpointer():
    with ocp.StandardCheckpointer() as found:
        yield found


def saved(checkpointer, path, tree):
    checkpointer.save(path, tree)
    checkpointer.wait_until_finished()
    return path


def through_file(tree, path):
    sl.save(path / "tree.slin", tree)
    return sl.load(path / "tree.slin")


def target(tree):
    return storage.template(storage.describe(tree))


WAYS = {
    "msgpack": lambda tree, path: serialization.from_bytes(
        target(tree), serialization.to_bytes(tree)
    ),
    "state dict": lambda tree, path: serialization.from_state_dict(
        target(tree), serialization.to_state_dict(tree)
    ),
    "pickle": lambda tree, path: pickle.loads(pickle.dumps(tree)),
    "file": through_file,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_structure_comes_back_as_it_was(way, every, tmp_path):
    assert same(WAYS[way](every, tmp_path), every)


def test_every_structure_comes_back_from_orbax(every, checkpointer, tmp_path):
    """With a target, and without one as the plain dicts that `rebuild` reads."""
    stored = jax.tree.map(  # orbax refuses arrays without entries
        lambda m: m if all(x.size for x in jax.tree.leaves(m)) else None,
        every,
        is_leaf=sl.matrices._tree.is_matrix,
    )
    path = saved(checkpointer, tmp_path / "every", stored)
    assert same(checkpointer.restore(path, target(stored)), stored)
    plain = checkpointer.restore(path)
    assert type(plain["made"]["LowRank2"]) is dict
    assert same(storage.rebuild(plain, target(stored)), stored)


def test_every_structure_is_described_without_its_numbers(every):
    text = storage.describe(every)
    assert storage.describe(target(every)) == text
    assert storage.describe(jax.eval_shape(lambda: every)) == text
    forms = [[(x.shape, x.dtype) for x in jax.tree.leaves(t)] for t in (target(every), every)]
    assert forms[0] == forms[1]


def test_training_goes_on_from_a_checkpoint(state, checkpointer, tmp_path):
    """Parameters, masks and moments come back: the next step has the same bits."""
    zeros = [leaf for p, leaf in by_path(state.params).items() if p.endswith("sparse/values")]
    assert [int((x == 0).sum()) for x in zeros] == [3 * x.size // 4 for x in zeros]
    blank = jax.tree.map(jnp.zeros_like, state)
    path = saved(checkpointer, tmp_path / "state", state)
    params = target(state.params)
    abstract = jax.eval_shape(
        lambda p: TrainState.create(apply_fn=None, params=p, tx=state.tx), params
    )
    for found in (
        serialization.from_bytes(blank, serialization.to_bytes(state)),
        serialization.from_state_dict(blank, serialization.to_state_dict(state)),
        checkpointer.restore(path, blank),
        checkpointer.restore(path, abstract),
    ):
        assert same(leaves_of(found), leaves_of(state))
        assert same(found.params, state.params)
        assert same(leaves_of(stepped(found)), leaves_of(stepped(state)))


def by_path(tree):
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="/"): leaf for p, leaf in found}


def leaves_of(state):
    return list(map(np.asarray, jax.tree.leaves(state)))


@pytest.mark.parametrize("way", [*WAYS, "orbax", "orbax without a target"])
def test_a_packed_model_runs_the_same_after_a_checkpoint(way, packed, checkpointer, tmp_path):
    kinds = {str(x.dtype) for x in jax.tree.leaves(packed)}
    assert {"float32", "uint8"} <= kinds
    if way in WAYS:
        found = WAYS[way](packed, tmp_path)
    else:
        path = saved(checkpointer, tmp_path / "packed", packed)
        found = (
            checkpointer.restore(path, target(packed))
            if way == "orbax"
            else storage.rebuild(checkpointer.restore(path), target(packed))
        )
    assert same(found, packed)
    expected, again = (Model().apply({"params": p}, TOKENS) for p in (packed, found))
    assert same(again, expected)


def test_a_state_of_another_structure_is_refused():
    low, kron = (s.fit(jnp.ones((4, 6))) for s in (LOW, specs.Kron()))
    data = serialization.to_bytes({"out": {"kernel": low}})
    with pytest.raises(ValueError, match=r"Kronecker.* at './out/kernel'.*'factors'.*'left'"):
        serialization.from_bytes({"out": {"kernel": kron}}, data)
    with pytest.raises(ValueError, match="has one ndarray there"):
        serialization.from_state_dict({"kernel": low}, {"kernel": np.ones((4, 6))})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("left"), r"lacks \['kernel/left'\].*it has \['kernel/right'\]"),
        (lambda t: t.update(scale=np.ones(2)), r"has \['kernel/scale'\].*has not"),
        (
            lambda t: t.update(left=np.ones((5, 2))),
            r"kernel/left is float64\[5, 2\].*float32\[4, 2\]",
        ),
        (lambda t: t.update(left=3), r"kernel/left is 3; the template has float32\[4, 2\]"),
    ],
)
def test_arrays_that_a_template_does_not_describe(change, words):
    wanted = {"kernel": LOW.fit(jnp.ones((4, 6)))}
    plain = {"kernel": {"left": np.ones((4, 2), np.float32), "right": np.ones((2, 6), np.float32)}}
    assert storage.rebuild(plain, wanted)["kernel"].shape == (4, 6)
    change(plain["kernel"])
    with pytest.raises(ValueError, match=words):
        storage.rebuild(plain, wanted)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"a": {"step": 3}}, "'a/step' is a int"),
        ({"key": KEY}, "'key' is an array of key"),
        ("words", "the root of the tree is a str"),
        ({"a": optax.EmptyState()}, "'a' is a .*EmptyState"),
        ({1.5: jnp.ones(2)}, "key 1.5 of type float"),
    ],
)
def test_trees_that_have_no_description(tree, words):
    with pytest.raises(TypeError, match=words):
        storage.describe(tree)


HEAD = '{"format": "structlin tree", "version": 1'


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", storage.DamagedFileError, "no JSON"),
        ("[" * 100_000, storage.DamagedFileError, "no JSON"),
        ("[]", storage.ForeignFileError, "no description"),
        (HEAD.replace("1", "2") + "}", storage.NewerVersionError, "version 2.*up to 1"),
        (HEAD + "}", storage.DamagedFileError, "no tree"),
        (HEAD + ', "tree": {"a": "float32[2"}}', storage.DamagedFileError, "float32.* at 'a'"),
        (HEAD + ', "tree": {"a": "object[2]"}}', storage.DamagedFileError, "object.* at 'a'"),
        (HEAD + ', "tree": {"a": "float32[,]"}}', storage.DamagedFileError, "float32"),
        (HEAD + ', "tree": {"a": 3}}', storage.DamagedFileError, "has 3 at 'a'"),
        (
            HEAD + ', "tree": {"$": "array", "name": "a", "dtype": "int8", "shape": []}}',
            storage.DamagedFileError,
            "refers to a tensor",
        ),
        (
            HEAD + ', "tree": {"$": "matrix", "class": "Nonsense", "fields": {}}}',
            storage.UnknownStructureError,
            "Nonsense",
        ),
    ],
)
def test_descriptions_that_are_none(text, error, words):
    with pytest.raises(error, match=words):
        storage.template(text)
