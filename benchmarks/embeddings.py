"""Trained embeddings with the frequencies of their words: what is lost at which size.

    python benchmarks/embeddings.py                          # what is still missing
    python benchmarks/embeddings.py --only 'jieba, 8x'       # rows of this name

Tables: GloVe, 100,000 x 50, with the word frequencies of wordfreq, and the embedding of jieba's
tagger, 20,941 x 128, with the counts of its dictionary, where a word without a frequency has half
of the least; and that of the dense model of `training/vocabulary.py`, 10,000 x 200, with its counts
in WikiText-2, which is trained first if it was not. The error is ``sum_i q_i ||a_i - b_i||^2`` over
that of zeros, ``q`` the frequencies, and the plain one without ``q``. Overlap is the share of the
ten nearest words, by cosine among the 20,000 most frequent, that the compressed table finds too, of
every twentieth of these.
"""

import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from _models import data_folder

from structlin import specs

sys.path.append(str(Path(__file__).resolve().parent / "training"))
experiments: Any = importlib.import_module("_experiments")

COMPRESSIONS = (8, 16, 4, 32)
BITS = (8, 4, 3, 2, 1)
MIXED = 8
"""Where there is room for four bits of every number, frequent groups may have more and rare ones
fewer."""
NEAR, KNOWN, STEP = 10, 20_000, 20


class Table(NamedTuple):
    """An embedding, ``(words, features)``, and the frequency of each word."""

    rows: np.ndarray
    frequencies: np.ndarray


class Way(NamedTuple):
    """A way to make a table small.

    Attributes:
        name: Of its row.
        recipe: All that its figures depend on, for JSON.
        fit: From a table its compressed form, as an array, and the bytes of that form.
    """

    name: str
    recipe: dict[str, Any]
    fit: Callable[[Table], tuple[np.ndarray, int]]


@functools.cache
def glove(_: Path) -> Table:
    """GloVe's words in its own order with the frequencies of wordfreq."""
    folder = data_folder() / "glove_6b_50d_100k"
    rows = np.load(folder / "embedding.npy").astype(np.float32)
    words = (folder / "vocab.txt").read_text("utf-8").split("\n")[: len(rows)]
    lines = (data_folder() / "wordfreq" / "en_large.tsv").read_text("utf-8").splitlines()
    buckets = dict(line.split("\t")[:2] for line in lines)
    known = np.array([10 ** (-int(buckets[w]) / 100) if w in buckets else 0 for w in words])
    return Table(rows, _filled(known))


@functools.cache
def jieba(_: Path) -> Table:
    """The embedding of jieba's tagger with the counts of its dictionary."""
    folder = data_folder() / "models" / "jieba_lac"
    rows = np.load(folder / "weights.npz")["word_emb"].astype(np.float32)
    counts = np.zeros(len(rows))
    # Some tokens are separators of lines themselves.
    for line in (folder / "counts.tsv").read_text("utf-8").rstrip("\n").split("\n"):
        parts = line.split("\t")
        counts[int(parts[0])] = float(parts[-1])
    return Table(rows, _filled(counts))


@functools.cache
def wikitext2(runs: Path) -> Table:
    """The embedding of a language model of words, which it trains in the folder ``runs``."""
    language: Any = importlib.import_module("vocabulary")
    params = experiments.finished(language.dense(), runs)
    rows = np.asarray(params["embed"]["embedding"], np.float32)
    return Table(rows, _filled(language.counts(language.text())))


def _filled(frequencies: np.ndarray) -> np.ndarray:
    least = frequencies[frequencies > 0].min() / 2
    filled = np.maximum(frequencies, least)
    return (filled / filled.sum()).astype(np.float32)


TABLES = {"jieba": (jieba, 128), "glove": (glove, 50), "wikitext2": (wikitext2, 200)}
"""What reads each table, from the folder of the runs, and its features."""


def by_spec(name: str, spec: specs.Spec, *, weighted: bool = True) -> Way:
    """A fit by a spec of this library."""

    def fit(table: Table) -> tuple[np.ndarray, int]:
        made = spec.fit(table.rows, table.frequencies if weighted else None)
        return np.asarray(jax.jit(lambda w: w.to_dense())(made)), made.cost().bytes

    return Way(name, {"spec": spec.to_json(), "weighted": weighted}, fit)


def by_products(parts: int, *, weighted: bool) -> Way:
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

    name = f"{'weighted ' * weighted}product quantisation, {parts} parts"
    return Way(name, {"parts": parts, "weighted": weighted}, fit)


def contenders(compression: float) -> Iterator[Way]:
    """What fits a budget."""
    c = compression
    published: dict[str, Any] = {"grouping": "equal", "ranks": "frequency"}
    yield by_spec("svd", specs.LowRank(compression=c), weighted=False)
    yield by_spec("weighted svd", specs.LowRank(compression=c))
    yield by_spec("frequency groups", specs.GroupReduce(c, rounds=0, **published))
    yield by_spec("groupreduce, as published", specs.GroupReduce(c, rounds=100, **published))
    yield by_spec("groupreduce", specs.GroupReduce(c))
    for bits in BITS[:3]:
        coded = f", {bits} bits"
        inner = c * bits / 32
        if inner > 1:
            low = specs.Quantized(specs.LowRank(compression=inner), bits, "kmeans")
            yield by_spec("svd" + coded, low, weighted=False)
            yield by_spec("weighted svd" + coded, low)
            first = specs.GroupReduce(c, rounds=0, bits=bits, **published)
            yield by_spec("frequency groups" + coded, first)
            yield by_spec("groupreduce" + coded, specs.GroupReduce(c, bits=bits))
    if c == MIXED:
        for bits in ((8, 8, 4, 4, 3), (8, 5, 4, 3, 2)):
            name = f"groupreduce, {bits[0]} to {bits[-1]} bits"
            yield by_spec(name, specs.GroupReduce(c, bits=bits))


def fixed(features: int) -> Iterator[Way]:
    """What has sizes of its own."""
    for bits in BITS:
        coded = specs.Quantized(specs.Dense(), bits, "kmeans")
        yield by_spec(f"{bits} bits" if bits > 1 else "1 bit", coded, weighted=False)
    for each in (2, 4, 8, 16):
        parts = -(-features // each)
        yield by_products(parts, weighted=False)
        yield by_products(parts, weighted=True)


def neighbours(rows: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """The nearest known words of every probe, ``(probes, NEAR)``."""
    known = np.argsort(-frequencies, kind="stable")[:KNOWN]
    unit = rows[known] / np.maximum(np.linalg.norm(rows[known], axis=1, keepdims=True), 1e-12)
    scores = unit[::STEP] @ unit.T
    scores[np.arange(len(scores)), np.arange(0, len(unit), STEP)] = -np.inf
    return np.argpartition(-scores, NEAR, axis=1)[:, :NEAR]


def overlap(right: np.ndarray, found: np.ndarray) -> float:
    """The share of neighbours that are in both."""
    same = [len(np.intersect1d(a, b)) for a, b in zip(right, found, strict=True)]
    return float(np.mean(same)) / NEAR


@functools.cache
def nearest(name: str, runs: Path) -> np.ndarray:
    """The neighbours in a table itself."""
    return neighbours(*TABLES[name][0](runs))


def measure(name: str, way: Way, folder: Path) -> dict[str, Any]:
    """The figures of one row."""
    table = TABLES[name][0](folder.parent)
    start = time.perf_counter()
    try:
        fitted, size = way.fit(table)
    except ValueError as error:  # a budget that this structure cannot meet
        return {"refused": str(error)}
    seconds = time.perf_counter() - start
    missed = np.sum((table.rows - fitted).astype(np.float64) ** 2, axis=1)
    whole = np.sum(table.rows.astype(np.float64) ** 2, axis=1)
    shares = table.frequencies.astype(np.float64)
    found = neighbours(fitted, table.frequencies)
    return {
        "bytes": int(size),
        "compression": round(table.rows.nbytes / size, 3),
        "seconds": round(seconds, 1),
        "figures": {
            "weighted_error": round(float(shares @ missed / (shares @ whole)), 6),
            "error": round(float(missed.sum() / whole.sum()), 6),
            "overlap": round(overlap(nearest(name, folder.parent), found), 4),
        },
    }


def rows() -> list[Any]:
    """All rows; at each size all tables."""
    made = []
    for size in (*COMPRESSIONS, None):
        for name, (_, features) in TABLES.items():
            ways = fixed(features) if size is None else contenders(size)
            asked = "" if size is None else f"{size}x, "
            for way in ways:
                recipe = {"table": name, "way": way.name, "asked": size} | way.recipe
                measured = functools.partial(measure, name, way)
                made.append(experiments.Row(f"{name}, {asked}{way.name}", recipe, measured))
    return made


def main() -> None:
    """Measures what is missing, and writes after every row."""
    options = experiments.parser("Compress tables of words.", "embeddings.json")
    experiments.carry_out(rows(), options.parse_args())


if __name__ == "__main__":
    main()
