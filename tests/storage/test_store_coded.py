"""Coded rows read as the same rows uncoded do, take what their entropy says, and are read alone."""

import base64
import itertools
import json
import zlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from structlin.storage import EmbeddingStore
from structlin.storage.store._coded import CodedBlock
from structlin.storage.store._huffman import LONGEST, Huffman, code_lengths, grouped, symbol_count

HERE = Path(__file__).parent


@pytest.fixture
def rows(rng):
    scale = np.exp(rng.normal(size=(700, 1)))
    return (scale * rng.normal(size=(700, 61)) + rng.normal(size=(700, 1))).astype(np.float32)


def counts_of(codes, bits):
    return np.bincount(grouped(codes, bits).ravel(), minlength=symbol_count(bits))


def taken(path, rows, words=None, **options):
    """What a store of ``rows`` reads as, and the bytes of its blocks of rows."""
    with EmbeddingStore.build(path, rows, words, **options) as store:
        given = store.take(np.arange(len(store)))
        some = np.random.default_rng(0).integers(0, len(store), 20)
        np.testing.assert_array_equal(store.take(some), given[some])
        np.testing.assert_array_equal(store.take(5), given[5])
        np.testing.assert_array_equal(np.concatenate(list(store.blocks())), given)
        found = np.linalg.norm(given - rows) / np.linalg.norm(rows)
        assert store.error == pytest.approx(found, rel=1e-3, abs=1e-6)
        return given, store.coding


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"clip": 4.0}, {"codebook": "kmeans"}])
def test_coded_rows_are_the_same_rows(tmp_path, rows, bits, options):
    plain, none = taken(tmp_path / "a.db", rows, bits=bits, **options)
    coded, name = taken(tmp_path / "b.db", rows, bits=bits, coding="huffman", **options)
    np.testing.assert_array_equal(plain, coded)
    assert (none, name) == (None, "huffman")


def test_words_lead_to_coded_rows(tmp_path, rows):
    words = [f"word {i}" for i in range(700)]
    with EmbeddingStore.build(tmp_path / "a.db", rows, words, coding="huffman") as store:
        np.testing.assert_array_equal(store.take(["word 699", "word 3"]), store.take([699, 3]))
        assert repr(store).endswith("700 x 61, 3 bits, uniform, huffman, with words)")


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8])
def test_a_code_is_a_code_and_near_the_entropy(rng, bits):
    for spread in (0.4, 3.0):
        drawn = np.rint(rng.normal(size=(50, 200)) * spread + 2 ** (bits - 1))
        codes = np.clip(drawn, 0, 2**bits - 1).astype(np.uint8)
        counts = counts_of(codes, bits)
        lengths = code_lengths(counts)
        assert len(lengths) == symbol_count(bits)
        assert max(lengths) <= LONGEST
        assert sum(2.0**-x for x in lengths) == 1
        some = counts[counts > 0]
        entropy = np.sum(some * np.log2(some.sum() / some))
        # Gallager (1978): Huffman's excess; 3 % is for words that would be longer.
        excess = counts.max() + 0.086 * counts.sum()
        assert entropy <= np.dot(counts, lengths) <= 1.03 * entropy + excess


@pytest.mark.parametrize(("bits", "count"), [(1, 7), (3, 31), (4, 1), (8, 5)])
def test_rows_decode_alike_one_by_one_and_side_by_side(rng, bits, count):
    codes = rng.integers(0, 2**bits, (300, count)).astype(np.uint8)
    counts = counts_of(rng.integers(0, 2 ** (bits - 1) + 1, (9, 40)).astype(np.uint8), bits)
    code = Huffman(code_lengths(counts), bits)  # made for others: every symbol has a word
    stream, sizes = code.encode(codes)
    ends = np.cumsum(sizes)
    rows = [stream[end - size : end].tobytes() for end, size in zip(ends, sizes, strict=True)]
    for some in (slice(0, 300), slice(7, 11)):
        np.testing.assert_array_equal(code.decode(rows[some], count), codes[some])


def test_any_bytes_decode_to_some_codes(rng):
    code = Huffman(code_lengths(np.arange(1, 65) ** 4), 3)
    for rows in ([b""], [rng.bytes(3) for _ in range(200)], [b"\0" * 40], [b"\xff"] * 200):
        codes = code.decode(rows, 33)
        assert codes.shape == (len(rows), 33)
        assert codes.max() < 8


def test_normal_rows_take_what_theory_says(tmp_path, rng):
    # 8 levels over 4 standard deviations: 2.105 bits of entropy, and a squared error of a twelfth.
    rows = rng.normal(size=(3000, 512)).astype(np.float32)
    path = tmp_path / "a.db"
    given, _ = taken(path, rows, coding="huffman", clip=4.0)
    assert np.square(given - rows).mean() == pytest.approx(1 / 12, rel=0.02)
    with EmbeddingStore(path) as store:
        sizes, row = [], 0
        while row < 3000:
            first, block = store._file.read_coded(row)
            assert first == row
            sizes += block.sizes.tolist()
            row += len(block)
    assert 2.10 * 64 < np.mean(sizes) < 2.15 * 64 + 0.5
    assert path.stat().st_size < 1.01 * 3000 * (np.mean(sizes) + 6) + 7 * 8192


def test_the_wider_the_range_the_smaller_the_file(tmp_path, rng):
    rows = rng.normal(size=(2000, 300)).astype(np.float32)
    sizes, errors = [], []
    for error in (0.2, 0.3, 0.5):
        with EmbeddingStore.build(tmp_path / "a.db", rows, coding="huffman", error=error) as store:
            errors.append(store.error)
            assert 0.9 * error < store.error <= 1.01 * error
        sizes.append((tmp_path / "a.db").stat().st_size)
    assert all(a > b for a, b in itertools.pairwise(sizes))
    with pytest.raises(
        ValueError, match=r"Codes of 3 bits err by 0\.19.* at least; given error=0\.1"
    ):
        EmbeddingStore.build(tmp_path / "a.db", rows, coding="huffman", error=0.1)


@pytest.mark.parametrize("dim", [1, 3, 20_000])
def test_rows_of_any_width(tmp_path, rng, dim):
    rows = rng.normal(size=(40, dim)).astype(np.float32)
    rows[3], rows[4] = 0, 1e15
    plain, _ = taken(tmp_path / "a.db", rows, bits=8)
    coded, _ = taken(tmp_path / "b.db", rows, bits=8, coding="huffman")
    np.testing.assert_array_equal(plain, coded)


def test_arrays_of_all_kinds_give_the_same_file(tmp_path, rows):
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    made = set()
    for source in (rows, jnp.asarray(rows), mapped, rows.astype(np.float64), [rows]):
        EmbeddingStore.build(tmp_path / "a.db", source, coding="huffman", error=0.3).close()
        made.add((tmp_path / "a.db").read_bytes())
    assert len(made) == 1


def test_blocks_survive_their_bytes(rng):
    for spread in (0, 3, 300, 70_000):
        sizes = 5 + rng.integers(0, spread + 1, 9)
        heads = rng.integers(0, 256, (9, 5)).astype(np.uint8)
        block = CodedBlock(heads, sizes, rng.integers(0, 256, sizes.sum()).astype(np.uint8))
        data = block.to_bytes()
        assert len(data) == block.ends[-1]
        again = CodedBlock.from_bytes(memoryview(data), 5, 5)
        first, rest = again.halves(4)
        assert (len(first), len(rest)) == (4, 5)
        assert first.followed(rest).to_bytes() == data
        assert [bytes(w) for w in rest.words(np.array([1]))] == [bytes(block.words([5])[0])]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"coding": "zip"}, ValueError, "coding is 'huffman' or None; given 'zip'"),
        ({"coding": "huffman", "bits": 16}, ValueError, "1 to 8 bits; given 16"),
        ({"clip": 0}, ValueError, "clip is more than 0; given 0"),
        ({"clip": float("nan")}, ValueError, "more than 0; given nan"),
        ({"clip": "wide"}, TypeError, "clip is a number or None; given 'wide'"),
        ({"clip": 4, "codebook": "kmeans"}, ValueError, "evenly spaced .* given 3 bits, 'kmeans'"),
        ({"clip": 4, "bits": 32}, ValueError, "evenly spaced .* given 32 bits"),
        ({"error": 0.3}, ValueError, "and no others: give coding"),
        ({"error": 0.3, "clip": 4, "coding": "huffman"}, ValueError, "one of the two"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, rows, options, error, message):
    with pytest.raises(error, match=message):
        EmbeddingStore.build(tmp_path / "a.db", rows, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [1, 2])
def test_older_stores_are_read(tmp_path, version):
    record = json.loads((HERE / f"golden_store_v{version}.json").read_text())
    path = tmp_path / "golden.db"
    path.write_bytes(zlib.decompress(base64.b64decode("".join(record["zlib_base64"]))))
    want = np.frombuffer(base64.b64decode("".join(record["rows_float32_base64"])), np.float32)
    assert path.read_bytes()[60:64] == version.to_bytes(4, "big")
    with EmbeddingStore(path) as store:
        np.testing.assert_array_equal(store.take(np.arange(60)), want.reshape(60, 5))
        assert (store.words[59], store.ids("word 7")) == ("word 59", 7)
        assert (store.coding, store.error is None) == ((None, True), ("huffman", False))[
            version - 1
        ]


def test_a_store_is_of_the_oldest_version_that_can_say_it(tmp_path, rows):
    for options, version in (({}, 1), ({"coding": "huffman"}, 2)):
        EmbeddingStore.build(tmp_path / "a.db", rows, **options).close()
        assert (tmp_path / "a.db").read_bytes()[60:64] == version.to_bytes(4, "big")
