"""A store gives back what was put in: by number, by word, in any number, from anywhere."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from structlin import kernels, specs
from structlin.storage import EmbeddingStore, MissingRowError
from structlin.storage.store._bits import cut, pack, stream_bytes, uncut, unpack

ODD = ["", "a b", "a\0", "\0", "naïve", "日本", "a\nb", "\ud800", '"', "x" * 4096]


@pytest.fixture
def rows(rng):
    return rng.normal(size=(1000, 40)).astype(np.float32)


@pytest.fixture
def words():
    return [*ODD, *(f"word {i}" for i in range(1000 - len(ODD)))]


@pytest.fixture
def store(tmp_path, rows, words):
    with EmbeddingStore.build(tmp_path / "words.db", rows, words, bits=32) as store:
        yield store


def test_rows_by_number(store, rows):
    assert (len(store), store.dim, store.shape) == (1000, 40, (1000, 40))
    for keys in (7, [7], [3, 999, 3, 0], np.arange(1000)[::-1], np.zeros((2, 0, 3), int)):
        given = store.take(keys)
        assert given.dtype == np.float32
        np.testing.assert_array_equal(given, rows[keys])
    np.testing.assert_array_equal(store.take(jnp.array([[1, 2], [2, 1]])), rows[[[1, 2], [2, 1]]])
    np.testing.assert_array_equal(store[np.uint8(5)], rows[5])
    assert store.take([]).shape == (0, 40)
    np.testing.assert_array_equal(np.concatenate(list(store.blocks())), rows)


def test_rows_by_word(store, rows, words):
    np.testing.assert_array_equal(store.take(words), rows)
    np.testing.assert_array_equal(store["a\0"], rows[2])
    np.testing.assert_array_equal(store.take(np.array([["日本"], [""]])), rows[[[5], [0]]])
    assert store.ids(["word 3", "a b"]).tolist() == [13, 1]
    assert store.ids(["word 3", "nothing"], unknown=-1).tolist() == [13, -1]
    assert store.get("nothing") is None
    np.testing.assert_array_equal(store.get("a b"), rows[1])


def test_words_are_a_sequence(store, words):
    assert list(store) == list(store.words) == words
    assert (store.words[-1], store.words[3:5]) == (words[-1], words[3:5])
    assert (store.words.index("word 900"), len(store.words)) == (910, 1000)
    for word in words:
        assert word in store
    for key in ("word", "WORD 3", "x" * 4097, "x" * 10_000, 1000, -1, None, 3.0):
        assert key not in store
    assert 999 in store
    with pytest.raises(IndexError):
        store.words[1000]
    with pytest.raises(ValueError, match="'nothing'"):
        store.words.index("nothing")


def test_the_nearest_rows(store, rows, words):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit[13]
    best = np.argsort(-cosines)[:4]
    for key in ("word 3", 13, rows[13] * 5):
        found = store.nearest(key, 4)
        assert [word for word, _ in found] == [words[i] for i in best]
        np.testing.assert_allclose([c for _, c in found], cosines[best], rtol=1e-5)


def test_rows_that_are_missing_are_named(store, tmp_path, rows):
    for keys, message in [
        (1000, "no row 1000: rows go from 0 to 999"),
        ([0, -1], "no row -1"),
        ("nothing", "^There is no row for 'nothing': ask `in` first"),
        (["a b", "no", "non", "no"], "no row for 'no' and for 1 more"),
    ]:
        with pytest.raises(MissingRowError, match=message):
            store.take(keys)
    with pytest.raises(TypeError, match="float64"):
        store.take([1.0])
    with pytest.raises(TypeError, match="all integers or all strings; given 1"):
        store.take(["a b", 1])
    with EmbeddingStore.build(tmp_path / "plain.db", rows) as plain:
        assert plain.words is None
        assert list(plain) == list(range(1000))
        assert "a b" not in plain
        with pytest.raises(MissingRowError, match="has no words"):
            plain["a b"]


def test_what_is_given_is_the_callers(store, rows):
    for _ in range(2):  # from the file, then from memory
        given = store.take([3, 4])
        np.testing.assert_array_equal(given, rows[3:5])
        given[:] = 0


@pytest.mark.parametrize("cache", [0, 1, 100_000])
def test_the_cache_changes_nothing(store, rows, rng, cache):
    with EmbeddingStore(store.path, cache=cache) as other:
        for _ in range(5):
            keys = rng.integers(0, 1000, 50)
            np.testing.assert_array_equal(other.take(keys), rows[keys])
        assert len(other._rows._recent) <= cache


def test_many_threads_read_at_once(store, rows, words):
    failed = []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            keys = rng.integers(0, 1000, 30)
            given = store.take(keys if seed % 2 else [words[i] for i in keys])
            failed.extend([seed] if (given != rows[keys]).any() else [])

    threads = [threading.Thread(target=read, args=[seed]) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(store._file._idle) <= 8


def test_other_processes_read_it(store, rows):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store))[5], rows[5])
    np.testing.assert_array_equal(copy.deepcopy(store)[5], rows[5])
    code = """
import os, sys, warnings, numpy as np
from structlin.storage import EmbeddingStore
with EmbeddingStore(sys.argv[1]) as store:
    mine = store.take([1, 2]).tobytes()
    if not hasattr(os, "fork"):
        sys.exit()
    warnings.simplefilter("ignore")  # JAX has threads; the child starts none of its programs
    child = os.fork()
    same = store.take(["a b", "a\\0"]).tobytes() == mine and store.take(range(900)).shape[0] == 900
    if not child:
        os._exit(not same)
    sys.exit(not same or os.waitpid(child, 0)[1])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, store.path], env=environment, check=False)
    assert done.returncode == 0


def test_a_closed_store_says_so(store):
    store.close()
    with pytest.raises(ValueError, match="is closed: open it again"):
        store.take(900)
    store.close()


def test_a_store_says_what_it_is(store, tmp_path, rows):
    assert repr(store) == f"EmbeddingStore({store.path!r}: 1,000 x 40, 32 bits, float, with words)"
    with EmbeddingStore.build(tmp_path / "k.db", rows, bits=2, codebook="kmeans") as other:
        assert repr(other).endswith("1,000 x 40, 2 bits, kmeans)")


@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_are_packed_as_by_the_kernel(bits, rng):
    for count in (1, 7, 8, 41):
        codes = rng.integers(0, 2**bits, (3, count)).astype(np.uint8)
        packed = pack(codes, bits)
        assert packed.shape == (3, stream_bytes(count, bits))
        np.testing.assert_array_equal(packed, kernels.pack_bits(jnp.asarray(codes), bits))
        np.testing.assert_array_equal(unpack(packed, bits, count), codes)


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, max_value=2.0**120, min_value=-(2.0**120))))
def test_numbers_that_are_cut_go_one_way(numbers):
    x = np.array(numbers, np.float32).reshape(-1, 1)
    for width in (2, 3):
        low, high = (uncut(cut(x, width, up=up)) for up in (False, True))
        assert (low <= x).all()
        assert (x <= high).all()
        assert (high - low <= np.abs(x) * 2.0 ** (10 - 8 * width) + 1e-38).all()
        np.testing.assert_array_equal(uncut(cut(low, width, up=False)), low)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8])
def test_uniform_levels_err_no_more_than_evenly_spread_ones(tmp_path, rng, bits):
    scale = 10.0 ** rng.uniform(-20, 20, (200, 1))
    rows = (scale * (rng.normal(size=(200, 33)) + rng.normal(size=(200, 1)))).astype(np.float32)
    rows[0], rows[1] = 0, 0.1
    with EmbeddingStore.build(tmp_path / "a.db", rows, bits=bits) as store:
        error = np.abs(store.take(np.arange(200)) - rows.astype(np.float64))
    step = np.ptp(rows.astype(np.float64), axis=1) / (2**bits - 1)
    # What is kept of the lowest level and the step adds 1 %, and 2**-15 of the largest number.
    bound = step * 1.01 + np.abs(rows).max(axis=1) * 2.0**-15
    assert (np.sqrt((error**2).mean(axis=1)) <= bound / 2).all()
    if bits > 5:
        assert (error.max(axis=1) <= bound / 2 + 1e-38).all()


def test_normal_rows_err_as_theory_says(tmp_path, rng):
    # Max (1960), table II: the squared error of the best evenly spaced levels.
    rows = rng.normal(size=(200, 512)).astype(np.float32)
    for bits, least in [(1, 0.3634), (2, 0.1188), (3, 0.03744), (4, 0.01154)]:
        with EmbeddingStore.build(tmp_path / "a.db", rows, bits=bits) as store:
            error = np.square(store.take(np.arange(200)) - rows).mean()
        assert error < 1.02 * least


def test_one_table_of_levels_for_all_rows(tmp_path, rng):
    levels = np.array([-3.0, -0.5, 0.25, 7.0], np.float32)
    rows = levels[rng.integers(0, 4, (300, 10))]
    with EmbeddingStore.build(tmp_path / "a.db", rows, bits=2, codebook="kmeans") as store:
        np.testing.assert_allclose(store.take(np.arange(300)), rows, rtol=1e-6)


def test_structured_rows_come_from_their_matrix(tmp_path):
    spec = specs.LowRank(rank=2)
    matrix = spec.fit(jnp.asarray(np.random.default_rng(0).normal(size=(60, 9)), jnp.float32))
    with EmbeddingStore.build(tmp_path / "a.db", matrix, bits=32) as store:
        np.testing.assert_allclose(
            store.take(np.arange(60)), matrix.to_dense(), rtol=1e-5, atol=1e-6
        )
