"""Experiments on language models, on a small text."""

import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

data, language, recipes = map(importlib.import_module, ("_data", "_language", "_recipes"))

SMALL = language.Settings(hidden=32, batch=2, time=4, steps=4)
CONTENDERS = recipes.CONTENDERS


@pytest.fixture
def text():
    rng = np.random.default_rng(0)
    parts = (rng.integers(0, 5, n).astype(np.int32) for n in (200, 60, 60))
    return data.Text("small", *parts, tuple("abcde"))


def row(text, name, asked, settings=SMALL, recipe=None, **options):
    recipe = recipe or CONTENDERS[name]
    return language.language_row(name, text, settings, recipe, asked, 0, **options)


@pytest.mark.parametrize(
    ("name", "asked"), [("Dense", 1.0), ("DopedKron, 16 x 1 blocks", 4.0), ("LowRank", 4.0)]
)
def test_a_row_has_its_bits_and_its_honest_size(name, asked, text, tmp_path):
    found = row(text, name, asked).measure(tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert 0 < found["figures"]["test"] < 5
    spec = CONTENDERS[name].spec(asked)
    expected = 2 * (spec.cost((32, 128)).bytes if spec else 32 * 128 * 4)
    assert found["bytes"] == expected
    assert found["compression"] >= asked


def test_two_layers_with_dropout_have_twice_the_kernels(text, tmp_path):
    settings = language.Settings(hidden=32, batch=2, time=4, steps=2, layers=2, dropout=0.5)
    found = row(text, "LowRank", 4.0, settings).measure(tmp_path)
    assert found["bytes"] == 4 * CONTENDERS["LowRank"].spec(4.0).cost((32, 128)).bytes


def test_a_fixed_support_stays_where_it_was_drawn():
    recipe = CONTENDERS["Sparse, fixed support"]
    params = language.drawn(language.LanguageModel(5, SMALL, recipe.spec(4.0)), 0)
    optimiser = recipe.optimiser(params, recipes.Schedule(4, 1e-2))
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    for side in ("i", "h"):
        before, change = (t["cell0"][side]["kernel"].values for t in (params, updates))
        assert not np.any(np.asarray(change)[np.asarray(before) == 0])


def test_a_student_learns_from_the_model_of_another_row(text, tmp_path):
    teacher = row(text, "Dense", 1.0)
    distilled = recipes.dataclasses.replace(CONTENDERS["LowRank"], distilled=0.5)
    folder = tmp_path / "student"
    found = row(text, "student", 4.0, recipe=distilled, teacher=teacher).measure(folder)
    plain = row(text, "LowRank", 4.0).measure(tmp_path / "plain")
    assert (teacher.folder(tmp_path) / "model.slin").exists()
    assert found["figures"] != plain["figures"]


def test_a_row_may_start_where_another_ended(text, tmp_path):
    recipe = recipes.Recipe(lambda d: recipes.specs.Sparse(density=d, anneal=True), pruned=0.0)
    first = row(text, "first", 0.5, recipe=recipe)
    still = recipes.dataclasses.replace(recipe, learning_rate=0.0)
    row(text, "second", 0.25, recipe=still, start=first).measure(tmp_path / "second")
    before, after = (
        language.sl.load(folder / "model.slin")["cell0"]["h"]["kernel"].values
        for folder in (first.folder(tmp_path), tmp_path / "second")
    )
    kept = np.asarray(after) != 0
    assert kept.mean() == 0.25
    np.testing.assert_array_equal(np.asarray(after)[kept], np.asarray(before)[kept])


def test_a_spec_that_cannot_be_so_small_says_why(text, tmp_path):
    assert "Ask for compression" in row(text, "LowRank", 1000.0).measure(tmp_path)["refused"]


def test_a_recipe_says_what_its_figures_depend_on():
    for name, recipe in CONTENDERS.items():
        told = recipe.described(10.0)
        assert json.loads(json.dumps(told)) == told
        assert told["learning_rate"] == recipe.learning_rate, name
    other = recipes.dataclasses.replace(CONTENDERS["DopedKron"], dropout=0.2)
    assert other.described(10.0) != CONTENDERS["DopedKron"].described(10.0)


@pytest.mark.parametrize(("step", "left"), [(0, 1.0), (2, 1.0), (4, 0.5), (6, 0.0), (9, 0.0)])
def test_dropout_falls_while_it_is_pruned(step, left):
    recipe = recipes.doped_kron(begin=0.2, pruned=0.6)
    assert recipe.to_go(step, 10) == pytest.approx(left)


def rows_of(name, text, monkeypatch):
    module = importlib.import_module(name)
    if name == "language_model":
        monkeypatch.setattr(module, "characters", lambda path=None: text)
        monkeypatch.setattr(module, "data_folder", Path)
        return [
            module.small_rows(),
            module.rate_rows(),
            module.quick_rows(),
            module.word_rows(text, module.ON_A_CPU),
            module.medium_rows(text),
            module.medium_rate_rows(text),
        ]
    if name == "structure_map":
        return [[*module.map_rows(text), *module.recipe_rows(text)]]
    return [module.rows(text)]


@pytest.mark.parametrize(
    "name", ["language_model", "co_matrix_adaptation", "pruning", "structure_map"]
)
def test_the_rows_of_an_experiment_have_names_of_their_own(name, text, monkeypatch):
    for rows in rows_of(name, text, monkeypatch):
        assert rows
        assert len({row.name for row in rows}) == len(rows)
        json.dumps([row.recipe for row in rows])


def test_every_contender_can_be_as_small_as_it_is_asked(text, monkeypatch):
    for rows in rows_of("language_model", text, monkeypatch):
        for found in (row.recipe for row in rows if row.recipe["spec"]):
            shape = found["hidden"], 4 * found["hidden"]
            spec = recipes.specs.from_json(json.dumps(found["spec"]))
            assert spec.sized(shape).cost(shape).compression >= 0.99 * found["asked"]


def test_the_command_writes_its_rows(text, tmp_path, monkeypatch):
    bench = importlib.import_module("language_model")
    monkeypatch.setattr(bench, "characters", lambda path=None: text)
    monkeypatch.setattr(bench, "QUICK", SMALL)
    out = tmp_path / "figures.json"
    command = ["language_model.py", "--quick", "--out", str(out), "--only", "LowRank"]
    monkeypatch.setattr(sys, "argv", [*command, "--runs", str(tmp_path / "runs")])
    bench.main()
    found = json.loads(out.read_text())
    assert [row["name"] for row in found["rows"]] == ["LowRank, 10x, seed 0"]
    assert {"command", "versions", "device", "date"} <= set(found)
