"""Texts as the demo reads them."""

import numpy as np
import pytest

from structlin.demo._corpus import UNKNOWN, TextError, load_corpus, windows


def test_embedded_text_is_a_real_corpus():
    corpus = load_corpus()
    assert corpus.name == "pydoc_data.topics"
    assert len(corpus.train) > 300_000
    assert abs(len(corpus.test) / len(corpus.train) - 1 / 9) < 0.01
    assert corpus.vocabulary[0] == " "
    assert 'The "assert" statement' in corpus.decode(corpus.train[:200])
    assert corpus.unknown_share == 0


def test_text_and_valid_files(tmp_path):
    text, valid = tmp_path / "a.txt", tmp_path / "b.txt"
    text.write_text("naïve Σ 𝔘nicode \r\n" * 50, encoding="utf-8-sig")
    valid.write_text("unicode Ω", encoding="utf-8")
    corpus = load_corpus(text, valid)
    assert "\ufeff" not in corpus.vocabulary
    assert corpus.decode(corpus.train[:14]) == "naïve Σ 𝔘nicod"
    assert corpus.decode(corpus.test) == UNKNOWN + "nicode " + UNKNOWN
    assert corpus.unknown_share == pytest.approx(2 / 9)
    assert len(load_corpus(text, valid, most_test=3).test) == 3


def test_rare_characters_share_one_number(tmp_path):
    text = tmp_path / "many.txt"
    text.write_text(
        "".join(chr(0x4E00 + i) * (1 + (i < 254)) for i in range(400)), encoding="utf-8"
    )
    corpus = load_corpus(text, text)
    assert len(corpus.vocabulary) == 256
    assert corpus.train.max() == 255
    assert corpus.unknown_share > 0.1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"caf\xe9 au lait", "not UTF-8 text: byte 3 is 0xe9"),
        (b"abc\0def", "is binary: character 3 is NUL"),
    ],
)
def test_what_is_no_text(tmp_path, content, message):
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TextError, match=message):
        load_corpus(path)


def test_a_folder_and_valid_alone_are_refused(tmp_path):
    with pytest.raises(TextError, match="Cannot read"):
        load_corpus(tmp_path)
    with pytest.raises(TextError, match="--valid needs --text"):
        load_corpus(None, tmp_path)


def test_windows_follow_each_other_in_every_stream():
    ids = np.arange(103)
    cut = windows(ids, streams=2, steps=10, what="test")
    assert cut.shape == (5, 11, 2)
    for stream in range(2):
        read = np.concatenate([cut[0, :1, stream], *(w[1:, stream] for w in cut)])
        np.testing.assert_array_equal(read, np.arange(51) + 51 * stream)
    with pytest.raises(TextError, match=r"has 21 characters; one batch needs 22"):
        windows(ids[:21], 2, 10, "test")
    assert len(windows(ids[:22], 2, 10, "test")) == 1


def test_wikitext_is_read_whole(data_dir):
    folder = data_dir / "wikitext2"
    if not (folder / "valid.txt").exists():
        pytest.skip(f"no wikitext2/valid.txt in {data_dir}")
    corpus = load_corpus(folder / "valid.txt", folder / "test.txt", most_test=50_000)
    assert len(corpus.train) == len((folder / "valid.txt").read_text(encoding="utf-8"))
    assert len(corpus.test) == 50_000
    assert "<unk>" in corpus.decode(corpus.test)
    assert corpus.unknown_share < 0.001
