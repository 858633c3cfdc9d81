"""The benchmark of compressed models, on a small model."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from structlin import specs

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

models = importlib.import_module("_models")
post_training = importlib.import_module("post_training")


@pytest.fixture(scope="module")
def model():
    module = models.CharRNN(7, 8)
    params = module.init(jax.random.key(0), jnp.zeros((2, 1), jnp.int32))["params"]
    cells = {("cell_0",): "lstm", ("cell_1",): "lstm"}
    tokens = np.random.default_rng(0).integers(0, 7, 30_000)

    def test(p):
        return models.bits_a_character(module, tokens, 2560, p)

    def loss(p, batch):
        return models.bits(module, p, batch)

    batches = models.other_characters(tokens)[:2]
    return models.Trained("small", module, params, cells, "bits_per_character", test, loss, batches)


def test_every_recurrent_kernel_is_fitted_and_nothing_else(model):
    params, cost, _ = post_training.refit(model, post_training.by_spec(specs.LowRank(rank=2)))
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), model.params, params)
    for path, found in jax.tree_util.tree_leaves_with_path(changed):
        names = [key.key for key in path]
        assert found == (names[0] in ("cell_0", "cell_1") and names[-1] == "kernel"), names
    stored = 4 * 2 * (8 + 32) * 4  # four kernels of rank two, in bytes
    assert cost.bytes == stored
    assert cost.compression == pytest.approx(4 * 8 * 32 * 4 / stored, abs=1e-3)
    for cell in ("cell_0", "cell_1"):
        fused = post_training.kernels(params[cell], "lstm")
        assert all(np.linalg.matrix_rank(k, tol=1e-5) == 2 for k in fused.values())


def test_the_whole_rank_changes_nothing(model):
    params, *_ = post_training.refit(model, post_training.by_spec(specs.LowRank(rank=8)))
    assert post_training.error_of(model, params) < 1e-5
    mine, theirs = (models.evaluate(model, p) for p in (params, model.params))
    assert mine["bits_per_character"] == pytest.approx(theirs["bits_per_character"], abs=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_rounding_is_by_half_a_step(axis, rng):
    kernel = rng.normal(size=(6, 8)).astype(np.float32)
    kernel[:, 2] = 0
    found, cost = post_training.rounded(axis)(jnp.asarray(kernel))
    step = np.abs(kernel).max(axis, keepdims=True) / 127
    assert (np.abs(found - kernel) <= step / 2 + 1e-6).all()
    assert cost.bytes == 6 * 8 + 4 * step.size


def test_uniform_characters_cost_their_entropy(model):
    params = jax.tree.map(jnp.zeros_like, model.params)
    bits = models.evaluate(model, params)["bits_per_character"]
    assert bits == pytest.approx(np.log2(7), abs=1e-5)


@pytest.mark.parametrize("name", ["Plan of LowRank, uniform", "Plan of LowRank, activations"])
def test_a_plan_keeps_to_the_bytes_of_its_compression(model, name):
    row = post_training.measure(model, name, lambda m: post_training.planned(m, name, 2))
    assert row["bytes"] <= 4 * 8 * 32 * 4 / 2
    assert set(row["spec"]) == {f"cell_{i}/{side}/kernel" for i in "01" for side in "ih"}
    assert 0 < row["relative_error"] < 1
    assert set(row["figures"]) == {"bits_per_character"}


def test_what_is_too_small_says_so(model):
    row = post_training.measure(
        model, "tiny", lambda m: post_training.planned(m, "Plan, uniform", 1e6)
    )
    assert "least" in row["refused"]
