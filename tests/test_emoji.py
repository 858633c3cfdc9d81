"""The emoji recommender of the examples: messages, rows by name, all steps, and its answers."""

import importlib
import io
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin.storage import EmbeddingStore

FOLDER = Path(__file__).parents[1] / "examples" / "emoji"
sys.path.append(str(FOLDER))

measure, recommender, suggest, training, train, tweets, words = map(
    importlib.import_module,
    ("_measure", "_recommender", "suggest", "_training", "train", "_tweets", "_words"),
)

HINTS = {"❤": "love my mum", "🔥": "this track is fire", "🎄": "merry christmas tree"}
PLACES = ("at home", "in california !", "#sundayfunday", "with @user", "tonight ...")
SMALL = {"dim": 8, "hidden": 8, "least": 2, "pieces": 60, "steps": 30, "retrain": 12, "batch": 8}
SMALL |= {"rate": 0.03, "dropout": 0.0, "reduced": 2.0, "doped": 2.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder like TweetEval's, of messages that two words decide."""
    folder = tmp_path_factory.mktemp("tweets")
    lines = [f"{i}\t{emoji}\t_name_\n" for i, emoji in enumerate(HINTS)]
    (folder / "mapping.txt").write_text("".join(lines), "utf-8")
    for part, start in zip(tweets.PARTS, (0, 1, 2), strict=True):
        rows = list(itertools.product(enumerate(HINTS.values()), PLACES, ("so", "all", "now")))
        rows = rows if part == "train" else rows[start::3]
        texts = [f"{hint} {place} {last}\n" for (_, hint), place, last in rows]
        (folder / f"{part}_text.txt").write_text("".join(texts), "utf-8")
        (folder / f"{part}_labels.txt").write_text(
            "".join(f"{y}\n" for (y, _), *_ in rows), "utf-8"
        )
    return folder


@pytest.fixture(scope="module")
def commanded(data, tmp_path_factory):
    """What the script leaves, and how to run it again; one process answers for all folders."""
    out = tmp_path_factory.mktemp("out")

    def run(**settings):
        options = itertools.chain(*((f"--{k}", str(v)) for k, v in (SMALL | settings).items()))
        with pytest.MonkeyPatch.context() as patch:
            asked, answers = measure.answers, []

            def once(*arguments):
                answers[1:] = [] if answers else [asked(*arguments)]
                return answers[0]

            patch.setattr(measure, "answers", once)
            command = ["train.py", "--data", str(data), "--out", str(out), *options]
            patch.setattr(sys, "argv", [*command, "--variant", "classic", "structured"])
            train.main()
        return json.loads((out / "figures.json").read_text("utf-8"))["rows"]

    return out, run, run()


def test_messages_are_words_whatever_they_are_written_with():
    assert words.words("Sooooo GOOD!!! &amp; #Funday @user don’t") == [
        *("soo", "good", "!!", "&", "#funday", "@user", "don’t")
    ]
    assert words.words("love \ufe0f \ufe0f\u200d you") == ["love", "you"]
    assert words.words("love \ufe0f you", selectors=True) == ["love", "\ufe0f", "you"]
    assert len(words.words("word " * 99)) == words.LONGEST
    assert words.words(" \n") == []


def test_rows_are_of_frequent_words_and_of_the_pieces_of_most():
    assert words.vocabulary([["sun", "sunday"], ["sun", "funday"]], 2, 1) == (["sun"], ["~<su"])
    everything = {piece: i for i, piece in enumerate(words.pieces("wonderfulness"))}
    found = words.known_pieces("wonderfulness", everything)
    assert len(set(found)) == words.MOST
    assert max(found) > len(everything) * 0.9
    assert words.pieces("#abc") == ["~<ab", "~abc", "~bc>", "~<abc", "~abc>", "~<abc>"]


def test_batches_have_every_message_once(data):
    part = tweets.read(data).val
    found = list(tweets.batches(part, 4))
    assert sorted(y for b in found for y in b.y if y >= 0) == sorted(part.y)
    for batch in found:
        assert batch.places.shape[1] == tweets.shortest(batch.lengths.max())
        for ids, length in zip(batch.types[batch.places], batch.lengths, strict=True):
            known = (part.ids[:, :length] == ids[:length]).all(1) & (part.lengths == length)
            assert known.any() or not ids.any()
    again = [next(iter(tweets.batches(part, 4, seed))) for seed in (0, 0, 1)]
    assert_array_equal(again[0].y, again[1].y)
    assert len(list(tweets.batches(part, 4, 0))) == len(part.y) // 4


def test_a_rare_word_is_read_by_its_pieces(tmp_path):
    names = ["sun", "~day", "~ay>"]
    rows = np.array([[1.0, 2.0], [4.0, -2.0], [0.0, 6.0]], np.float32)
    memory = recommender.MemoryRows({name: i for i, name in enumerate(names)}, rows)
    store = EmbeddingStore.build(tmp_path / "words.db", rows, names, bits=32)
    for kept in (memory, store):
        model = recommender.Model({}, kept, ("a",), {"hidden": 1, "words": 1})
        found = model.vectors(["sun", "#today", "day", "?", "say"])
        assert_allclose(found, [[1, 2], [2, 2], [2, 2], [0, 0], [0, 6]])


def test_every_step_is_measured_and_smaller(commanded, data):
    out, _, rows = commanded
    found = {row["name"]: row for row in rows}
    assert list(found) == [
        *("dense", "rows-3-bit", "float16", "pruned-50", "pruned-75", "pruned-90", "rows-2-bit"),
        *("group-reduced", "doped-kron"),
    ]
    for name, row in found.items():
        files = {file.name: file.stat().st_size for file in (out / name).iterdir()}
        assert row["files"] == files
        assert row["bytes"] == sum(files.values())
        assert row["test"]["accuracy"] <= row["test"]["accuracy_5"] == 100
    assert found["dense"]["test"]["accuracy"] == found["dense"]["test"]["macro_f1"] == 100
    assert found["dense"]["answers"]["resident_bytes"] > found["dense"]["answers"]["model_bytes"]
    assert found["dense"]["answers"]["milliseconds"] > 0
    assert found["float16"]["files"]["words.db"] == found["rows-3-bit"]["files"]["words.db"]


def test_pruned_kernels_keep_what_was_asked_in_half_precision(commanded):
    out, _, _ = commanded
    for name, density in (("pruned-50", 0.5), ("pruned-75", 0.25), ("rows-2-bit", 0.125)):
        params = recommender.open_model(out / name).params
        for layer in ("first", "second"):
            for side in "ih":
                kernel = params[layer][side]["kernel"]
                assert isinstance(kernel, sl.matrices.Sparse)
                assert kernel.values.shape == (round(density * 8), 24)
                assert kernel.values.dtype == np.float16
    doped = recommender.open_model(out / "doped-kron").params["second"]["h"]["kernel"]
    assert isinstance(doped, sl.matrices.Sum)


def test_a_folder_answers_as_it_was_measured(commanded, data):
    out, _, rows = commanded
    read = tweets.read(data)
    for name in ("dense", "rows-2-bit", "doped-kron"):
        model = recommender.open_model(out / name)
        messages = [" ".join(message) for message in read.messages(read.test)]
        first = [model.suggest(message, 1)[0][0] for message in messages]
        right = np.mean(
            [read.labels.index(a) == y for a, y in zip(first, read.test.y, strict=True)]
        )
        row = next(row for row in rows if row["name"] == name)
        assert_allclose(100 * right, row["test"]["accuracy"])
        assert_allclose(sum(p for _, p in model.suggest(messages[0], 3)), 1, rtol=1e-5)


def test_what_is_done_is_not_done_again(commanded, capsys):
    out, run, rows = commanded
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    assert run() == rows
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before
    assert "doped-kron" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="dense .* was made by .* give another --out"):
        run(seed=1)


def answered(monkeypatch, capsys, folder, text):
    monkeypatch.setattr(sys, "argv", ["suggest.py", str(folder), "--count", "2"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    suggest.main()
    return capsys.readouterr().out.splitlines()


def test_lines_are_answered(commanded, monkeypatch, capsys):
    out, _, _ = commanded
    lines = answered(monkeypatch, capsys, out / "pruned-50", "love my mum\n\nchristmas tree !\n")
    assert lines[0].startswith("❤ ")
    assert lines[2].startswith("🎄 ")
    assert lines[1] == "no words"


@pytest.mark.parametrize("damage", ["missing", "foreign", "cut", "without rows"])
def test_wrong_folders_are_named(commanded, monkeypatch, capsys, tmp_path, damage):
    out, _, _ = commanded
    content = (out / "pruned-50" / "model.slin").read_bytes()
    if damage == "foreign":
        sl.save(tmp_path / "model.slin", {})
    elif damage != "missing":
        (tmp_path / "model.slin").write_bytes(content[: -8 if damage == "cut" else None])
    with pytest.raises(SystemExit, match=str(tmp_path)):
        answered(monkeypatch, capsys, tmp_path, "love\n")


def test_wrong_data_are_named(data, tmp_path):
    with pytest.raises(SystemExit, match=r"no .*mapping\.txt: give the folder of TweetEval"):
        tweets.read(tmp_path)
    for file in data.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "val_labels.txt").write_text("0\n", "utf-8")
    with pytest.raises(SystemExit, match="15 messages and 1 labels to val"):
        tweets.read(tmp_path)


def test_the_table_has_a_line_for_each_step():
    sys.path.append(str(FOLDER.parents[1] / "benchmarks"))
    table = importlib.import_module("_emoji_table").emoji
    test = {"accuracy": 30.0, "accuracy_5": 60.06, "macro_f1": 25.0}
    answers = {"resident_bytes": 3e8, "model_bytes": 2e7, "milliseconds": 1.5}
    rows = [
        {"name": name, "bytes": size, "test": test, "answers": answers}
        for name, size in (("dense", 1200), ("small", 100))
    ]
    last = "| small | 100 | 12.0x | 30.0 | 60.1 | 25.0 | 20 | 300 | 1.50 |"
    assert table({"rows": rows}).splitlines()[-1] == last


def test_real_tweets_are_as_they_are_described(data_dir):
    folder = data_dir / "emoji_tweeteval"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    labels = [
        line.split("\t")[1] for line in (folder / "mapping.txt").read_text("utf-8").splitlines()
    ]
    assert len(labels) == 20
    for part, count in zip(tweets.PARTS, (45_000, 5_000, 50_000), strict=True):
        texts = (folder / f"{part}_text.txt").read_text("utf-8").rstrip("\n").split("\n")
        y = np.array((folder / f"{part}_labels.txt").read_text("utf-8").split(), int)
        assert len(texts) == len(y) == count
        marked = np.array(["\ufe0f" in text for text in texts])
        share = {emoji: marked[y == i].mean() for i, emoji in enumerate(labels)}
        tell = [emoji for emoji in labels if share[emoji] > 0.05]
        assert set(tell) == {"❤", "☀"}  # the answer, left in the question
        assert min(share[emoji] for emoji in tell) > (0.05 if part == "val" else 0.8)
