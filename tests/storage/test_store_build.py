"""A store is built from what there is, within little memory, and whole or not at all."""

import errno
import itertools
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from structlin.storage import EmbeddingStore
from structlin.storage.store import _build
from structlin.storage.store._format import PAGE, rows_per_block

posix = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


@pytest.fixture
def rows(rng):
    return rng.normal(size=(500, 20)).astype(np.float32)


@pytest.fixture
def path(tmp_path, rows):
    path = tmp_path / "words.db"
    EmbeddingStore.build(path, rows[:3]).close()
    return path


def unchanged(path):
    with EmbeddingStore(path) as store:
        return len(store) == 3 and os.listdir(path.parent) == [path.name]


def built(path, rows, words=None, **options):
    with EmbeddingStore.build(path, rows, words, **options) as store:
        return store.take(np.arange(len(store)))


def test_all_sources_give_the_same_file(tmp_path, rows):
    np.save(tmp_path / "rows.npy", rows)
    expected = None
    for source in (
        rows,
        jnp.asarray(rows),
        rows.astype(np.float64),
        np.asfortranarray(rows),
        np.load(tmp_path / "rows.npy", mmap_mode="r"),
        (rows[i : i + 7] for i in range(0, 500, 7)),
        [rows[:1], rows[1:1], rows[1:]],
    ):
        words = map(str, range(500))
        EmbeddingStore.build(tmp_path / "words.db", source, words, bits=3).close()
        data = (tmp_path / "words.db").read_bytes()
        expected = expected or data
        assert data == expected


def test_low_precision_and_integers_are_rows_too(tmp_path, rows):
    half = jnp.asarray(rows, jnp.bfloat16)
    for source in (half, rows.astype(np.float16), np.arange(12).reshape(3, 4)):
        given = built(tmp_path / "a.db", source, bits=32)
        np.testing.assert_array_equal(given, np.asarray(source, np.float32))
    given = built(tmp_path / "a.db", rows, bits=16)
    np.testing.assert_array_equal(given, rows.astype(np.float16))


@pytest.mark.parametrize("codebook", ["uniform", "kmeans"])
def test_more_bits_err_less(tmp_path, rows, codebook):
    errors = [
        np.linalg.norm(built(tmp_path / "a.db", rows, bits=bits, codebook=codebook) - rows)
        for bits in range(1, 9)
    ]
    assert all(fewer > 1.4 * more for fewer, more in itertools.pairwise(errors))


def test_progress_is_told(tmp_path, rows, monkeypatch):
    told = []
    built(tmp_path / "a.db", rows, progress=lambda *done: told.append(done))
    built(tmp_path / "a.db", [rows[:400], rows], progress=lambda *done: told.append(done))
    assert told == [(500, 500), (400, None), (900, None)]


@pytest.mark.parametrize(
    ("source", "words", "options", "error", "message"),
    [
        (np.zeros(3), None, {}, ValueError, r"\(n, dim\).*given \(3,\)"),
        (np.zeros((0, 3)), None, {}, ValueError, r"at least 1; given \(0, 3\)"),
        ([], None, {}, ValueError, "give some rows"),
        ([[1.0], [2.0]], None, {}, ValueError, "need np.asarray"),
        ([np.ones((2, 3)), np.ones((2, 4))], None, {}, ValueError, "Rows of 3 .* rows of 4"),
        ("rows.npy", None, {}, TypeError, "given a str"),
        (7, None, {}, TypeError, "given a int"),
        (np.ones((2, 3), complex), None, {}, TypeError, "real numbers; given complex128"),
        (np.ones((2, 3), bool), None, {}, TypeError, "real numbers; given bool"),
        (np.array([[1.0], [np.nan]]), None, {}, ValueError, "Row 1 has a number that is not fin"),
        (np.array([[1.0], [2e38]]), None, {}, ValueError, r"Row 1 .* beyond 1e\+38"),
        (np.array([[1e300]]), None, {"bits": 32}, ValueError, r"Row 0 .* beyond 3.403e\+38"),
        (np.array([[7e4]]), None, {"bits": 16}, ValueError, "Row 0 .* beyond 6.55e"),
        (np.ones((3, 2)), ["a", "b"], {}, ValueError, "2 words and more rows"),
        (np.ones((2, 2)), ["a", "b", "c"], {}, ValueError, "more words than rows, which are 2"),
        (np.ones((3, 2)), ["a", "b", "a"], {}, ValueError, "rows 0 and 2 are the same"),
        (np.ones((2, 2)), ["a", 5], {}, TypeError, "given 5 for row 1"),
        (np.ones((1, 2)), ["é" * 2049], {}, ValueError, "4,096 bytes of UTF-8 at most; .* row 0"),
        (np.ones((1, 2)), None, {"bits": 9}, ValueError, "1 to 8, 16 or 32 bits; given 9"),
        (np.ones((1, 2)), None, {"bits": True}, ValueError, "given True"),
        (np.ones((1, 2)), None, {"codebook": "zip"}, ValueError, "given 'zip'"),
        (np.ones((1, 2)), None, {"bits": 16, "codebook": "kmeans"}, ValueError, "given 16"),
    ],
)
def test_what_cannot_be_stored_is_refused(path, source, words, options, error, message):
    with pytest.raises(error, match=message):
        EmbeddingStore.build(path, source, words, **options)
    assert unchanged(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "gone", "rows.npy")])
def test_a_source_that_fails_leaves_the_old_file(path, rows, error):
    def source():
        yield rows
        raise error

    with pytest.raises(type(error)) as caught:
        EmbeddingStore.build(path, source())
    if isinstance(error, OSError):
        assert caught.value.filename == "rows.npy"
    assert unchanged(path)


@posix
def test_a_file_that_must_not_grow_leaves_the_old_one(path, rng):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="SQLite") as caught:
            EmbeddingStore.build(path, rng.normal(size=(2000, 500)), bits=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert unchanged(path)


def test_a_full_disk_leaves_the_old_file(path, rng, monkeypatch):
    # SQLite says of its own limit what it says of a disk.
    schema = ("PRAGMA max_page_count = 12", *_build.SCHEMA)
    monkeypatch.setattr(_build, "SCHEMA", schema)
    with pytest.raises(OSError, match="No space left") as caught:
        EmbeddingStore.build(path, rng.normal(size=(2000, 500)), bits=8)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert unchanged(path)


def test_places_that_cannot_be_written_are_named(tmp_path, rows):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        EmbeddingStore.build(tmp_path / "nowhere" / "a.db", rows)
    with pytest.raises(IsADirectoryError, match="name of a file"):
        EmbeddingStore.build(tmp_path, rows)


def test_a_store_in_use_can_be_replaced(path, rows):
    with EmbeddingStore(path) as old:
        before = old.take([0, 1, 2])
        EmbeddingStore.build(path, [*old.blocks(), rows], bits=32).close()
        np.testing.assert_array_equal(old.take([0, 1, 2]), before)
        with EmbeddingStore(path) as new:
            np.testing.assert_array_equal(new.take(range(3, 503)), rows)


@pytest.mark.parametrize("row_bytes", [6, 24, 197, 2048, 8000, 8200, 100_000])
def test_blocks_fill_pages(tmp_path, row_bytes):
    count = rows_per_block(row_bytes)
    pages = -(-count * row_bytes // PAGE)
    assert pages <= 8 or count == 1
    rows = np.ones((4 * count, row_bytes), np.float32)  # a byte each, and the table
    if row_bytes <= 8200:
        EmbeddingStore.build(tmp_path / "a.db", rows[:, : row_bytes - 5], bits=8).close()
        taken = (tmp_path / "a.db").stat().st_size - 5 * PAGE
        assert taken <= 4 * (pages + 1) * PAGE


MEMORY = """
import pathlib, sys
import numpy as np
from structlin.storage import EmbeddingStore

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

rng = np.random.default_rng(0)
rng.normal(size=(256, 512)).astype(np.float32) @ np.ones(512, np.float32)
before, most = resident(), 0

def blocks():
    global most
    for _ in range(100):
        most = max(most, resident())
        yield rng.normal(size=(200, 512)).astype(np.float32)

with EmbeddingStore.build(sys.argv[1], blocks(), map(str, range(20_000)), bits=32) as store:
    for i in rng.permutation(20_000)[:3000].tolist():
        store[i] if i % 2 else store[str(i)]
    print(most - before, resident() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_memory_holds_a_small_part(tmp_path):
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "words.db")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    building, reading = map(float, done.stdout.split())
    assert (tmp_path / "words.db").stat().st_size > 40e6
    assert building < 20  # megabytes
    assert reading < 15
