"""A model's embedding and softmax, made small and tuned, on a small text."""

import dataclasses
import importlib
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import structlin as sl

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

data, vocabulary = map(importlib.import_module, ("_data", "vocabulary"))

SMALL = vocabulary.Settings(hidden=16, batch=2, time=4, steps=4)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    rng = np.random.default_rng(0)
    parts = (np.minimum(rng.geometric(0.05, n), 60).astype(np.int32) - 1 for n in (400, 80, 80))
    text = data.Text("small", *parts, tuple(map(str, range(60))))
    ways = {
        name: way._replace(spec=dataclasses.replace(way.spec, compression=2.0))
        for name, way in vocabulary.WAYS.items()
    }
    monkeypatch.setattr(vocabulary, "text", lambda: text)
    monkeypatch.setattr(vocabulary, "SETTINGS", SMALL)
    monkeypatch.setattr(vocabulary, "TUNING", vocabulary.Schedule(4, 1e-3))
    monkeypatch.setattr(vocabulary, "WAYS", ways)


@pytest.mark.parametrize(("name", "least"), [("GroupReduce", 2), ("GroupReduce, 4 bits", 3)])
def test_rows_start_from_the_dense_model_and_are_tuned(name, least, tmp_path):
    start = vocabulary.dense()
    (tmp_path / "small").mkdir()
    found = vocabulary.small_row(name, start).measure(tmp_path / "small")
    assert json.loads(json.dumps(found)) == found
    assert found["compression"] >= least
    figures = found["figures"]
    assert figures["perplexity"] == pytest.approx(2 ** figures["test"], abs=0.01)
    assert figures["lost"] == pytest.approx(figures["perplexity"] / figures["dense"] - 1, abs=1e-3)
    assert (start.folder(tmp_path) / "model.slin").exists()


def test_weights_make_frequent_words_err_less():
    rng = np.random.default_rng(1)
    params = {
        "embed": {"embedding": rng.normal(size=(60, 16)).astype(np.float32)},
        "out": {"kernel": rng.normal(size=(16, 60)).astype(np.float32), "bias": np.zeros(60)},
    }
    counts = vocabulary.counts(vocabulary.text())
    assert counts.min() == 1
    errors = []
    for name in ("SVD", "weighted SVD"):
        way = vocabulary.WAYS[name]
        made = vocabulary.fitted(params, way.spec, counts if way.weighted else None)
        assert made["out"]["kernel"].shape == (16, 60)
        assert made["out"]["bias"] is params["out"]["bias"]
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(sl.densify(made)), strict=True)
        embed, kernel = (np.square(a - b) for a, b in pairs if a.ndim == 2)
        errors.append(counts @ (embed.sum(1) + kernel.sum(0)))
    assert errors[1] < errors[0]
