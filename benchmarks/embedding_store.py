"""The store of embeddings: its size, its memory, the time of a row, and what rounding does.

    python benchmarks/embedding_store.py            # 100,000 x 512, and GloVe where it is found
    python benchmarks/embedding_store.py --large    # 800,000 x 1,024 of a structured matrix too
    python benchmarks/embedding_store.py --quick    # of the stores those of 3 bits alone

Sizes, memory and times are of rows drawn from a normal distribution, which change none of them,
with the words of GloVe where the data are found. Each store is read in a process of its own, whose
memory is compared with what it was before the store was opened. Rows are asked for in random order:
cold, after the system was told to forget the file; warm, the same again at once; by word and in
batches, other rows, which the system may have read ahead. Times are those of the clock, and those
in which the processor worked, which other programs disturb less. Beside the stores stand a mapped
.npy file, a table of SQLite's with a record for each row, packed and float32, without words, and
.slin files of 3 bits, plain and coded, which are read whole. Coded rows err more the smaller they
are, so every size has its error beside it.
What rounding does to real embeddings is how far they move, and how many of the ten nearest words
stay, as `embeddings.py` has it. Figures go to benchmarks/results/embedding_store.json.
"""

import argparse
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _models import data_folder
from embeddings import neighbours, overlap

import structlin as sl
from structlin import bench
from structlin.demo._results import write_json
from structlin.storage import EmbeddingStore
from structlin.storage.store._codes import codec_of

RESULT = Path(__file__).resolve().parent / "results" / "embedding_store.json"
GLOVE = "glove_6b_50d_100k"
ROWS, DIM, SEED = 100_000, 512, 0
SINGLE, BATCHES = 1000, (32, 1024)
PLAIN: tuple[dict[str, Any], ...] = (
    *({"bits": bits} for bits in (1, 2, 3, 4, 8, 16, 32)),
    {"bits": 3, "codebook": "kmeans"},
)
CODED: tuple[dict[str, Any], ...] = (
    {"bits": 3, "coding": "huffman"},
    {"bits": 3, "coding": "huffman", "clip": 4.0},
    {"bits": 3, "coding": "huffman", "error": 0.32},
    {"bits": 4, "coding": "huffman", "error": 0.2},
    {"bits": 4, "coding": "huffman", "error": 0.12},
)
TARGETS = {"sqlite, 3 bits": 21_000_000, "slin, 3 bits": 19_300_000, "coded": 15_000_000}
"""The bytes within which 100,000 x 512 should be, with words in SQLite."""


def resident() -> float:
    """Megabytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def vocabulary() -> list[str] | None:
    """The 100,000 words of GloVe, if they are here."""
    with contextlib.suppress(FileNotFoundError):
        return (data_folder() / GLOVE / "vocab.txt").read_text("utf-8").split("\n")[:ROWS]
    return None


def normal(rows: int, dim: int) -> Iterator[np.ndarray]:
    """Blocks of rows, the same every time."""
    rng = np.random.default_rng(SEED)
    for start in range(0, rows, 1000):
        yield rng.normal(size=(min(1000, rows - start), dim)).astype(np.float32)


@contextlib.contextmanager
def opened(path: str, kind: str) -> Iterator[tuple[Callable[[Any], np.ndarray], bool]]:
    """What reads rows of a file, and whether by word too."""
    if kind == "npy":
        mapped = np.load(path, mmap_mode="r")
        yield lambda key: np.array(mapped[key]), False
    elif kind == "store":
        with EmbeddingStore(path) as store:
            yield store.take, store.words is not None
    else:
        codec = codec_of(DIM, int(kind))
        with contextlib.closing(sqlite3.connect(path)) as connection:

            def read(key: Any) -> np.ndarray:
                statement = "SELECT data FROM rows WHERE id = ?"
                keys = np.atleast_1d(key).tolist()
                found = [connection.execute(statement, (k,)).fetchone()[0] for k in keys]
                return codec.decode(np.frombuffer(b"".join(found), np.uint8).reshape(len(keys), -1))

            yield read, False


def measure(path: str, kind: str) -> dict[str, float]:
    """Memory and microseconds a row; runs in a process of its own."""
    numbers = np.random.default_rng(1).permutation(ROWS)
    words = [(vocabulary() or [""] * ROWS)[i] for i in numbers[-SINGLE:]]
    np.dot(np.ones((64, 64), np.float32), np.ones(64, np.float32))  # what NumPy loads at first use
    forget(path)
    before = resident()
    figures: dict[str, float] = {}
    with opened(path, kind) as (take, named):
        figures |= timed("cold", take, numbers[:SINGLE].tolist())
        figures |= timed("warm", take, numbers[:SINGLE].tolist())
        if named:
            figures |= timed("word", take, words)
        figures["memory_mb"] = resident() - before
        for size in BATCHES:
            batches = list(numbers[SINGLE:][: 16 * size].reshape(-1, size))
            figures |= timed(f"batch_{size}", take, batches)
        figures["memory_after_batches_mb"] = resident() - before
    return figures | (scanned(path) if kind == "store" else {})


def scanned(path: str) -> dict[str, float]:
    """How fast all rows are read, one after the other."""
    with EmbeddingStore(path) as store:
        start, busy = time.perf_counter(), time.process_time()
        count = sum(len(block) for block in store.blocks())
        busy, start = time.process_time() - busy, time.perf_counter() - start
    return {"scan_rows_per_second": count / start, "scan_rows_per_cpu_second": count / busy}


def timed(name: str, take: Callable[[Any], np.ndarray], keys: list[Any]) -> dict[str, float]:
    """Microseconds for each row of ``keys``, and those of them in which the processor worked."""
    start, busy = time.perf_counter(), time.process_time()
    for key in keys:
        take(key)
    busy, start = time.process_time() - busy, time.perf_counter() - start
    rows = sum(np.size(key) for key in keys)
    return {f"{name}_us": start / rows * 1e6, f"{name}_cpu_us": busy / rows * 1e6}


def forget(path: str) -> None:
    """Asks the system to drop what it keeps of a file."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def apart(*arguments: str) -> dict[str, float]:
    """What this script prints in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def stores(folder: Path, quick: bool) -> Iterator[dict[str, Any]]:
    """Every store, and what people use instead."""
    words, path = vocabulary(), str(folder / "words.db")
    for form in [form for form in (*PLAIN, *CODED) if form["bits"] == 3 or not quick]:
        both = form in ({"bits": 3}, {"bits": 3, "coding": "huffman", "clip": 4.0})
        for named in [words, None] if both else [words]:
            start = time.perf_counter()
            with EmbeddingStore.build(path, normal(ROWS, DIM), named, **form) as store:
                error = store.error
            seconds = time.perf_counter() - start
            what = {"what": "store", "words": named is not None, "relative_error": error}
            yield what | form | row(path, "store", seconds)
    yield from files(path)
    np.save(path + ".npy", np.concatenate(list(normal(ROWS, DIM))))
    yield {"what": "mapped .npy", "bits": 32} | row(path + ".npy", "npy")
    os.unlink(path + ".npy")
    for bits in (3, 32):
        Path(path).unlink()
        records(path, bits)
        yield {"what": "a record for each row", "bits": bits} | row(path, str(bits))


def files(path: str) -> Iterator[dict[str, Any]]:
    """Files of `structlin.save` with 3 bits a number, plain and coded."""
    rows = np.concatenate(list(normal(ROWS, DIM)))
    for clip, coding in (("error", None), ("size", "ans")):
        coded = sl.specs.Quantized(sl.specs.Dense(), 3, clip=clip).fit(rows)
        error = np.linalg.norm(np.asarray(coded.to_dense()) - rows) / np.linalg.norm(rows)
        sl.save(path, {"embedding": coded}, coding=coding)
        what = {"what": ".slin", "bits": 3, "clip": clip, "coding": coding}
        yield what | {"bytes": os.path.getsize(path), "relative_error": float(error)}


def row(path: str, kind: str, seconds: float | None = None) -> dict[str, Any]:
    """The figures of one file."""
    built = {} if seconds is None else {"build_seconds": seconds}
    return {"bytes": os.path.getsize(path)} | built | apart("--measure", path, kind)


def records(path: str, bits: int) -> None:
    """A table of rows as SQLite would have them by itself, without words."""
    codec, count = codec_of(DIM, bits), 0
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, data BLOB)")
        for block in normal(ROWS, DIM):
            coded = enumerate((r.tobytes() for r in codec.encode(block)), count)
            connection.executemany("INSERT INTO rows VALUES (?, ?)", coded)
            count += len(block)
        connection.commit()


def rounding(folder: Path) -> Iterator[dict[str, Any]]:
    """What GloVe's 100,000 x 50 loses."""
    if vocabulary() is None:
        return
    rows = np.load(data_folder() / GLOVE / "embedding.npy").astype(np.float32)
    order = -np.arange(len(rows))  # the most frequent first
    right = neighbours(rows, order)
    books = [(bits, codebook) for bits in (2, 3, 4, 8) for codebook in ("uniform", "kmeans")]
    forms: list[dict[str, Any]] = [{"bits": b, "codebook": c} for b, c in (*books, (16, "uniform"))]
    close = ((3, 0.33), (4, 0.17), (4, 0.1))
    forms += [{"bits": b, "coding": "huffman", "error": e} for b, e in close]
    for form in forms:
        path = folder / "glove.db"
        with EmbeddingStore.build(path, rows, **form) as store:
            stored = store.take(np.arange(len(rows)))
        yield form | {
            "bytes": path.stat().st_size,
            "relative_error": float(np.linalg.norm(stored - rows) / np.linalg.norm(rows)),
            "neighbours_kept": overlap(right, neighbours(stored, order)),
        }


def large(path: str) -> dict[str, Any]:
    """800,000 x 1,024 from a matrix of low rank; runs in a process of its own."""
    matrix = sl.specs.LowRank(rank=16).init(jax.random.key(SEED), (800_000, 1024))
    matrix.take(jnp.arange(256)).block_until_ready()
    before, most = resident(), 0.0

    def progress(*_: Any) -> None:
        nonlocal most
        most = max(most, resident())

    start = time.perf_counter()
    EmbeddingStore.build(path, matrix, bits=3, progress=progress).close()
    seconds = time.perf_counter() - start
    size = {"bytes": os.path.getsize(path), "float32_bytes": 4 * 800_000 * 1024}
    return size | {"build_seconds": seconds, "memory_mb": most - before}


def header() -> dict[str, Any]:
    """What was run, and on what."""
    sizes = {"seed": SEED, "rows": ROWS, "dim": DIM, "float32_bytes": 4 * ROWS * DIM}
    known = {"target_bytes": TARGETS, "sqlite": sqlite3.sqlite_version, "load": os.getloadavg()[0]}
    command = " ".join(["python benchmarks/embedding_store.py", *sys.argv[1:]])
    return bench.header(command, ("numpy",), **sizes, **known)


def main() -> None:
    """Measures everything, and writes it."""
    parser = argparse.ArgumentParser(description="Measure the store of embeddings.")
    parser.add_argument("--large", action="store_true", help="800,000 x 1,024 as well")
    parser.add_argument("--quick", action="store_true", help="of the stores those of 3 bits alone")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure-large", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        return print(json.dumps(measure(*given.measure)))
    if given.measure_large:
        return print(json.dumps(large(given.measure_large)))
    result = header()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, rows in (("stores", stores(folder, given.quick)), ("glove", rounding(folder))):
            result[part] = []
            for figures in rows:
                result[part].append(figures)
                print(figures, file=sys.stderr)
        if given.large:
            result["large"] = apart("--measure-large", str(folder / "large.db"))
            print(result["large"], file=sys.stderr)
    RESULT.parent.mkdir(exist_ok=True)
    return write_json(RESULT, result)


if __name__ == "__main__":
    main()
