"""Models that train in one program learn what each would alone."""

import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

data, language, recipes = map(importlib.import_module, ("_data", "_language", "_recipes"))
side_by_side = importlib.import_module("_side_by_side")

SETTINGS = language.Settings(hidden=32, batch=2, time=4, steps=6, layers=2)
NAMES = {"Dense": 1.0, "DopedKron": 4.0, "LowRank": 4.0}


@pytest.fixture(scope="module")
def text():
    rng = np.random.default_rng(0)
    parts = (rng.integers(0, 5, n).astype(np.int32) for n in (200, 60, 60))
    return data.Text("small", *parts, tuple("abcde"))


@pytest.fixture(scope="module")
def found(text, tmp_path_factory):
    members = [side_by_side.Member(n, recipes.CONTENDERS[n], a) for n, a in NAMES.items()]
    rows = side_by_side.side_by_side_rows("all", text, SETTINGS, members, 0)
    runs = tmp_path_factory.mktemp("runs")
    return {row.name: row.measure(row.folder(runs)) for row in rows}


@pytest.mark.parametrize("name", NAMES)
def test_each_learns_what_it_would_alone(name, text, found, tmp_path):
    recipe, asked = recipes.CONTENDERS[name], NAMES[name]
    alone = language.language_row(name, text, SETTINGS, recipe, asked, 0).measure(tmp_path)
    assert found[name]["figures"] == pytest.approx(alone["figures"], abs=2e-4)
    for key in ("params", "bytes", "compression", "compression_params"):
        assert found[name][key] == alone[key]


def test_dropout_takes_what_it_should_and_keeps_the_mean():
    model = language.LanguageModel(5, SETTINGS)
    params = [language.drawn(model, seed) for seed in (0, 1)]
    tokens = jnp.zeros((4, 2), jnp.int32)
    carry = side_by_side.at_rest(2, 2, SETTINGS)
    none = side_by_side.logits_of(params, tokens, carry)[1]
    other = side_by_side.logits_of(params, tokens, carry, 0.5, jax.random.key(0))[1]
    assert not np.allclose(none[0], other[0])
    keys = jax.random.split(jax.random.key(1), 4000)
    # What the output layer sees, of models whose LSTMs are left out.
    mean = jax.vmap(lambda key: side_by_side.logits_of(params, tokens, (), 0.5, key)[1][0])(keys)
    expected = side_by_side.logits_of(params, tokens, ())[1][0]
    np.testing.assert_allclose(mean.mean(0), expected, atol=0.2)
