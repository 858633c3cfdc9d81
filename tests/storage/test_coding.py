"""Entropy coding: never below Shannon's bound, never far above it, and back to the last bit."""

import sys
import tracemalloc

import numpy as np
import pytest

import structlin as sl
from structlin import kernels, storage
from structlin import matrices as ms
from structlin.storage._coding import expand


def back(coded, array):
    return expand(coded.payload, coded.record(), array.dtype, array.shape)


def gaussian_codes(count, rng):
    """Three bits, cells of one deviation from -4 to 4."""
    codes = np.clip(np.floor(rng.normal(size=count) + 4), 0, 7).astype(np.uint8)
    return np.asarray(kernels.pack_bits(codes, 3))


def test_three_bits_of_gaussian_weights(rng):
    count = 100_000
    stream = gaussian_codes(count, rng)
    huffman, ans = (storage.entropy_code(stream, coder, width=3) for coder in ("huffman", "ans"))
    bits = [8 * x / count for x in (huffman.bound, ans.bytes, huffman.bytes)]
    np.testing.assert_allclose(bits, [2.10, 2.11, 2.23], atol=0.01)
    assert ans.bound <= ans.bytes <= 1.01 * ans.bound
    for coded in (huffman, ans):
        assert (coded.view, coded.bits, coded.count) == ("codes", 3, count)
        np.testing.assert_array_equal(back(coded, stream), stream)


def test_the_width_of_a_code_is_found(rng):
    stream = gaussian_codes(20_000, rng)
    assert storage.entropy_code(stream).bits == 3


@pytest.mark.parametrize("coder", storage.CODERS)
def test_sorted_indices_code_by_their_gaps(coder, rng):
    order = np.argsort(rng.random((650, 200)), axis=0)
    indices = np.sort(order[:26], axis=0).astype(np.uint16)
    coded = storage.entropy_code(indices, coder)
    assert coded.view == "gaps"
    assert coded.bound <= coded.bytes < 0.5 * indices.nbytes
    np.testing.assert_array_equal(back(coded, indices), indices)


@pytest.mark.parametrize("coder", storage.CODERS)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int32", "int64", "uint64"])
def test_integers_of_every_kind_come_back(coder, dtype, rng):
    for shape in [(9,), (5, 7), (2, 3, 4), (), (1, 1)]:
        for low, high in [(0, 1), (0, 2), (-3, 90)]:
            array = rng.integers(low, high, size=shape).astype(dtype)
            got = back(storage.entropy_code(array, coder), array)
            assert (got.dtype, got.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(got, array)


def test_what_says_nothing_is_filled_up():
    same = np.zeros(64_000, np.int16)
    coded = storage.entropy_code(same)
    assert (coded.bytes, coded.bound) == (128_000 // 64, 0)
    np.testing.assert_array_equal(back(coded, same), same)


def test_long_arrays_are_coded_piece_by_piece(monkeypatch, rng):
    monkeypatch.setattr("structlin.storage._coding._AT_ONCE", 64)
    stream = gaussian_codes(1001, rng)
    for width in (1, 3, 8):
        coded = storage.entropy_code(stream, width=width)
        np.testing.assert_array_equal(back(coded, stream), stream)


@pytest.mark.parametrize(
    ("array", "coder", "error", "message"),
    [
        (np.ones(3), "ans", TypeError, "Only integers"),
        (np.ones(3, np.int8), "zip", ValueError, "'ans' or 'huffman'; given 'zip'"),
        (np.ones(0, np.int8), "ans", ValueError, r"nothing to code in int8\[0\]"),
    ],
)
def test_what_cannot_be_coded(array, coder, error, message):
    with pytest.raises(error, match=message):
        storage.entropy_code(array, coder)


LIES = [
    ({"coder": "zip"}, "no coding"),
    ({"view": "bytes"}, "no coding"),
    ({"bits": 0}, "no coding"),
    ({"bits": True}, "bool where 'bits' should be a int"),
    ({"view": "gaps"}, "no coding"),
    ({"symbols": 1}, "no coding"),
    ({"symbols": 9}, "no coding"),
    ({"words": 1 << 40}, "no coding"),
    ({"words": -1}, "no coding"),
    ({"words": 3}, "decoded|other numbers"),
    ({"symbols": 4}, "decoded|other numbers"),
    ({"sha256": "0" * 64}, "other numbers"),
]


@pytest.mark.parametrize("coder", storage.CODERS)
@pytest.mark.parametrize(("lie", "message"), LIES, ids=[str(lie) for lie, _ in LIES])
def test_records_that_lie(coder, lie, message, rng):
    stream = gaussian_codes(2000, rng)
    coded = storage.entropy_code(stream, coder, width=3)
    with pytest.raises(storage.DamagedFileError, match=message):
        expand(coded.payload, coded.record() | lie, stream.dtype, stream.shape)


@pytest.mark.parametrize("coder", storage.CODERS)
def test_a_claim_of_a_huge_array_takes_no_memory(coder, rng):
    stream = gaussian_codes(2000, rng)
    coded = storage.entropy_code(stream, coder)
    for shape in [(1 << 40,), (1 << 20, 1 << 20)]:
        with pytest.raises(storage.DamagedFileError, match="more than 64 times as many"):
            expand(coded.payload, coded.record(), stream.dtype, shape)
    tracemalloc.start()
    most = (64 * coded.bytes,)
    with pytest.raises(storage.DamagedFileError, match="decoded|other numbers"):
        expand(coded.payload, coded.record(), stream.dtype, most)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def quantised(rng):
    dense = np.asarray(rng.normal(size=(60, 50)), np.float32)
    sparse = sl.specs.Sparse(density=0.2).fit(dense).pack()
    return {"w": ms.Quantized.of(ms.Dense(dense), 3), "s": sparse, "n": np.arange(3)}


@pytest.mark.parametrize("coder", storage.CODERS)
def test_a_file_with_coded_tensors_gives_the_same_tree(coder, rng, tmp_path):
    tree, path = quantised(rng), tmp_path / "w.slin"
    storage.save(path, tree)
    plain = path.stat().st_size
    storage.save(path, tree, coding=coder)
    assert path.stat().st_size < plain
    for options in ({}, {"as_numpy": True}, {"mmap": True}):
        loaded = storage.load(path, **options)
        np.testing.assert_array_equal(loaded["w"].to_dense(), tree["w"].to_dense())
        np.testing.assert_array_equal(loaded["s"].to_dense(), tree["s"].to_dense())
    storage.verify(path)
    stored = storage.read_header(path).stored
    assert {n for n, s in stored.items() if s.coder} == {"w/codes/values", "s/indices"}
    assert all(s.bound <= s.bytes for s in stored.values() if s.coder)
    assert stored["w/codes/values"].bytes < tree["w"].codes.values.nbytes


def test_wide_integers_are_coded_by_their_bytes_or_not_at_all(rng, tmp_path):
    path = tmp_path / "w.slin"
    tree = {"few": rng.integers(0, 1 << 20, size=500), "any": rng.integers(-(1 << 62), 1 << 62, 99)}
    storage.save(path, tree, coding="ans")
    stored = storage.read_header(path).stored
    assert (stored["few"].coder, stored["any"].coder) == ("ans", "")
    loaded = storage.load(path, as_numpy=True)
    for name, array in tree.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_coding_by_name(rng, tmp_path):
    tree, path = quantised(rng), tmp_path / "w.slin"
    storage.save(path, tree, coding={"w/.*": "huffman"})
    stored = storage.read_header(path).stored
    assert {s.coder for s in stored.values()} == {"", "huffman"}
    assert stored["s/indices"].coder == ""
    with pytest.raises(ValueError, match="'x' matches no tensor"):
        storage.save(path, tree, coding={"x": "ans"})


def test_without_the_library_there_is_advice(rng, tmp_path, monkeypatch):
    tree, path = quantised(rng), tmp_path / "w.slin"
    storage.save(path, tree, coding="ans")
    monkeypatch.setitem(sys.modules, "constriction", None)
    for use in (lambda: storage.load(path), lambda: storage.save(path, tree, coding="ans")):
        with pytest.raises(ImportError, match=r"pip install 'structlin\[coding\]'"):
            use()
    assert storage.read_header(path).stored["w/codes/values"].coder == "ans"
