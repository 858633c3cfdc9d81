"""The benchmark of projection networks, on a few small examples."""

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
from structlin.networks import ProjectionNet

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "training")]

bench, tables = (importlib.import_module(name) for name in ("projections", "_projection_tables"))
data, batches, digits, labelled, speed, texts = (
    importlib.import_module(name)
    for name in (
        *("_data", "_digit_batches", "_projection_digits", "_labelled_texts"),
        *("_projection_speed", "_projection_texts"),
    )
)
ASKED = {"flight": "fly to boston", "fare": "what does it cost", "city": "where is this town"}
SOME = texts.Settings(epochs=8, size=64, batch=16)


@pytest.fixture
def pictures(rng, monkeypatch):
    """Pictures of noise that is brighter on one side or the other."""

    def part(n):
        y = rng.integers(0, 2, n).astype(np.int32)
        x = rng.random((n, 28, 28)).astype(np.float32)
        x[:, :, :14] += y[:, None, None]
        return data.Labelled(x - x.mean(), np.full(n, 28, np.int32), y)

    known = data.Sequences("small", part(200), part(60), part(60), tuple("0123456789"))
    monkeypatch.setattr(digits, "digits", lambda limit: known)
    return known


@pytest.fixture
def known(rng, monkeypatch):
    """Texts whose label one word gives away."""

    def part(count):
        names = sorted(ASKED)
        targets = rng.integers(0, 3, count).astype(np.int32)
        others = ["please", "now", "me", "early", "show", "and"]
        made = [f"{rng.choice(others)} {ASKED[names[t]]} {rng.choice(others)}" for t in targets]
        return labelled.Part(made, targets)

    found = labelled.Texts("small", tuple(sorted(ASKED)), part(160), part(30), part(60))
    monkeypatch.setattr(texts, "texts_of", lambda name, limit: found)
    monkeypatch.setattr(speed, "texts_of", lambda name, limit: found)
    return found


def test_bits_are_the_signs_of_every_network(pictures):
    batch = batches.batches(pictures.train, 50, 3, moved=False, bits=True, pixels=True)(0, 0)
    bits = sl.functional.unpack_signs(jnp.asarray(batch.bits), batches.WIDEST)
    for functions, width in ((8, 10), (70, 12)):
        made = sl.Projection(functions, width, seed=3)
        signs = np.asarray(made(jnp.asarray(batch.pixels.reshape(50, -1))))
        assert np.mean(signs != bits[:, : made.features]) < 1e-3  # sums in another order


def test_digits_move_by_a_pixel_and_their_bits_with_them(pictures):
    make = batches.batches(pictures.train, 50, 0, moved=True, bits=True, pixels=True)
    batch, again = make(0, 0), make(0, 0)
    assert_array_equal(batch.pixels, again.pixels)
    rows, _, y = data.Batches(
        data.Labelled(np.arange(200), pictures.train.lengths, pictures.train.y), 50
    )(0, 0)
    assert_array_equal(batch.y, y)
    inner, moved = np.s_[2:-2, 2:-2], 0
    for row, pixels in zip(rows, batch.pixels, strict=True):
        whole = pictures.train.x[row]
        shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        seen = [np.roll(whole, shift, (0, 1))[inner] for shift in shifts]
        (found,) = (s for s, x in zip(shifts, seen, strict=True) if (x == pixels[inner]).all())
        moved += found != (0, 0)
    assert moved > 30
    signs = sl.functional.unpack_signs(jnp.asarray(batch.bits), 80)
    want = sl.Projection(8, 10)(jnp.asarray(batch.pixels.reshape(50, -1)))
    assert np.mean(np.asarray(want) != signs) < 1e-3


def test_pupils_beside_each_other_learn_as_each_alone(pictures):
    modules = {"a": ProjectionNet(10, 8, 10), "b": ProjectionNet(10, 10, 12, (8,))}
    modules["teacher"] = digits.Flat(digits.Head(10, (16,)))
    x = pictures.train.x[:1]
    params = {
        name: module.init(jax.random.key(1), digits._given(module, x))["params"]
        for name, module in modules.items()
    }
    batch = batches.batches(pictures.train, 50, 0, moved=False, bits=True, pixels=True)(0, 0)

    def grads(*names):
        some = {name: modules[name] for name in names}

        def loss(params):
            return digits._loss(some, (1.0, 0.1, 1.0), 0.0, params, batch, jax.random.key(0))

        return jax.jit(jax.grad(loss))({name: params[name] for name in names})

    together, alone = grads("a", "b", "teacher"), grads("a", "teacher")
    for name in alone:
        jax.tree.map(lambda u, v: assert_allclose(u, v, atol=1e-6), together[name], alone[name])
    pixels = jnp.asarray(batch.pixels)
    soft = modules["teacher"].apply({"params": params["teacher"]}, digits._given(None, pixels))
    own = modules["a"].apply({"params": params["a"]}, pixels.reshape(50, -1))
    want = sl.train.distill(own, soft, jnp.asarray(batch.y)).mean()
    some = {name: modules[name] for name in alone}
    given = {name: params[name] for name in alone}
    found = digits._loss(some, (1.0, 0.1, 1.0), 0.0, given, batch, jax.random.key(0))
    assert_allclose(found, want, rtol=1e-3)


def test_digits_are_learnt_and_sizes_are_the_papers(pictures, tmp_path, monkeypatch):
    net = digits.GROUPS["plain"].nets["T=8, d=10"]
    teacher = digits.Net(lambda _: digits.Flat(digits.Head(10, (16,))), 784 * 16 + 16 + 170, 98.9)
    group = digits.Group({"small": net}, teacher, 6, moved=True, dropout=0.1)
    monkeypatch.setitem(digits.GROUPS, "few", group)
    monkeypatch.setattr(digits, "BATCH", 20)
    found = digits.digit_row("few", "joint", 0).measure(tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert found["figures"]["small"]["params"] == 810
    assert found["figures"]["small"]["test"] > 75
    assert found["figures"]["teacher"]["test"] > 75
    wrong = digits.Group({"small": net._replace(params=811)}, teacher, 1, moved=False)
    monkeypatch.setitem(digits.GROUPS, "wrong", wrong)
    with pytest.raises(AssertionError, match="has 810 parameters; by the paper 811"):
        digits.digit_row("wrong", "self", 0).measure(tmp_path / "wrong")


def check(found):
    """Raises unless the figures of a row are good, and worse with mistakes."""
    assert json.loads(json.dumps(found)) == found
    assert found["figures"]["test"] > 80
    assert found["figures"]["edited"] <= found["figures"]["test"]


def test_texts_are_learnt_within_their_bytes(known, tmp_path):
    rows = (make("small", "tiny bag", SOME, 0) for make in (texts.projection_row, texts.word_row))
    ours, words = (row.measure(tmp_path) for row in rows)
    check(ours)
    check(words)
    assert words["bytes"] <= ours["bytes"] < ours["file"]
    kernels = 3 * 64 * 16 + 3 * 16 * 3
    assert ours["bytes"] - kernels < 400  # biases and tables of levels


@pytest.mark.parametrize("kind", texts.SKLEARN)
def test_linear_models_of_scikit_learn_are_as_large_as_asked(kind, known, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is in the extra benchmarks")
    found = texts.sklearn_row("small", kind, SOME, 0, against="tiny bag").measure(tmp_path)
    check(found)
    assert 3000 < found["bytes"] < 4000
    whole = texts.sklearn_row("small", kind, SOME, 0).measure(tmp_path)
    check(whole)
    assert whole["bytes"] == 4 * 3 * (2**18 + 1)


def test_a_table_of_words_is_as_large_as_fits(known):
    against = texts.network_of("tiny words", 3, SOME)
    drawn = against.init(jax.random.key(0), against.arrays(known.train.texts[:1]))
    most = texts.held_bytes(texts.coded(drawn))
    for size, whole in ((most, True), (most - 500, False)):
        made = texts.Words.within(size, against.module, 3, known)
        params = made.init(jax.random.key(0), made.arrays(known.train.texts))
        took = texts.held_bytes(texts.coded(params)) + made.list_bytes
        assert took <= size
        assert whole == (len(made.words) == 17) == (took < size - 40)


def test_mistakes_are_as_many_as_asked():
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(list("abcdefgh "), 5000))
    same = labelled.edited(text, 0.0, rng)
    assert same == text
    wrong = labelled.edited(text, 0.1, np.random.default_rng(1))
    assert wrong == labelled.edited(text, 0.1, np.random.default_rng(1))
    assert abs(len(wrong) - len(text)) < 100
    blocks = zip(*(iter(text[:40]),) * 4, strict=True)
    assert sum("".join(b) in wrong for b in blocks) < 10
    kept = sum(text[i : i + 10] in wrong for i in range(0, 5000, 10)) / 500
    assert 0.2 < kept < 0.55  # 0.9 ** 10 is 0.35


def test_the_speed_of_a_model_that_is_there(known, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "MANY", 100)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(speed, "ONE", 2)
    row = speed.speed_row("small", "tiny bag", SOME, 1)
    folder = row.folder(tmp_path)
    folder.mkdir()
    figures = row.measure(folder)["figures"]
    assert 0 < figures["microseconds"] <= figures["microseconds, 9 of 10"]
    assert figures["texts a second"] > 0


def test_features_are_compared(known, tmp_path):
    figures = speed.features_row("small", "tiny bag", SOME, 5).measure(tmp_path)["figures"]
    assert figures == {"texts": 5, "numbers": 3 * 5 * 65, "different": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["atis", "emoji_tweeteval"])
def test_features_of_real_texts_agree(name, data_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("STRUCTLIN_DATA", str(data_dir))
    for network in ("tiny bag", "tiny words"):
        row = speed.features_row(name, network, bench.SETTINGS[name], 100)
        figures = row.measure(tmp_path)["figures"]
        assert figures["texts"] == 100
        assert figures["different"] == 0


def test_every_row_has_a_name_of_its_own():
    found = bench.rows()
    assert len({row.name for row in found}) == len(found)
    assert all(json.dumps(row.recipe) for row in found)


def test_tables_show_every_row():
    figures = {"valid": 1.0, "test": 90.0, "test macro-F1": 80.0, "edited": 70.0}
    net = {"params": 810, "published": 70.6, "valid": 1.0, "test": 77.0}
    rows = [
        {"name": "digits, plain, self, seed 0", "recipe": {}, "figures": {"T=8, d=10": net}},
        {"name": "features, atis, SGNN", "recipe": {}, "figures": {"texts": 1, "n": 2, "d": 0}},
    ]
    for seed in (0, 1):
        found = figures | {"test": 90.0 + seed}
        recipe = {"seed": seed}
        rows.append(
            {
                "name": f"atis, tiny bag, seed {seed}",
                "recipe": recipe,
                "figures": found,
                "bytes": 5000,
            }
        )
    made = {
        part: tables.TABLES[f"projections/{part}"]({"rows": rows})
        for part in ("digits", "texts", "mistakes", "features")
    }
    assert "| T=8, d=10 | 810 | 3,453x | 70.6 | 77.0 |  |" in made["digits"]
    assert "| 5,000 | 90.5 ± 0.5 | 80.0 ± 0.0 |" in made["texts"]
    assert "| ATIS | tiny bag | 5,000 | 90.5 ± 0.5 | 70.0 ± 0.0 | 20.5 ± 0.5 |" in made["mistakes"]
    assert "| ATIS | SGNN | 1 | 2 | 0 |" in made["features"]
    timed = {"microseconds": 200.4, "texts a second": 60000, "bytes of a text": 64.0}
    row = {"name": "atis, small bag, 1 core", "recipe": {"cores": 1}, "figures": timed}
    table = tables.TABLES["projections_speed"]({"rows": [row]})
    assert "| ATIS | small bag | 64 | 200 | 60,000 |" in table


def test_the_command_is_run_on_all_parts_and_shown(rng, tmp_path, monkeypatch):
    command = importlib.import_module("train_command")

    def part(n):
        targets = rng.integers(0, 3, n).astype(np.int32)
        return labelled.Part(
            [f"{list(ASKED.values())[i]} {rng.random()}" for i in targets], targets
        )

    parts = part(60), part(20), labelled.Part(["what is that"], np.array([-1], np.int32))
    whole = labelled.Texts("atis", tuple(ASKED), *parts)
    monkeypatch.setattr(labelled, "texts", lambda name, limit: whole)
    monkeypatch.setattr(command, "SIZES", "tiny")
    monkeypatch.setitem(command.OPTIONS, "atis", ["--epochs", "1", "--distill", "none"])
    found = command.row("atis").measure(tmp_path)
    (model,) = found["models"]
    assert model["size"] == "tiny"
    assert model["accuracy"] == 0  # the label is another
    table = tables.TABLES["train_command"]({"rows": [{"name": "atis"} | found]})
    assert f"| tiny | {model['kind']} |  | 0.0 | " in table
