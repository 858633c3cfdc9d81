"""``structlin train`` and ``structlin predict``: examples in, models and labels out."""

import contextlib
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from command import one_line

import structlin as sl
from structlin import builder
from structlin.builder import _measure, _networks, _run, _training
from structlin.cli import _train as command

WORDS = {"flight": "fly flights flying", "fare": "fare price cost", "city": "where city town"}
SMALL = {
    "bag": _networks._bag(16, 4),
    "words": _networks._words(16, 4, 4, False, sl.specs.Dense()),
    "signs": _networks._signs(8, 4, ()),
}

draw = _training._drawn


def write_texts(path, count, seed=0, labels=WORDS):
    """Texts that one word decides, as lines of a label, a tab and a text."""
    rng = np.random.default_rng(seed)
    others = ["the", "to", "from", "please", "in", "show", "me", "boston", "dallas", "early"]
    lines = []
    for label in rng.choice(list(labels), count):
        words = [*rng.choice(others, 5), rng.choice(WORDS[label].split())]
        lines.append(f"{label}\t{' '.join(rng.permutation(words))}\n")
    path.write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def texts(tmp_path):
    write_texts(tmp_path / "data.tsv", 160)
    write_texts(tmp_path / "test.tsv", 60, seed=1)
    return tmp_path


@pytest.fixture
def arrays(tmp_path, rng):
    y = np.repeat([0, 1], 40)
    x = rng.normal(size=(80, 6, 6)) + 2 * y[:, None, None] * np.eye(6)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path


def only(monkeypatch, *kinds, sizes=("tiny", "small", "teacher")):
    """Networks of these kinds alone, all very small."""
    makers = {kind: SMALL[kind] for kind in kinds}
    monkeypatch.setattr(_networks, "SIZES", dict.fromkeys(sizes, makers))


def test_from_examples_to_labels(cmd, texts, monkeypatch):
    out = texts / "model"
    args = [
        "data.tsv",
        "--test",
        "test.tsv",
        "--sizes",
        "tiny",
        "--distill",
        "none",
        "--epochs",
        "20",
    ]
    status, shown, err = cmd("train", *args)
    assert (status, err) == (0, "")
    (row,) = json.loads((out / "report.json").read_text())["rows"]
    assert "tiny" in shown
    assert f"{row['bytes']:,}" in shown
    assert row["accuracy"] > 0.8
    assert row["macro_f1"] > 0.8
    assert row["microseconds"] > 0
    assert set(row["candidates"]) == {"bag", "words"}
    assert row["bytes"] == (out / "tiny.slin").stat().st_size
    assert (out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "pareto.svg").exists()
    assert not (out / ".unfinished").exists()

    model = builder.load(out / "tiny.slin")
    test = builder.read(texts / "test.tsv")
    found = model.predict(test.inputs)
    assert np.mean([a == b for a, b in zip(found, test.labels, strict=True)]) == row["accuracy"]
    chances = model.probabilities(["what does it cost", "", "é\ud800"])
    np.testing.assert_allclose(chances.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.probabilities([""]), chances[1:2], atol=1e-6)

    status, shown, _ = cmd("predict", out / "tiny.slin", "what does the fare cost")
    label, chance = shown.rstrip("\n").split("\t")
    assert (status, label) == (0, model.predict(["what does the fare cost"])[0])
    assert 0 < float(chance) <= 1
    lines = io.TextIOWrapper(io.BytesIO(b"fly to boston\r\n\nwhere is \xe9\n"))
    monkeypatch.setattr(sys, "stdin", lines)
    status, shown, _ = cmd("predict", out / "tiny.slin", "--top", 2, "--json")
    first, empty, last = map(json.loads, shown.splitlines())
    assert first["text"] == "fly to boston"
    assert empty["text"] == ""
    assert "\ufffd" in last["text"]
    one, two = first["labels"]
    assert one["probability"] >= two["probability"]
    assert one["label"] != two["label"]


@pytest.mark.slow
def test_the_blocks_of_the_page_run(cmd, texts, arrays, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "train-command.md"
    only(monkeypatch, "bag", "signs", sizes=("tiny", "small", "medium", "teacher"))
    monkeypatch.setattr(_run, "EPOCHS", (1, 1))
    monkeypatch.setattr(_measure, "SAMPLES", 1)
    (texts / "texts.txt").write_text("fly to boston\nwhat does it cost\n", encoding="utf-8")
    x = np.load(arrays / "data.npz")["x"]
    np.savez(arrays / "digits.npz", x=x)
    text, ran = page.read_text(encoding="utf-8"), 0
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```$", text, re.M | re.S):
        if language == "python":
            exec(compile(block, str(page), "exec"), {})
            continue
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if "<" in words:
                given = io.TextIOWrapper(io.BytesIO((texts / words.pop()).read_bytes()))
                monkeypatch.setattr(sys, "stdin", given)
                words.remove("<")
            if "digits.npz" in words:
                more = ["--out", "digits", "--sizes", "tiny", "--distill", "none"]
                assert cmd("train", "data.npz", *more)[0] == 0
                shutil.copy("digits/tiny.slin", words[2])
            status, shown, err = cmd(*words[1:])
            assert (status, err, words[0]) == (0, "", "structlin"), line
            ran += bool(shown.strip())
    assert ran == 5


def test_an_interrupted_build_goes_on(cmd, arrays, monkeypatch):
    only(monkeypatch, "signs")
    monkeypatch.setattr(_training, "EVERY", 0)
    trained = []

    @contextlib.contextmanager
    def progress(stop=None):
        def step(name, done, total, loss):
            trained.append((name, done))
            if stop == name and done > 2 * total / 3:
                raise KeyboardInterrupt

        yield step

    args = ["train", "data.npz", "--epochs", "3", "--sizes", "tiny"]
    monkeypatch.setattr(command, "_progress", lambda: progress("tiny signs, taught after"))
    status, shown, err = cmd(*args)
    assert status == 130
    assert "goes on from here" in one_line(err)
    assert "teacher" in shown  # what is done is told
    assert "tiny" not in shown
    trained.clear()
    monkeypatch.setattr(command, "_progress", progress)
    assert cmd(*args)[0] == 0
    assert {name for name, _ in trained} == {"tiny signs, taught after", "tiny signs"}
    assert trained[0][1] > 1  # not from the beginning
    (row, teacher) = json.loads((arrays / "model" / "report.json").read_text())["rows"]
    assert set(row["candidates"]) == {"signs", "signs alone"}
    assert teacher["size"] == "teacher"
    trained.clear()
    assert cmd(*args)[0] == 0
    assert not trained
    status, _, err = cmd(*args, "--seed", 1)
    assert status == 2
    assert "is of other data or settings" in one_line(err)
    assert cmd(*args, "--seed", 1, "--restart", "--distill", "none")[0] == 0
    assert [p.stem for p in (arrays / "model").glob("*.slin")] == ["tiny"]


def test_a_training_that_is_resumed_ends_with_the_same_numbers(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(_training, "EVERY", 0)
    network = _networks.Network(SMALL["signs"](2, None))
    x, y = rng.normal(size=(40, 6)).astype("f"), rng.integers(2, size=40).astype("i")
    examples, plan = ((x,), y, np.ones(40, "f"), None), _training.Plan(4, 8, seed=3)

    def fit(name, stop=np.inf):
        def progress(done, total, loss):
            if done > stop:
                raise KeyboardInterrupt

        file = tmp_path / name
        return _training.fit(network, examples, plan, checkpoint=file, mark="m", progress=progress)

    whole = fit("whole")
    with pytest.raises(KeyboardInterrupt):
        fit("parts", stop=12)
    assert sl.storage.read_metadata(tmp_path / "parts") == {"mark": "m", "epochs": 2}
    parts = fit("parts")
    assert not list(tmp_path.iterdir())
    np.testing.assert_array_equal(
        *(params["head"]["Dense_0"]["kernel"] for params in (whole, parts))
    )


def test_kernels_by_a_spec(cmd, texts, monkeypatch):
    only(monkeypatch, "words")
    args = ["--epochs", "1", "--sizes", "tiny", "--distill", "none"]
    spec = '{"spec": "LowRank", "rank": 2}'
    assert cmd("train", "data.tsv", *args, "--spec", spec)[0] == 0
    kernel = sl.load(texts / "model" / "tiny.slin")["forward_0"]["h"]["kernel"]
    assert isinstance(kernel, sl.matrices.Quantized)
    assert isinstance(kernel.decode(), sl.matrices.LowRank)
    assert builder.load(texts / "model" / "tiny.slin").predict(["fly", ""])


def test_a_teacher_that_learns_too(cmd, arrays, monkeypatch):
    only(monkeypatch, "signs")
    drawn = []
    monkeypatch.setattr(
        _training, "_drawn", lambda network, *rest: drawn.append(network) or draw(network, *rest)
    )
    args = ["--epochs", "20", "--sizes", "tiny", "--distill", "joint", "--balance", "0.5"]
    assert cmd("train", "data.npz", *args)[0] == 0
    (row,) = json.loads((arrays / "model" / "report.json").read_text())["rows"]
    assert (row["taught"], len(drawn)) == ("joint", 2)
    assert row["accuracy"] > 0.6


def test_arrays(cmd, arrays):
    args = ["train", "data.npz", "--sizes", "tiny", "--epochs", "12", "--distill", "none"]
    assert cmd(*args)[0] == 0
    (row,) = json.loads((arrays / "model" / "report.json").read_text())["rows"]
    assert set(row["candidates"]) == {"signs", "images"}
    model = builder.load(arrays / "model" / "tiny.slin")
    x, y = (np.load(arrays / "data.npz")[name] for name in "xy")
    assert np.mean(np.array(model.predict(x), int) == y) > 0.8
    status, shown, _ = cmd("predict", "model/tiny.slin", "data.npz")
    assert status == 0
    assert [line[0] for line in shown.splitlines()] == model.predict(x)
    with pytest.raises(ValueError, match=r"takes arrays \(examples, 6, 6\); given \(80, 6\)"):
        model.predict(x[:, 0])
    with pytest.raises(TypeError, match="takes arrays; given texts"):
        model.predict(["a text"])
    status, _, err = cmd("predict", "model/tiny.slin", "a text")
    assert status == 2
    assert "give an .npz file" in one_line(err)
    status, _, err = cmd("predict", "model/tiny.slin", "none.npz")
    assert status == 2
    assert "no file none.npz" in one_line(err)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere.tsv",), "There is no file nowhere.tsv"),
        (("data.xlsx",), "examples are read from .tsv"),
        (("latin.tsv",), "Line 2 of latin.tsv is not UTF-8"),
        (("data.tsv", "--encoding", "utf-99"), "No encoding is named 'utf-99'"),
        (("zeros.tsv",), "it is binary"),
        (("spaces.tsv",), "Line 1 of spaces.tsv has no tab"),
        (("few.tsv",), "few.tsv has 3 different rows: at least 20"),
        (("one.tsv",), "one.tsv has one label, 'city'"),
        (("noheader.csv",), "two of them label and text; it names city, where"),
        (("short.csv",), "Line 3 of short.csv has 1 columns; the first line has 2"),
        (("quote.csv",), "is no CSV"),
        (("bad.jsonl",), 'Line 2 of bad.jsonl is not {"text": ..., "label": ...}'),
        (("number.jsonl",), "Line 1 of number.jsonl: a text is a string"),
        (("noy.npz",), "must hold x, the inputs, and y"),
        (("shapes.npz",), "a label for each"),
        (("nan.npz",), "not finite"),
        (("data.tsv", "--valid", "empty.tsv"), "empty.tsv has no rows"),
        (("data.tsv", "--test", "good.npz"), "data.tsv holds texts and good.npz arrays (3,)"),
        (("data.tsv", "--sizes", "tiny,huge"), "The sizes are tiny, small, medium, large; given"),
        (("data.tsv", "--sizes", ","), "given none"),
        (("data.tsv", "--distill", "later"), "distill is one of after, joint, none"),
        (("data.tsv", "--balance", "2"), "balance is between 0 and 1"),
        (("data.tsv", "--epochs", "0"), "at least 1"),
        (("data.tsv", "--spec", "LowRnk"), "no spec is named 'LowRnk'"),
        (("data.tsv", "--spec", '{"spec": "Sparse", "density": 0.1}'), "by gradients alone"),
    ],
)
def test_what_cannot_be_trained(cmd, texts, args, message):
    (texts / "latin.tsv").write_bytes(b"city\twhere\nfare\tcaf\xe9\n")
    (texts / "zeros.tsv").write_bytes(b"a\0\t\0b\0")
    (texts / "spaces.tsv").write_text("city where is it\n")
    (texts / "few.tsv").write_text("a\tb\na\tb\nb\tc\na\td\n\t \nb\t\n")
    write_texts(texts / "one.tsv", 60, labels=["city"])
    (texts / "noheader.csv").write_text("city,where\n")
    (texts / "short.csv").write_text("label,text\na,b\nc\n")
    (texts / "quote.csv").write_text('label,text\na,"b"c"\n')
    (texts / "bad.jsonl").write_text('{"text": "a", "label": 1}\n["a"]\n')
    (texts / "number.jsonl").write_text('{"text": 3, "label": "a"}\n')
    (texts / "empty.tsv").write_text("\n")
    np.savez(texts / "noy.npz", x=np.ones((30, 3)))
    np.savez(texts / "shapes.npz", x=np.ones((30, 3)), y=np.ones(29, int))
    np.savez(texts / "nan.npz", x=np.full((30, 3), np.nan), y=np.ones(30, int))
    np.savez(texts / "good.npz", x=np.ones((30, 3)), y=np.ones(30, int))
    before = set(texts.iterdir())
    status, _, err = cmd("train", *args)
    assert status == 2
    assert message in one_line(err)
    assert set(texts.iterdir()) == before


def test_foreign_files_are_left_alone(cmd, texts):
    (texts / "file").write_text("in the way")
    status, _, err = cmd("train", "data.tsv", "--out", "file/model")
    assert status == 1
    assert "cannot write" in one_line(err)
    (texts / "model").mkdir()
    sl.save(texts / "model" / "tiny.slin", {"w": np.ones(3)})
    status, _, err = cmd("train", "data.tsv", "--restart")
    assert status == 2
    assert "is no model of this command" in one_line(err)
    for file, code, message in (
        ("model/tiny.slin", 1, "it holds other weights"),
        ("file", 1, "Cannot read"),
        ("none.slin", 2, "no file none.slin"),
    ):
        status, _, err = cmd("predict", file, "text")
        assert status == code
        assert message in one_line(err)
    sl.save(texts / "new.slin", {}, {"kind": "structlin classifier", "version": 99})
    status, _, err = cmd("predict", "new.slin", "text")
    assert status == 1
    assert "update structlin" in one_line(err)
    sl.save(texts / "odd.slin", {}, {"kind": "structlin classifier", "version": 1, "network": {}})
    assert cmd("predict", "odd.slin", "text")[0] == 1
    assert cmd("predict", "none.slin", "text", "--top", 0)[0] == 2


def test_a_loss_that_is_not_finite(cmd, texts, monkeypatch):
    only(monkeypatch, "bag")
    monkeypatch.setattr(_training, "RATE", float("nan"))
    status, _, err = cmd("train", "data.tsv", "--sizes", "tiny", "--distill", "none")
    assert status == 1
    assert "The loss is nan after" in one_line(err)
