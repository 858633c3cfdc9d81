"""The demo from text to table, on a model and a text that are tiny."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from rich.console import Console

import structlin as sl
from structlin import demo
from structlin.demo import _run, _training
from structlin.demo._contenders import CONTENDERS, sized
from structlin.demo._latency import measure
from structlin.demo._model import CharLM, compress_lstm, dense_init, lstm_kernels
from structlin.demo._results import summary, write_json
from structlin.demo._sample import sample
from structlin.matrices import cost

TEXT = "the quick brown fox jumps over the lazy dog; " * 90
SHAPES = ((64, 1024), (256, 1024))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run with two seeds; its folder and its table."""
    folder = tmp_path_factory.mktemp("demo")
    text = folder / "fox.txt"
    text.write_text(TEXT)
    settings = demo.Settings(
        out=folder / "out",
        text=text,
        structures=("LowRank", "DopedKron"),
        compression=4,
        epochs=8,
        seeds=(0, 1),
        hidden=16,
    )
    small = pytest.MonkeyPatch()
    small.setattr(_run, "TEST_STREAMS", 4)
    console = Console(quiet=True)
    table = demo.run(settings, console)
    small.undo()
    return settings, table


def test_table_holds_every_figure(finished):
    settings, table = finished
    assert json.loads((settings.out / "table.json").read_text()) == table
    assert [r["structure"] for r in table["rows"]] == ["Dense", "LowRank", "DopedKron"]
    assert table["settings"]["seeds"] == [0, 1]
    for row in table["rows"]:
        bits = row["bits_per_character"]
        stages = [s for s in ("projected", "tuned", "packed", "reloaded") if s in bits]
        assert stages[-3:] == ["tuned", "packed", "reloaded"]
        assert ("projected" in bits) == (row["structure"] != "Dense")
        for stage in stages:
            assert len(bits[stage]["values"]) == 2
            assert np.mean(bits[stage]["values"]) == pytest.approx(bits[stage]["mean"], abs=1e-3)
            assert bits[stage]["std"] >= 0
        assert_allclose(bits["packed"]["values"], bits["tuned"]["values"], rtol=1e-3)
        assert bits["reloaded"]["values"] == bits["packed"]["values"]
        assert row["microseconds_per_character"] == min(row["microseconds_by_form"].values())
    dense, *others = table["rows"]
    assert dense["speedup"] == 1.0
    assert "nn.RNN" in dense["microseconds_by_form"]
    for row in others:
        assert row["compression"] >= 4
        assert (
            row["bits_per_character"]["tuned"]["mean"]
            < row["bits_per_character"]["projected"]["mean"]
        )


def test_files_are_there_and_bytes_are_those_of_the_kernels(finished):
    settings, table = finished
    assert (settings.out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    for row in table["rows"]:
        for seed in settings.seeds:
            path = settings.out / f"{row['structure']}-{seed}.slin"
            params = sl.load(path)
            assert cost(lstm_kernels(params)).bytes == row["bytes"]
            metadata = sl.storage.read_metadata(path)
            assert metadata["hidden"] == 16
            model = CharLM(len(metadata["vocabulary"]), hidden=metadata["hidden"])
            carry, logits = model.apply(
                {"params": params}, jnp.zeros((3, 1), int), model.zero_carry(1)
            )
            assert logits.shape == (3, 1, len(metadata["vocabulary"]))
    assert not [p for p in settings.out.iterdir() if p.name.startswith(".")]


def test_an_interruption_leaves_what_is_finished(tmp_path, monkeypatch):
    text = tmp_path / "fox.txt"
    text.write_text(TEXT)
    monkeypatch.setattr(_run, "TEST_STREAMS", 4)
    calls = []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return _training.fit(*args, **kwargs)

    monkeypatch.setattr(_run, "fit", interrupted)
    settings = demo.Settings(
        out=tmp_path / "out",
        text=text,
        structures=("LowRank", "Kron"),
        compression=4,
        epochs=1,
        hidden=16,
    )
    with pytest.raises(KeyboardInterrupt):
        demo.run(settings, Console(quiet=True))
    table = json.loads((settings.out / "table.json").read_text())
    assert [r["structure"] for r in table["rows"]] == ["Dense", "LowRank"]
    assert table["rows"][1]["microseconds_per_character"] is None
    assert (settings.out / "pareto.png").exists()
    assert (
        cost(lstm_kernels(sl.load(settings.out / "LowRank.slin"))).bytes
        == table["rows"][1]["bytes"]
    )


@pytest.mark.parametrize("name", CONTENDERS)
@pytest.mark.parametrize("compression", [4, 10, 20])
def test_contenders_share_one_budget(name, compression):
    specs = sized(CONTENDERS[name], compression, SHAPES)
    total = specs[0].cost(SHAPES[0]) + specs[1].cost(SHAPES[1])
    assert compression <= total.compression < 2 * compression
    if name in ("LowRank", "HMD", "Sparse", "DopedKron"):
        assert total.compression < 1.1 * compression


def test_annealed_start_is_the_dense_model():
    model = CharLM(11, hidden=16)
    params = dense_init(model, jax.random.key(0))
    contender = CONTENDERS["DopedKron"]
    specs = sized(contender, 4, ((64, 64), (16, 64)))
    start = compress_lstm(params, contender.annealed(specs))
    tokens = jnp.arange(22).reshape(11, 2) % 11
    expected = model.apply({"params": params}, tokens, model.zero_carry(2))
    got = model.apply({"params": start}, tokens, model.zero_carry(2))
    jax.tree.map(lambda a, b: assert_allclose(a, b, atol=1e-5), got, expected)
    assert float(params["cell"]["hf"]["bias"][0]) == 1.0


def test_a_loss_that_is_not_finite_stops_the_training():
    model = CharLM(5, hidden=4)
    params = dense_init(model, jax.random.key(0))
    params["out"]["bias"] = params["out"]["bias"] * jnp.nan
    with pytest.raises(demo.DivergedError, match="nan at step 0"):
        _training.fit(
            model, params, np.zeros((2, 9, 2), np.int32), steps=3, learning_rate=1e-3, seed=0
        )


def test_bits_of_a_uniform_model_are_the_logarithm_of_the_vocabulary():
    model = CharLM(8, hidden=4)
    params = jax.tree.map(jnp.zeros_like, dense_init(model, jax.random.key(0)))
    bits = _training.bits_per_character(model, params, np.zeros((2, 9, 2), np.int32))
    assert bits == pytest.approx(3.0, abs=1e-5)


def test_samples_and_latencies_are_of_the_model():
    corpus = demo._corpus.load_corpus()
    model = CharLM(len(corpus.vocabulary), hidden=8)
    params = dense_init(model, jax.random.key(0))
    text = sample(model, params, corpus, 40, seed=0)
    assert len(text) == 40
    assert text == sample(model, params, corpus, 40, seed=0)
    times = measure({"Dense": (model, params)}, corpus.test)
    assert set(times["Dense"]) == {"vector", "row", "nn.RNN"}
    assert all(0 < t < 1e5 for t in times["Dense"].values())


def test_summary_of_nothing_has_no_rows():
    assert summary([], {"text": "x"})["rows"] == []


def test_json_has_lists_of_numbers_in_a_line(tmp_path):
    content = {"a": [1, -2.5e-9], "b": "[\n 1\n]", "c": [[3, 4], []], "d": ["x", 5], "e": [None]}
    write_json(tmp_path / "file.json", content)
    text = (tmp_path / "file.json").read_text("utf-8")
    assert json.loads(text) == content
    assert '"a": [1, -2.5e-09],' in text
    assert "    [3, 4]," in text
