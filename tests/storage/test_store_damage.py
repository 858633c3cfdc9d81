"""Stores that are not what they should be: refused by name, or read rightly, in little memory."""

import contextlib
import os
import random
import shutil
import sqlite3
import sys
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from damage_store import (
    CODED,
    ROWS,
    WORDS,
    forge,
    kill_writer,
    lies,
    make,
    originals,
    read_all,
    survives,
)

from structlin import storage
from structlin.storage import EmbeddingStore
from structlin.storage.store._format import seal

DAMAGED, FOREIGN = storage.DamagedFileError, storage.ForeignFileError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "words.db"
    make(path).close()
    return path


def refused(path, error=storage.StorageError, match=None):
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(error, match=match) as caught:
            read_all(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < 10
    message = str(caught.value)
    assert message.startswith(f"Cannot read {str(path)!r}: ")
    assert "\n" not in message
    assert len(message) < 600


def test_files_that_are_no_stores_are_named(path, tmp_path):
    good = path.read_bytes()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.db"):
        EmbeddingStore(tmp_path / "nowhere.db")
    with pytest.raises(IsADirectoryError):
        EmbeddingStore(tmp_path)
    for data, error, message in [
        (b"", DAMAGED, "it is empty"),
        (b"the 0.1 0.2\n", FOREIGN, "no SQLite database"),
        (good[:60], DAMAGED, "cut short: 60 bytes"),
        (good[:-1], DAMAGED, "cut short: .* where its header says"),
        (good + b"\0", DAMAGED, "too long"),
        (good.replace(b"CREATE TABLE rows", b"CREATE TABL\xa8 rows"), DAMAGED, "SQLite cannot"),
        (good.replace(b"CREATE TABLE rows", b"CREATE TABL\n rows"), DAMAGED, "SQLite cannot"),
        (good[:63] + b"\3" + good[64:], storage.NewerVersionError, "version 3 .* update structlin"),
    ]:
        path.write_bytes(data)
        refused(path, error, message)
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    refused(path, FOREIGN, "a SQLite database, but no store")


@pytest.mark.parametrize("seed", range(6))
def test_damage_is_refused_or_does_not_matter(tmp_path, seed):
    path, rng = tmp_path / "words.db", random.Random(seed)
    good, others, right = originals(path, **(CODED if seed > 3 else {}))
    outcomes = [survives(path, good, right, others, rng) for _ in range(50)]
    assert outcomes.count("DamagedFileError") > 10


@pytest.mark.parametrize("options", [{}, CODED])
def test_blocks_that_lie_are_refused_or_read_as_some_rows(tmp_path, options):
    path, rng = tmp_path / "words.db", random.Random(0)
    make(path, **options).close()
    good = path.read_bytes()
    outcomes = [lies(path, good, rng) for _ in range(50)]
    assert outcomes.count("DamagedFileError") > 10
    assert outcomes.count("read") > 0


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"rows": 0}, "no rows"),
        ({"rows": 10**9}, "block .* of its rows is missing"),
        ({"rows": 10**30}, "more rows"),
        ({"rows": "many"}, "has str where 'rows' should"),
        ({"dim": 10**11}, "which is not what rows take"),
        ({"dim": 95}, "altered"),
        ({"bits": 4}, "not what rows take|altered"),
        ({"bits": 9}, "numbers of 9 bits"),
        ({"levels": [0.0] * 8}, "not what rows take"),
        ({"levels": [0.0]}, "1 levels for 3 bits"),
        ({"levels": ["a"] * 8}, "levels that are no numbers"),
        ({"rows_per_block": 1}, "missing|not what rows take"),
        ({"buckets": 1}, "altered"),
        ({"buckets": 10**9}, "block .* of its buckets is missing"),
        ({"buckets": -1}, "no rows"),
    ],
)
def test_headers_that_claim_something_else(path, header, message):
    forge(path, **header)
    refused(path, DAMAGED, message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"rows": 10**9}, "block 999999999 of its rows, or one before it, is missing"),
        ({"rows": 699}, "last block of rows"),
        ({"dim": 10**11}, "altered"),
        ({"bits": 4}, "a code that is none"),
        ({"levels": [0.0] * 8}, "altered"),
        ({"rows_per_block": 1}, "altered"),
        ({"code": [6] * 64}, "altered"),
        ({"code": [6] * 63}, "a code that is none"),
        ({"code": [13] * 64}, "a code that is none"),
        ({"code": [5] + [6] * 63}, "a code that is none"),
        ({"code": ["6"] * 64}, "a code that is none"),
        ({"code": []}, "not what rows take|missing"),
        ({"code": 6}, "has int where 'code' should"),
        ({"error": "none"}, "has str where 'error' should"),
        ({"error": -1.0}, "an error that is none"),
    ],
)
def test_headers_of_coded_rows_that_claim_something_else(path, header, message):
    make(path, **CODED).close()
    forge(path, **header)
    refused(path, DAMAGED, message)


@pytest.mark.parametrize("statement", ["DELETE FROM rows WHERE id > 0", "DELETE FROM rows"])
def test_coded_rows_that_are_missing(path, statement):
    make(path, **CODED).close()
    forge(path, statement)
    refused(path, DAMAGED, "is missing")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM header", "header is missing"),
        ("UPDATE header SET json = '[]'", "checksum"),
        ("UPDATE header SET json = x'ff'", "header is missing|decode"),
        ("DELETE FROM rows WHERE id = 2", "block 2 of its rows is missing"),
        ("UPDATE rows SET data = 'text' WHERE id = 1", "block 1 of its rows is no blob"),
        ("UPDATE rows SET data = (SELECT data FROM rows WHERE id = 0) WHERE id = 1", "altered"),
        ("UPDATE names SET data = x'00' WHERE id = 3", "which is not what"),
        ("UPDATE names SET data = zeroblob(4000000) WHERE id = 3", "altered"),
        ("UPDATE names SET data = zeroblob(100000000) WHERE id = 3", "too big"),
        ("DELETE FROM buckets WHERE id = 1", "of its buckets is missing"),
        ("CREATE VIEW other AS SELECT 1", "not those of a store"),
        ("CREATE INDEX other ON rows (data)", "not those of a store"),
        ("DROP TABLE buckets", "not those of a store"),
    ],
)
def test_tables_that_hold_something_else(path, statement, message):
    forge(path, statement)
    refused(path, DAMAGED, message)


def test_blocks_of_a_store_of_the_same_form_do_not_pass(path, tmp_path):
    make(tmp_path / "other.db", seed=1).close()
    for table in ("rows", "names", "buckets"):
        with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
            block = connection.execute(f"SELECT data FROM {table} WHERE id = 1").fetchone()[0]
        good = path.read_bytes()
        forge(path, f"UPDATE {table} SET data = x'{block.hex()}' WHERE id = 1")
        refused(path, DAMAGED, f"block 1 of its {table} was altered")
        path.write_bytes(good)


def test_a_view_in_place_of_the_rows_is_never_run(path):
    endless = "WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n) SELECT x, '' FROM n"
    forge(path, "DROP TABLE rows", f"CREATE VIEW rows (id, data) AS {endless}")
    refused(path, DAMAGED, "not those of a store")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[" * 100_000, "cannot be read"),
        (b" " * 10**8, "cannot be read"),  # deflated to a thousandth
        (b'["a"]', "does not hold 128 words"),
        (b"[" + b"1," * 127 + b"1]", "does not hold 128 words"),
        (b"\xff", "cannot be read"),
    ],
)
def test_words_that_are_forged(path, data, message):
    with EmbeddingStore(path) as store:
        form = store._header.form
    block = zlib.compress(data, wbits=-15)
    sealed = seal(block, ("names", 0, form, 0))
    forge(path, f"UPDATE names SET data = x'{sealed.hex()}' WHERE id = 0")
    refused(path, DAMAGED, message)


def test_a_store_that_was_replaced_says_so(path, tmp_path):
    with EmbeddingStore(path) as store:
        make(tmp_path / "other.db", seed=1).close()
        os.replace(tmp_path / "other.db", path)
        right = store.take([0])
        with contextlib.ExitStack() as busy:  # another thread has the connection
            busy.enter_context(store._file._connection())
            with pytest.raises(storage.StorageError, match="was replaced since it was opened"):
                store.take([600])
        np.testing.assert_array_equal(store.take([0]), right)


def test_names_with_odd_characters_and_folders_that_cannot_be_written(path, tmp_path):
    folder = tmp_path / "a ?#%41é"
    folder.mkdir()
    shutil.copy(path, folder / "b?mode=rw.db")
    folder.chmod(0o500)
    try:
        assert read_all(folder / "b?mode=rw.db") == read_all(path)
        assert os.listdir(folder) == ["b?mode=rw.db"]
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("seconds", "options"), [(0, {}), (0.15, {}), (0.1, CODED)])
def test_a_writer_that_is_killed_leaves_the_old_file(path, seconds, options):
    good = path.read_bytes()
    assert kill_writer(path, seconds, **options)
    assert path.read_bytes() == good
    with EmbeddingStore(path) as store:
        assert store.words[-1] == WORDS[-1]
        assert len(store) == ROWS
