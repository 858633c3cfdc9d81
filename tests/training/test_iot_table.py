"""The benchmark of small classifiers, on a few short sequences."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

bench = importlib.import_module("iot_table")
classifier = importlib.import_module("_classifier")
data = importlib.import_module("_data")
sizes = importlib.import_module("_sizes")

FEATURES = {"mnist": 28, "usps": 16, "har": 9}
SETTINGS = classifier.Settings("LSTM", 16, together=2, read="mean", batch=30, epochs=4)


def _part(rng, n):
    """Two classes of short sequences, which differ in their mean."""
    y = rng.integers(0, 2, n).astype(np.int32)
    x = rng.normal(size=(n, 4, 4)).astype(np.float32) + (2 * y - 1)[:, None, None]
    return data.Labelled(x.astype(np.float32), np.full(n, 4, np.int32), y)


@pytest.fixture
def task(rng):
    parts = [_part(rng, n) for n in (60, 30, 30)]
    known = data.Sequences("small", *parts, ("low", "high"))
    return classifier.Task("small", lambda: known, SETTINGS)


def _row(task, name, asked, rate=0.03, **options):
    recipe = dataclasses.replace(bench.RECIPES[name], learning_rate=rate)
    return classifier.classifier_row(name, task, recipe, asked, 0, **options)


@pytest.mark.parametrize(
    ("name", "asked", "small"),
    [("Dense", 1.0, False), ("Dense", 3.0, True), ("DopedKron", 3.0, False)],
)
def test_a_row_learns_and_has_its_honest_sizes(name, asked, small, task, tmp_path):
    found = _row(task, name, asked, small=small).measure(tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert found["figures"]["test"] > 80
    kernels, layer, whole = (found["sizes"][part] for part in ("kernels", "layer", "model"))
    packed = sl.load(tmp_path / "model.slin")
    model = classifier.Classifier(2, dataclasses.replace(SETTINGS, hidden=found["hidden"]))
    assert classifier.accuracy(model, packed, task.data().test) == found["figures"]["test"]
    held = [x.nbytes for x in jax.tree.leaves(packed)]
    assert whole["bytes"] == sum(held)
    assert layer["bytes"] == whole["bytes"] - sum(x.nbytes for x in packed["out"].values())
    assert kernels["bytes"] == layer["bytes"] - 4 * 4 * found["hidden"]  # a bias of four gates
    assert kernels["compression"] == round(4 * (8 + 16) * 64 / kernels["bytes"], 3) >= asked
    assert (name == "DopedKron") == (kernels["bytes"] > 4 * kernels["params"])  # its indices


@pytest.mark.parametrize("name", ["mnist", "usps", "har"])
def test_both_kernels_together_are_as_small_as_asked_or_say_why_not(name):
    task = bench.TASKS[name]
    shapes = task.settings.shapes(FEATURES[name])
    dense, reached = sum(4 * m * n for m, n in shapes), {}
    for asked in bench.ASKED[name]:
        for structure in bench.STRUCTURES:
            try:
                made = sizes.kernel_specs(bench.recipe_of(task, structure).spec, shapes, asked)
            except ValueError as error:
                assert "Ask for" in str(error)
                continue
            total = sum(spec.cost(shape).bytes for spec, shape in zip(made, shapes, strict=True))
            assert total <= dense / asked
            reached.setdefault(asked, set()).add(structure)
    assert reached[bench.ASKED[name][0]] == set(bench.STRUCTURES)
    assert reached[bench.ASKED[name][1]] >= {"Kron", "LowRank", "Sparse"}


def test_parts_without_entries_train_and_are_kept(task, tmp_path):
    recipe = bench.ONE_GATE["HMD"]
    found = classifier.classifier_row("HMD", task, recipe, 10.0, 0).measure(tmp_path)
    assert found["sizes"]["kernels"]["compression"] >= 10
    cell = sl.load(tmp_path / "model.slin")["cell"]
    assert [cell[side]["kernel"].rich.shape for side in "ih"] == [(8, 0), (16, 0)]


def test_what_cannot_be_so_small_says_so(task, tmp_path):
    assert "Ask for" in _row(task, "LowRank", 60.0).measure(tmp_path)["refused"]
    assert "ask for" in _row(task, "Dense", 6000.0, small=True).measure(tmp_path)["refused"]


def test_the_small_dense_one_is_the_widest_within_the_bytes():
    full = SETTINGS.shapes(4)
    made = classifier.narrowed(SETTINGS, 4, 5.0)
    wider = dataclasses.replace(made, hidden=made.hidden + 1)
    most = sum(m * n for m, n in full) / 5
    assert sum(m * n for m, n in made.shapes(4)) <= most < sum(m * n for m, n in wider.shapes(4))


def test_a_pupil_with_its_teachers_weights_has_nothing_to_learn(task):
    model = classifier.Classifier(2, SETTINGS)
    params, other = (classifier.drawn(model, 4, seed) for seed in (0, 1))
    recipe = dataclasses.replace(bench.RECIPES["Dense"], distilled=1.0)
    batch = data.Batches(task.data().train, 30)(0, 0), np.float32(0)

    def loss(teacher):
        return jax.jit(classifier.loss_of(recipe, model, teacher))(params, batch, jax.random.key(0))

    assert_allclose(loss(params), 0, atol=1e-6)
    assert loss(other) > 1e-4


def test_noise_and_dropout_belong_to_training_alone(task):
    settings = dataclasses.replace(SETTINGS, noise=1.0, dropout=0.5)
    plain, noisy = (classifier.Classifier(2, s) for s in (SETTINGS, settings))
    params, x = classifier.drawn(plain, 4, 0), task.data().test.x
    assert_array_equal(*(m.apply({"params": params}, x) for m in (plain, noisy)))
    batch = data.Batches(task.data().train, 30)(0, 0), np.float32(0)
    for change, told in (({"noise": 1.0}, True), ({"dropout": 0.5}, True), ({}, False)):
        model = classifier.Classifier(2, dataclasses.replace(SETTINGS, **change))
        loss = jax.jit(classifier.loss_of(bench.RECIPES["Dense"], model))
        one, two = (float(loss(params, batch, jax.random.key(i))) for i in range(2))
        assert (one != two) == told


def test_samples_read_together_are_one_step(task):
    x = jnp.asarray(task.data().test.x)
    two = classifier.Classifier(2, SETTINGS)
    one = classifier.Classifier(2, dataclasses.replace(SETTINGS, together=1))
    params = classifier.drawn(two, 4, 0)
    assert_array_equal(
        two.apply({"params": params}, x), one.apply({"params": params}, x.reshape(-1, 2, 8))
    )


def test_forget_gates_start_open_whatever_the_kernels_are():
    spec = sl.specs.LowRank(rank=1)
    dense, low = (
        classifier.drawn(classifier.Classifier(2, SETTINGS, kernels), 4, 0)["cell"]
        for kernels in ((None, None), (spec, spec))
    )
    gates = [dense[f"h{gate}"]["bias"] for gate in "ifgo"]
    assert_array_equal(np.concatenate(gates), np.repeat([0.0, 1.0, 0.0, 0.0], 16))
    assert_array_equal(low["h"]["bias"], np.concatenate(gates))


def test_every_row_has_a_name_and_a_rate():
    found = bench.rows()
    assert len({row.name for row in found}) == len(found) == 3 * 3 * 15
    assert all(row.recipe["learning_rate"] in bench.RATES for row in found)
    assert {row.recipe["seed"] for row in found} == set(bench.SEEDS)
    taught = [row.recipe for row in found if "teacher" in row.recipe]
    assert len(taught) == 3 * 3 * 2
    for recipe in taught:
        dense = recipe["teacher"]
        assert dense["spec"] is None
        assert (dense["data"], dense["seed"]) == (recipe["data"], recipe["seed"])
    rates = bench.rate_rows()
    assert len({row.name for row in rates}) == len(rates) == 3 * 7 * len(bench.RATES)


def test_the_command_measures_and_times(task, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "TASKS", {"small": task})
    monkeypatch.setattr(bench, "ROUNDS", 2)
    rows = [
        classifier.classifier_row(f"small, {n}, {c:g}x, seed 0", task, bench.RECIPES[n], c, 0)
        for n, c in (("Kron", 4.0), ("DopedKron", 4.0), ("LowRank", 60.0))
    ]
    monkeypatch.setattr(bench, "ASKED", {"small": (4.0, 60.0)})
    monkeypatch.setattr(bench, "rows", lambda: rows)
    out = tmp_path / "figures.json"
    command = ["iot_table.py", "--out", str(out), "--runs", str(tmp_path / "runs")]
    for more in ([], ["--time"]):
        monkeypatch.setattr(sys, "argv", command + more)
        bench.main()
    doped, kron, low = json.loads(out.read_text())["rows"]
    assert min(doped["microseconds"], kron["microseconds"]) > 0
    assert "microseconds" not in low
    assert "refused" in low
