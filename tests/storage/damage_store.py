"""Stores that were damaged, and writers that were killed; see each function for what must hold.

    python tests/storage/damage_store.py      # 2,000 damaged files of each form, 50 killed writers

``test_store_damage.py`` runs some of each.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from structlin import storage
from structlin.storage import EmbeddingStore
from structlin.storage.store._format import seal

ROWS, DIM = 700, 96
WORDS = [f"word {i}" for i in range(ROWS)]
CODED = {"coding": "huffman", "clip": 4.0}


def make(path, seed=0, **options):
    """A small store with words, of several pages in every table."""
    rows = np.random.default_rng(seed).normal(size=(ROWS, DIM)).astype(np.float32)
    return EmbeddingStore.build(path, rows, WORDS, **{"bits": 3} | options)


def read_all(path):
    """Every row by number and some by word, and every word."""
    with EmbeddingStore(path) as store:
        rows = store.take(np.arange(ROWS))
        some = store.take(WORDS[:: ROWS // 7])
        return rows.tobytes(), some.tobytes(), tuple(store.words), len(store), "no word" in store


def damage(good, others, rng):
    """The bytes of a store after one accident, chosen by ``rng``."""
    data = bytearray(good)
    kind = rng.choice(["bit", "bits", "bytes", "cut", "grow", "header", "page", "size", "text"])
    if kind in ("bit", "bits"):
        for _ in range(1 if kind == "bit" else rng.randrange(2, 40)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "bytes":
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(1, 9000)] = rng.randbytes(8)
        data = (data + bytes(len(good)))[: len(good)]
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "grow":
        data += rng.randbytes(rng.randrange(1, 9000))
    elif kind == "header":
        size = rng.choice([16, 64, 100, 2048, 8192])
        data[:size] = rng.choice(others)[:size]
    elif kind == "page":
        a, b = (8192 * rng.randrange(len(data) // 8192) for _ in range(2))
        data[a : a + 8192] = rng.choice([*others, good])[b : b + 8192].ljust(8192, b"\0")
    elif kind == "size":
        place = 8192 * rng.randrange(len(data) // 8192) + rng.randrange(200)
        data[place : place + 8] = rng.choice([b"\xff", b"\x7f", b"\0"]) * 8
    else:
        place = good.find(b'{"dim"') + rng.randrange(90)
        data[place : place + 1] = rng.choice([b"9", b"9999999999", b"-", b"[", b"e"])
        data = data[: len(good)]
    return bytes(data)


def survives(path, good, right, others, rng):
    """Reads a damaged store: says how it was refused, or "right" if it was read rightly.

    Anything else is an error: another exception, other rows or words, or a long time.
    """
    path.write_bytes(damage(good, others, rng))
    start = time.perf_counter()
    try:
        result = read_all(path)
    except storage.StorageError as error:
        assert str(error).startswith(f"Cannot read {str(path)!r}: "), error
        assert "\n" not in str(error)
        return type(error).__name__
    finally:
        assert time.perf_counter() - start < 20
    assert result == right
    return "right"


def forge(path, *statements, **header):
    """Changes a store by SQL, and what its header says, with a checksum that is right."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        text = connection.execute("SELECT json FROM header").fetchone()[0]
        text = json.dumps(json.loads(text) | header)
        checksum = zlib.crc32(text.encode())
        connection.execute("UPDATE header SET json = ?, crc32 = ?", (text, checksum))
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def lies(path, good, rng):
    """Reads a store of which a block of rows is other bytes, with a checksum that is right.

    Returns:
        How it was refused, or "read" if it gave as many rows.
    """
    path.write_bytes(good)
    with EmbeddingStore(path) as store:
        form = store._header.form
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT id, data FROM rows").fetchall()
        block, data = rng.choice(found)
        data = bytearray(data[:-4])
        start = rng.choice([0, rng.randrange(9), rng.randrange(len(data))])
        stop = min(start + rng.choice([1, 4, 40]), len(data))
        data[start:stop] = rng.choice([rng.randbytes(stop - start), b"\0" * 4, b"\xff" * 9, b""])
        sealed = seal(bytes(data), ("rows", 0, form, block))
        where = rng.choice([block, block, block, block + 1, 0])
        connection.execute("UPDATE rows SET data = ? WHERE id = ?", (sealed, block))
        connection.execute("UPDATE OR REPLACE rows SET id = ? WHERE id = ?", (where, block))
        connection.commit()
    start = time.perf_counter()
    try:
        rows = read_all(path)[0]
    except storage.StorageError as error:
        assert len(str(error)) < 600, error
        return type(error).__name__
    finally:
        assert time.perf_counter() - start < 20
    assert len(rows) == 4 * ROWS * DIM
    return "read"


KILLED = """
import json, sys
import numpy as np
from structlin.storage import EmbeddingStore

def rows():
    rng = np.random.default_rng(1)
    for i in range(400):
        yield rng.normal(size=(500, 64)).astype(np.float32)
        if i == 4:
            print("started", flush=True)

options = json.loads(sys.argv[2])
EmbeddingStore.build(sys.argv[1], rows(), (f"new {i}" for i in range(200_000)), **options)
print("done", flush=True)
"""


def kill_writer(path, seconds, **options):
    """Ends a process that builds a store in place of ``path``, ``seconds`` after it began to.

    Returns:
        Whether it was still at it.
    """
    command = [sys.executable, "-c", KILLED, str(path), json.dumps({"bits": 8} | options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "started\n"
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        return "done" not in writer.stdout.read()


def main():
    parser = argparse.ArgumentParser(description="Damage stores, and kill their writers.")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for options in ({}, CODED):
        print("coded" if options else "as they are", end=": ")
        endure(given, options)


def endure(given, options):
    """Damages stores of one form and kills writers of it, and says how that went."""
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        path, counts = Path(folder) / "words.db", collections.Counter()
        good, others, right = originals(path, **options)
        for _ in range(given.files):
            counts[survives(path, good, right, others, rng)] += 1
            counts["lies: " + lies(path, good, rng)] += 1
        print(dict(counts))
        path.write_bytes(good)
        killed = 0
        for _ in range(given.kills):
            killed += kill_writer(path, rng.uniform(0, 2), **options)
            if path.read_bytes() != good:  # it had finished
                with EmbeddingStore(path) as store:
                    assert len(store) == 200_000
                    assert store.words[-1] == "new 199999"
                path.write_bytes(good)
            assert read_all(path) == right
        left = [name for name in os.listdir(folder) if name != path.name]
        print(f"killed: {killed} of {given.kills} while writing, {len(left)} temporary files left")


def originals(path, **options):
    """A store's bytes, those of others that are like it in part, and what reading it gives."""
    others = []
    for other in ({"seed": 1} | options, {"codebook": "kmeans"}, {"bits": 8}, {}, CODED):
        make(path, **other).close()
        others.append(path.read_bytes())
    make(path, **options).close()
    return path.read_bytes(), others, read_all(path)


if __name__ == "__main__":
    main()
