"""``structlin store`` reads what embeddings come in, and says in a line what it cannot."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from command import one_line

import structlin as sl
from structlin.storage import EmbeddingStore

WORDS = ["the", "new york", "naïve"]


@pytest.fixture
def rows(rng):
    return rng.normal(size=(3, 4)).astype(np.float32)


def text(rows, words=WORDS, end=""):
    lines = (f"{w} {' '.join(map(str, row))}{end}\n" for w, row in zip(words, rows, strict=True))
    return "".join(lines)


def contents(path):
    with EmbeddingStore(path) as store:
        return list(store), store.take(np.arange(len(store)))


@pytest.mark.parametrize("kind", ["glove", "word2vec", "npy", "npz", "slin", "matrix"])
def test_every_kind_of_file_becomes_a_store(cmd, tmp_path, rows, kind):
    source = tmp_path / f"in.{kind if kind in ('npy', 'npz') else 'slin'}"
    words = ["--words", "words.txt"]
    (tmp_path / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
    if kind in ("glove", "word2vec"):
        source, words = tmp_path / "in.txt", []
        head = "3 4\n" if kind == "word2vec" else ""
        source.write_text(head + text(rows, end=" " if head else ""), encoding="utf-8")
    elif kind == "npy":
        np.save(source, rows)
    elif kind == "npz":
        np.savez(source, table=rows, bias=rows[0])
    else:
        table = sl.specs.LowRank(rank=3).fit(jnp.asarray(rows)) if kind == "matrix" else rows
        sl.save(source, {"embed": {"embedding": table}, "bias": rows[0]})
    status, out, err = cmd("store", "build", source, "out.db", "--bits", "32", *words)
    assert (status, err) == (0, "")
    assert "3 x 4, 32 bits, float, with words" in out
    given, stored = contents("out.db")
    assert given == WORDS
    np.testing.assert_allclose(stored, rows, rtol=1e-5, atol=1e-6)


def test_text_of_many_lines(cmd, tmp_path, rng):
    rows = rng.integers(-9, 9, (5000, 3))
    words = [f"w{i}" for i in range(5000)]
    (tmp_path / "in.vec").write_text(text(rows, words))
    assert cmd("store", "build", "in.vec", "out.db", "--bits", "16")[0] == 0
    given, stored = contents("out.db")
    assert given == words
    np.testing.assert_array_equal(stored, rows)


def test_an_array_is_chosen_by_name(cmd, tmp_path, rows):
    sl.save(tmp_path / "in.slin", {"a": rows, "b": {"c": rows + 1}})
    status, _, err = cmd("store", "build", "in.slin", "out.db")
    assert status == 2
    assert "has a, b/c: choose one by --name" in one_line(err)
    status, _, err = cmd("store", "build", "in.slin", "out.db", "--name", "c")
    assert status == 2
    assert "'c' is not among them" in one_line(err)
    assert cmd("store", "build", "in.slin", "out.db", "--name", "b/c", "--bits", "32")[0] == 0
    np.testing.assert_array_equal(contents("out.db")[1], rows + 1)


def test_show(cmd, tmp_path, rows):
    EmbeddingStore.build(tmp_path / "words.db", rows, WORDS, bits=32).close()
    status, out, _ = cmd("store", "show", "words.db", "new york", "#2", "--json", "figures.json")
    assert status == 0
    assert "words.db: 3 x 4, 32 bits, float, with words" in out
    assert f"{rows[1, 0]:.4f}"[:-1] in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["bytes"] == (tmp_path / "words.db").stat().st_size
    assert figures["keys"] == {"new york": rows[1].tolist(), "#2": rows[2].tolist()}


def test_coded_rows(cmd, tmp_path, rng):
    np.save(tmp_path / "in.npy", rng.normal(size=(200, 64)))
    coded = ("store", "build", "in.npy", "out.db", "--coding", "huffman")
    status, out, err = cmd(*coded, "--error", "0.3", "--json", "figures.json")
    assert (status, err) == (0, "")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["coding"], figures["bits"]) == ("huffman", 3)
    assert 0.2 < figures["error"] <= 0.303
    assert "200 x 64, 3 bits, uniform, huffman, without words" in out
    assert f"error {figures['error']:.3g}" in out
    assert cmd(*coded, "--clip", "5")[0] == 0
    with EmbeddingStore(tmp_path / "out.db") as store:
        assert store.error > figures["error"]


def test_what_cannot_be_done_is_one_line(cmd, tmp_path, rows):
    np.save(tmp_path / "in.npy", rows)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    (tmp_path / "words.txt").write_text("a\nb\n")
    (tmp_path / "bad.txt").write_text("a 1 2\nb 1\n")
    (tmp_path / "worse.txt").write_text("a 1 2\nb 1 x\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 1 2\n")
    (tmp_path / "empty.txt").write_text("")
    EmbeddingStore.build(tmp_path / "words.db", rows, WORDS).close()
    build, show = ("store", "build"), ("store", "show")
    for args, status, message in [
        ((*build, "no.npy", "o.db"), 2, "no file no.npy"),
        ((*build, "objects.npy", "o.db"), 1, "cannot read objects.npy"),
        ((*build, "in.npy", "o.db", "--words", "no.txt"), 2, "no file no.txt"),
        ((*build, "in.npy", "o.db", "--words", "words.txt"), 2, "2 words and more rows"),
        ((*build, "in.npy", "o.db", "--bits", "12"), 2, "given 12"),
        ((*build, "in.npy", "o.db", "--coding", "zip"), 2, "coding is 'huffman' or None"),
        ((*build, "in.npy", "o.db", "--error", "0.3"), 2, "give coding"),
        ((*build, "in.npy", "o.db", "--clip", "4", "--bits", "16"), 2, "evenly spaced"),
        ((*build, "in.npy", "o.db", "--name", "x"), 2, "--name is for"),
        ((*build, "in.npy", "."), 1, "cannot write ."),
        ((*build, "bad.txt", "o.db"), 2, "bad.txt: line 2 is no word and 2 numbers"),
        ((*build, "worse.txt", "o.db"), 2, "worse.txt: line 2 is no word"),
        ((*build, "latin.txt", "o.db"), 1, "cannot read latin.txt"),
        ((*build, "empty.txt", "o.db"), 1, "its first line is not"),
        ((*show, "no.db"), 2, "no file no.db"),
        ((*show, "in.npy"), 1, "no SQLite database"),
        ((*show, "words.db", "york"), 2, "no row for 'york'"),
        ((*show, "words.db", "#3"), 2, "no row 3"),
    ]:
        given, _, err = cmd(*args)
        assert given == status, (args, err)
        assert message in one_line(err)
    assert not (tmp_path / "o.db").exists()
