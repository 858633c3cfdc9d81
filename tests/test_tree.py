"""Matrices as trees: partition and combine, odd leaves, pickles, static fields, and printing."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import ALL, CASES, make
from numpy.testing import assert_array_equal

from structlin import matrices as ms

every_structure = pytest.mark.parametrize("name", CASES)
every_case = pytest.mark.parametrize(("name", "index"), ALL)


def same(a, b):
    """Asserts that two trees have equal leaves of equal dtypes in equal places."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert_array_equal(np.asarray(x), np.asarray(y))


@every_case
def test_pickle_round_trip(name, index):
    matrix = make(name, index, np.float32)
    same(pickle.loads(pickle.dumps(matrix)), matrix)


@every_case
def test_partition_and_combine_are_inverse(name, index):
    matrix = make(name, index, np.float32)
    trainable, fixed = ms.partition(matrix)
    assert type(trainable) is type(fixed) is type(matrix)
    assert all(jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves(trainable))
    assert not any(jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves(fixed))
    same(ms.combine(trainable, fixed), matrix)


def test_partition_of_a_tree_of_matrices_and_arrays():
    tree = {"a": [make("Sum", 2, np.float32), None], "step": jnp.int32(3), "b": np.ones(2)}
    trainable, fixed = ms.partition(tree)
    assert trainable["step"] is None
    assert fixed["b"] is None
    same(ms.combine(trainable, fixed), tree)
    total = jax.grad(lambda t: sum(jnp.sum(x**2) for x in jax.tree.leaves(t)))(trainable)
    assert jax.tree.structure(total) == jax.tree.structure(trainable)


def test_cost_of_a_tree_adds_up():
    kron, table = make("Kronecker", -1, np.float32), np.ones((5, 3), np.float32)
    total = ms.cost({"w": kron, "table": table, "bias": np.ones(4, np.float32)})
    assert total.params == kron.cost().params + 15 + 4
    assert total.bytes == 4 * total.params
    assert total.dense_params == 24 * 36 + 15 + 4
    assert total.flops == kron.flops() + 2 * 15
    assert ms.cost({}) == ms.Cost(0, 0, 0, 0, 0)


ODD = [None, True, 1.5, object(), jax.ShapeDtypeStruct((2, 3), jnp.float32), np.zeros((0,)), "text"]


@pytest.mark.parametrize("odd", ODD, ids=lambda o: type(o).__name__)
@every_structure
def test_odd_leaves_pass_through_and_print(name, odd):
    leaves, form = jax.tree.flatten(make(name, 1, np.float32))
    rebuilt = jax.tree.unflatten(form, [odd] * len(leaves))
    assert type(rebuilt).__name__ == name
    if odd is not None:
        assert all(leaf is odd for leaf in jax.tree.leaves(rebuilt))
    assert repr(rebuilt).startswith(f"{name}(")
    assert "\n" not in repr(rebuilt)


@every_structure
def test_repr_is_one_line_of_what_matters(name):
    matrix = make(name, -1, np.float32)
    (m, n), cost = matrix.shape, matrix.cost()
    want = repr(matrix)
    start = f"{name}({m}x{n}, float32, {cost.params:,} params, {cost.bytes:,} bytes"
    assert want.startswith(start)
    assert "\n" not in want
    assert len(want) <= 120
    for part in ms.partition(matrix):
        assert "\n" not in repr(part)
        assert len(repr(part)) < 400
    seen = []
    jax.jit(lambda w: seen.append(repr(w)))(matrix)
    assert seen == [want]


def test_repr_of_broken_leaves_stays_short():
    big = jnp.ones((50, 50))
    text = repr(ms.Sparse(None, big.astype(jnp.uint8), 50))
    assert "\n" not in text
    assert "uint8" in text
    assert len(text) < 200


@pytest.mark.parametrize("name", ms.REGISTRY)
def test_static_fields_hold_only_hashable_descriptions(name):
    def plain(value):
        return isinstance(value, int | float | str) or (
            isinstance(value, tuple) and all(map(plain, value))
        )

    for index in range(len(CASES[name])):
        matrix = make(name, index, np.float32)
        for field in dataclasses.fields(matrix):
            if field.metadata.get("static"):
                value = getattr(matrix, field.name)
                assert plain(value), f"{name}.{field.name} holds {value!r}"
        hash(jax.tree.structure(matrix))


@every_structure
def test_shapes_alone_have_shape_dtype_and_cost(name):
    matrix = make(name, -1, np.float32)
    shapes = jax.eval_shape(lambda: matrix)
    assert shapes.shape == matrix.shape
    assert shapes.dtype == matrix.dtype
    assert shapes.cost() == matrix.cost()


def test_paths_of_a_sum_name_its_structures():
    doped = make("Sum", 1, np.float32)
    twice = ms.Sum.of(doped, make("Masked", 1, np.float32))
    paths = [
        "/".join(str(getattr(k, "name", getattr(k, "idx", k))) for k in path)
        for path, _ in jax.tree_util.tree_leaves_with_path(twice)
    ]
    assert paths == [
        "kronecker/factors/0",
        "kronecker/factors/1",
        "sparse/values",
        "sparse_2/values",
    ]


def test_matrices_are_frozen():
    matrix = make("Dense", 0, np.float32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        matrix.values = jnp.zeros((2, 2))
