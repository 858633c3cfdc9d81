"""Trained embeddings with the frequencies of their words: what is lost at which size.

    python benchmarks/embeddings.py                  # what benchmarks/results/embeddings.json lacks
    python benchmarks/embeddings.py --only jieba     # rows whose set or method has this in its name
    python benchmarks/embeddings.py --compressions 8 16

Two tables: GloVe, 100,000 x 50, with the word frequencies of wordfreq, and the embedding of jieba's
tagger, 20,941 x 128, with the counts of its dictionary; a word without a frequency has half of the
least. The error is ``sum_i q_i ||a_i - b_i||^2`` over that of zeros, ``q`` the frequencies. Overlap
is the share of the ten nearest words, by cosine among the 20,000 most frequent, that the compressed
table finds too, of every twentieth of these. Each row is written as it is measured.
"""

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from structlin import specs

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "embeddings.json"
DATA = Path(os.environ.get("STRUCTLIN_DATA", ROOT.parent / "shared" / "data"))
NEAR, KNOWN, STEP = 10, 20_000, 20


class Table(NamedTuple):
    """An embedding, ``(words, features)``, and the frequency of each word."""

    rows: np.ndarray
    frequencies: np.ndarray


Fit = Callable[[Table], tuple[np.ndarray, int]]
"""From a table its compressed form, as an array, and the bytes of that form."""


def glove() -> Table:
    """GloVe's words in its own order with the frequencies of wordfreq."""
    folder = DATA / "glove_6b_50d_100k"
    rows = np.load(folder / "embedding.npy").astype(np.float32)
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")[: len(rows)]
    lines = (DATA / "wordfreq" / "en_large.tsv").read_text("utf-8").splitlines()
    buckets = dict(line.split("\t")[:2] for line in lines)
    known = np.array([10 ** (-int(buckets[w]) / 100) if w in buckets else 0 for w in words])
    return Table(rows, _filled(known))


def jieba() -> Table:
    """The embedding of jieba's tagger with the counts of its dictionary."""
    folder = DATA / "models" / "jieba_lac"
    rows = np.load(folder / "weights.npz")["word_emb"].astype(np.float32)
    counts = np.zeros(len(rows))
    # Some tokens are separators of lines themselves.
    for line in (folder / "counts.tsv").read_text("utf-8").rstrip("\n").split("\n"):
        row, *_, count = line.split("\t")
        counts[int(row)] = float(count)
    return Table(rows, _filled(counts))


def _filled(frequencies: np.ndarray) -> np.ndarray:
    least = frequencies[frequencies > 0].min() / 2
    filled = np.maximum(frequencies, least)
    return (filled / filled.sum()).astype(np.float32)


TABLES = {"glove": glove, "jieba": jieba}


def by_spec(spec: specs.Spec, *, weighted: bool = True) -> Fit:
    """A fit by a spec of this library."""

    def fit(table: Table) -> tuple[np.ndarray, int]:
        made = spec.fit(table.rows, table.frequencies if weighted else None)
        return np.asarray(jax.jit(lambda w: w.to_dense())(made)), made.cost().bytes

    return fit


def by_products(parts: int, *, weighted: bool) -> Fit:
    """Product quantisation: a code of eight bits for each of ``parts`` runs of columns.

    Reference:
        Jegou et al. (2011), "Product quantization for nearest neighbor search".
    """

    def fit(table: Table) -> tuple[np.ndarray, int]:
        runs, size = [], 0
        shares = table.frequencies if weighted else None
        for run in np.array_split(table.rows, parts, axis=1):
            cluster: Any = importlib.import_module("sklearn.cluster")
            means = cluster.MiniBatchKMeans(256, batch_size=4096, random_state=0, max_iter=10)
            codes = means.fit(run, sample_weight=shares).predict(run)
            levels = means.cluster_centers_.astype(np.float32)
            runs.append(levels[codes])
            size += len(run) + levels.nbytes
        return np.concatenate(runs, axis=1), size

    return fit


def contenders(compression: float) -> Iterator[tuple[str, Fit]]:
    """What fits a budget: a name and the fit."""
    c = compression
    published: dict[str, Any] = {"grouping": "equal", "ranks": "frequency"}
    yield "svd", by_spec(specs.LowRank(compression=c), weighted=False)
    yield "weighted svd", by_spec(specs.LowRank(compression=c))
    yield "frequency groups", by_spec(specs.GroupReduce(c, rounds=0, **published))
    yield "groupreduce, as published", by_spec(specs.GroupReduce(c, rounds=100, **published))
    yield "groupreduce", by_spec(specs.GroupReduce(c))
    yield "groupreduce, 10 groups", by_spec(specs.GroupReduce(c, groups=10))
    for bits in (8, 4, 3):
        coded = f", {bits} bits"
        inner = c * bits / 32
        if inner > 1:
            low = specs.Quantized(specs.LowRank(compression=inner), bits, "kmeans")
            yield "svd" + coded, by_spec(low, weighted=False)
            yield "weighted svd" + coded, by_spec(low)
        first = specs.GroupReduce(c, rounds=0, bits=bits, **published)
        yield "frequency groups" + coded, by_spec(first)
        yield "groupreduce" + coded, by_spec(specs.GroupReduce(c, bits=bits))
    yield "groupreduce, 8 to 3 bits", by_spec(specs.GroupReduce(c, bits=(8, 6, 4, 4, 3)))


def fixed(features: int) -> Iterator[tuple[str, Fit]]:
    """What has sizes of its own."""
    for bits in (8, 4, 3):
        yield f"{bits} bits", by_spec(specs.Quantized(specs.Dense(), bits, "kmeans"))
    for each in (2, 4, 8, 16):
        parts = -(-features // each)
        yield f"product quantisation, {parts} parts", by_products(parts, weighted=False)
        yield f"weighted product quantisation, {parts} parts", by_products(parts, weighted=True)


def neighbours(rows: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """The nearest known words of every probe, ``(probes, NEAR)``."""
    known = np.argsort(-frequencies, kind="stable")[:KNOWN]
    unit = rows[known] / np.maximum(np.linalg.norm(rows[known], axis=1, keepdims=True), 1e-12)
    scores = unit[::STEP] @ unit.T
    scores[np.arange(len(scores)), np.arange(0, len(unit), STEP)] = -np.inf
    return np.argpartition(-scores, NEAR, axis=1)[:, :NEAR]


def measure(table: Table, fit: Fit, nearest: np.ndarray) -> dict[str, Any]:
    """The figures of one row."""
    start = time.perf_counter()
    fitted, size = fit(table)
    seconds = time.perf_counter() - start
    shares = table.frequencies[:, None].astype(np.float64)
    missed = np.sum(shares * (table.rows - fitted) ** 2)
    found = neighbours(fitted, table.frequencies)
    same = [len(np.intersect1d(a, b)) for a, b in zip(nearest, found, strict=True)]
    return {
        "bytes": int(size),
        "smaller": round(table.rows.nbytes / size, 2),
        "weighted_error": round(float(missed / np.sum(shares * table.rows**2)), 6),
        "overlap": round(float(np.mean(same)) / NEAR, 4),
        "seconds": round(seconds, 1),
    }


def write(rows: list[dict[str, Any]]) -> None:
    """All rows, with where they come from."""
    result = {
        "command": "python benchmarks/embeddings.py",
        "date": time.strftime("%Y-%m-%d"),
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
        "threads": len(os.sched_getaffinity(0)),
        "versions": {"jax": jax.__version__, "python": platform.python_version()},
        "seed": 0,
        "rows": rows,
    }
    part = RESULT.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    part.replace(RESULT)


def main() -> None:
    """Measures the rows that are lacking."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the set or the method")
    parser.add_argument("--compressions", type=float, nargs="*", default=[4, 8, 16, 32])
    given = parser.parse_args()
    rows = json.loads(RESULT.read_text("utf-8"))["rows"] if RESULT.exists() else []
    done = {(row["set"], row["method"], row["compression"]) for row in rows}
    for name, read in TABLES.items():
        table = read()
        nearest = neighbours(table.rows, table.frequencies)
        todo = [(c, *pair) for c in given.compressions for pair in contenders(c)]
        todo += [(None, *pair) for pair in fixed(table.rows.shape[1])]
        for compression, method, fit in todo:
            key = (name, method, compression)
            if key in done or not any(given.only in part for part in key[:2]):
                continue
            try:
                figures = measure(table, fit, nearest)
            except ValueError as error:  # a budget that this structure cannot meet
                print(f"{key}: {error}", file=sys.stderr)
                continue
            print(f"{key}: {figures}", file=sys.stderr)
            rows.append(dict(zip(("set", "method", "compression"), key, strict=True)) | figures)
            write(rows)


if __name__ == "__main__":
    main()
