"""What the trainings read: texts as streams, sequences with labels."""

import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin.demo._corpus import TextError

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

data = importlib.import_module("_data")


def test_windows_follow_each_other_and_start_at_rest_once_an_epoch():
    streams = data.Streams(np.arange(100), 3, 5)
    epoch = [streams(0, step) for step in range(streams.windows)]
    assert [bool(w.fresh) for w in epoch] == [True] + [False] * (streams.windows - 1)
    for one, following in itertools.pairwise(epoch):
        assert_array_equal(one.tokens[:, -1], following.tokens[:, 0])
    assert all(w.tokens.shape == (3, 6) for w in epoch)
    assert (np.diff(np.concatenate([w.tokens for w in epoch]), axis=1) == 1).all()
    assert bool(streams(0, streams.windows).fresh)


def test_a_window_is_that_of_its_seed_and_step():
    streams = data.Streams(np.arange(1000), 2, 50)
    assert_array_equal(streams(1, 7).tokens, streams(1, 7).tokens)
    firsts = {streams(seed, 0).tokens[0, 0] for seed in range(8)}
    assert len(firsts) > 1


@pytest.mark.parametrize(("batch", "time"), [(1, 1), (3, 5), (4, 7)])
def test_the_shortest_text_has_one_window_and_a_shorter_one_says_so(batch, time):
    least = (time + 1) * batch + time
    streams = data.Streams(np.arange(least), batch, time)
    assert streams.windows == 1
    for seed in range(20):
        assert streams(seed, 0).tokens.max() < least
    with pytest.raises(TextError, match=f"needs a text of {least}; this has {least - 1}"):
        data.Streams(np.arange(least - 1), batch, time)


def test_the_embedded_text_in_characters_and_words():
    text = data.characters()
    lengths = [len(p) for p in (text.train, text.valid, text.test)]
    assert_allclose(np.array(lengths) / sum(lengths), [0.9, 0.05, 0.05], atol=1e-3)
    words = data.words()
    first = "".join(text.vocabulary[i] for i in text.train[:2000]).split()
    read = [w for w in (words.vocabulary[i] for i in words.train[:400]) if w != data.END]
    assert read[:100] == first[:100]
    assert data.UNKNOWN in words.vocabulary


def test_words_of_three_files(tmp_path):
    for part, content in {"train": "a b\na\n", "valid": "a c\n", "test": "b\n"}.items():
        (tmp_path / f"{part}.txt").write_text(content)
    text = data.words(tmp_path)
    names = [[text.vocabulary[i] for i in p] for p in (text.train, text.valid, text.test)]
    assert names == [["a", "b", "<eos>", "a", "<eos>"], ["a", "<unk>", "<eos>"], ["b", "<eos>"]]


def test_batches_show_everything_once_an_epoch_in_another_order():
    labelled = data.Labelled(np.arange(12)[:, None], np.ones(12, np.int32), np.arange(12))
    batches = data.Batches(labelled, 4)
    epochs = [np.concatenate([batches(0, 3 * e + i).y for i in range(3)]) for e in range(2)]
    for epoch in epochs:
        assert_array_equal(np.sort(epoch), np.arange(12))
    assert (epochs[0] != epochs[1]).any()
    assert_array_equal(batches(0, 4).x[:, 0], batches(0, 4).y)


def test_activities(data_dir):
    found = data.activities(data_dir / "uci_har")
    assert len(found.train.y) + len(found.valid.y) == 7352
    assert len(found.test.y) == 2947
    assert_allclose(found.train.x.std((0, 1)), 1, atol=1e-3)
    assert set(found.test.y) == set(range(len(found.classes)))


def test_intents(data_dir):
    found = data.intents(data_dir / "atis")
    assert [len(p.y) for p in (found.train, found.valid, found.test)] == [4478, 500, 893]
    assert ((found.train.x > 0).sum(1) == found.train.lengths).all()
    assert found.train.x.max() < found.vocabulary
    assert found.train.y.min() == 0


@pytest.mark.parametrize(
    ("name", "folder", "sizes", "side"),
    [
        ("mnist_rows", "mnist", [55000, 5000, 10000], 28),
        ("usps_rows", "usps", [6562, 729, 2007], 16),
    ],
)
def test_digits(name, folder, sizes, side, data_dir):
    found = getattr(data, name)(data_dir / folder)
    parts = found.train, found.valid, found.test
    assert [p.x.shape for p in parts] == [(n, side, side) for n in sizes]
    low = 0 if name == "mnist_rows" else -1
    assert all((p.x.min(), p.x.max(), p.x.dtype) == (low, 1, np.float32) for p in parts)
    for part in parts:
        assert set(part.y) == set(range(len(found.classes)))
    # A digit is not another one: classes tell apart what an average of the training part shows.
    means = np.stack([found.train.x[found.train.y == c].mean(0) for c in range(10)])
    gaps = [((found.test.x - mean) ** 2).sum((1, 2)) for mean in means]
    assert (np.argmin(gaps, axis=0) == found.test.y).mean() > 0.7
