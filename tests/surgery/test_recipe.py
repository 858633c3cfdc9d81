"""Recipes: which weight a pattern means, and their TOML form."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

import structlin as sl
from structlin import specs
from structlin.surgery._paths import leaf_paths, regroup, replace
from structlin.surgery._recipe import chosen
from structlin.surgery._targets import find_targets


def tree():
    gates = {f"{s}{g}": {"kernel": jnp.ones((3, 4))} for s in "ih" for g in "ifgo"}
    for g in "ifgo":
        gates[f"h{g}"]["bias"] = jnp.zeros(4)
    return {"cell": gates, "out": {"kernel": jnp.ones((4, 5)), "bias": jnp.zeros(5)}}


def paths_chosen(recipe, fuse=False):
    targets = find_targets(tree(), fuse=fuse)
    found = chosen(sl.Recipe(recipe, fuse=fuse), targets, list(leaf_paths(tree())))
    return {t.path: s for t, s in found}


LOW, KRON = specs.LowRank(rank=1), specs.Kron()


def test_paths_name_every_leaf_and_matrices_are_whole():
    params = {"a": {"kernel": LOW.fit(jnp.ones((3, 4))), "bias": jnp.zeros(4)}}
    assert list(leaf_paths(params)) == ["a/bias", "a/kernel"]
    assert leaf_paths(params)["a/kernel"] is params["a"]["kernel"]


def test_replacing_leaves_keeps_the_tree_that_was_given():
    params = FrozenDict({"a": {"kernel": jnp.ones(3)}, "b": jnp.zeros(2)})
    new = replace(params, {"a/kernel": 7})
    assert isinstance(new, FrozenDict)
    assert new["a"]["kernel"] == 7
    assert params["a"]["kernel"].shape == (3,)
    with pytest.raises(KeyError, match="a/kernel"):
        replace(params, {"a/kern": 7})


def test_regrouping_moves_leaves_between_modules():
    params = FrozenDict({"c": {"x": {"k": 1}, "y": {"k": 2, "b": 3}}, "z": {"k": 4}})
    new = regroup(params, ["c/x/k", "c/y/k"], {"c/w/k": 5, "c/y/q": 6})
    assert new == FrozenDict({"c": {"y": {"b": 3, "q": 6}, "w": {"k": 5}}, "z": {"k": 4}})


def test_the_first_pattern_that_matches_decides():
    found = paths_chosen({"out/kernel": LOW, ".*/kernel": KRON})
    assert found["out/kernel"] == LOW
    assert found["cell/hi/kernel"] == KRON
    assert len(found) == 9  # no bias


def test_a_pattern_must_match_the_whole_path():
    with pytest.raises(ValueError, match="'kernel'.*whole path") as caught:
        paths_chosen({"kernel": LOW})
    assert "out/kernel 4 x 5" in str(caught.value)


def test_a_pattern_that_matches_only_vectors_says_so():
    with pytest.raises(ValueError, match="matches only .*out/bias.*two axes"):
        paths_chosen({"out/bias": LOW})


def test_fused_gates_take_the_place_of_their_parts():
    found = paths_chosen({".*/h/kernel": LOW, "cell/.*": KRON}, fuse=True)
    assert found == {"cell/h/kernel": LOW, "cell/i/kernel": KRON}
    by_gate = paths_chosen({".*/h/kernel": LOW, "cell/i[ifgo]/kernel": KRON}, fuse=True)
    assert set(by_gate) == {"cell/h/kernel", *(f"cell/i{g}/kernel" for g in "ifgo")}


def test_gates_are_not_fused_unless_asked_for():
    with pytest.raises(ValueError, match="cell/h/kernel"):
        paths_chosen({"cell/h/kernel": LOW})


def test_a_fused_kernel_has_its_gates_in_order():
    params = tree()
    for i, g in enumerate("ifgo"):
        params["cell"][f"h{g}"]["kernel"] = jnp.full((3, 4), i)
    target = find_targets(params, fuse=True)["cell/h/kernel"]
    dense = target.dense(leaf_paths(params))
    np.testing.assert_array_equal(dense[0], np.repeat(np.arange(4), 4))
    for path, part in target.unfold(dense).items():
        np.testing.assert_array_equal(part, leaf_paths(params)[path])


EVERY_KIND = {
    "rnn/.*/kernel": specs.DopedKron(compression=25),
    'odd "key"\\d+é': specs.Doped(specs.LowRank(rank=3), density=0.25, block=(2, 1)),
    "gates": specs.PerGate(specs.Kron(shapes=((2, 3), (4, 5)))),
    "codes": specs.Quantized(specs.HMD(compression=1.5), 4, "kmeans"),
    "pattern": specs.Sparse(pattern="2:4", anneal=True),
    "left alone": None,
}


def test_recipes_round_trip_through_toml(tmp_path):
    recipe = sl.Recipe(EVERY_KIND, fuse=True, outputs={"attention/.*": 2})
    file = tmp_path / "recipe.toml"
    text = recipe.to_toml(file)
    assert file.read_text("utf-8") == text
    for source in (text, file, str(file)):
        found = sl.Recipe.from_toml(source)
        assert found == recipe
        assert list(found.items()) == list(EVERY_KIND.items())  # in order


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[recipe", "not TOML"),
        ("fuse = true\n", "table \\[recipe\\]"),
        ('[recipe]\n"a" = 3\n', "'a'.*inline table"),
        ('[recipe]\n"a" = { spec = "Nonsense" }\n', "'a'.*Nonsense.*Known specs"),
        ('[recipe]\n"a" = { spec = "LowRank", ranks = 3 }\n', "'a'.*ranks"),
        ('[recipe]\n"(" = { spec = "Kron" }\n', "'\\('.*regular expression"),
    ],
)
def test_bad_toml_says_what_is_wrong(text, words):
    with pytest.raises(ValueError, match=words):
        sl.Recipe.from_toml(text)


def test_values_must_be_specs():
    with pytest.raises(TypeError, match=r"'a'.*LowRank\(rank=8\)"):
        sl.Recipe({"a": 8})


def test_more_axes_are_flattened_by_their_bias():
    params = {
        "query": {"kernel": jnp.ones((6, 2, 4)), "bias": jnp.ones((2, 4))},
        "conv": {"kernel": jnp.ones((3, 3, 2, 5)), "bias": jnp.ones(5)},
        "bare": {"kernel": jnp.ones((6, 2, 4))},
    }
    shapes = {p: t.shape for p, t in find_targets(params).items()}
    assert shapes == {"query/kernel": (6, 8), "conv/kernel": (18, 5), "bare/kernel": (12, 4)}
    told = find_targets(params, outputs={"bare/.*": 2})
    assert told["bare/kernel"].shape == (6, 8)
    with pytest.raises(ValueError, match="'missing'.*query/kernel"):
        find_targets(params, outputs={"missing": 2})
    with pytest.raises(ValueError, match="bare/kernel.*given 3"):
        find_targets(params, outputs={"bare/.*": 3})
