"""Refines the groups of a table of words in a file, in bounded memory: seconds a round and memory.

    python benchmarks/group_reduce.py                                  # 50,000 x 256
    python benchmarks/group_reduce.py --words 800000 --features 1024   # as large as a bigLSTM's

The table is drawn and written in blocks: each word in one of twelve subspaces, with noise, its
frequency by Zipf's law. What is measured is time and memory, which depend on the shape. One row a
shape in ``benchmarks/results/group_reduce.json``; a shape measured anew replaces its row.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from structlin import bench, decompose

RESULT = Path(__file__).resolve().parent / "results" / "group_reduce.json"
BLOCK = 8192
KINDS = 12


def write_table(path: Path, words: int, features: int, seed: int = 0) -> None:
    """A table in a file, drawn a block at a time."""
    rng = np.random.default_rng(seed)
    rank = max(1, features // 16)
    bases = rng.normal(size=(KINDS, rank, features)).astype(np.float32) / rank**0.5
    table = np.lib.format.open_memmap(path, "w+", np.float32, (words, features))
    for start in range(0, words, BLOCK):
        count = min(BLOCK, words - start)
        kinds = rng.integers(0, KINDS, count)
        inner = rng.normal(size=(count, rank)).astype(np.float32)
        block = 0.3 * rng.normal(size=(count, features)).astype(np.float32)
        for kind in range(KINDS):
            own = kinds == kind
            block[own] += inner[own] @ bases[kind]
        table[start : start + count] = block
    table.flush()


def write_factors(folder: Path, rows: Any, found: decompose.Groups) -> int:
    """The left factors of all groups in files, a block of rows at a time; their bytes."""
    sizes = np.bincount(found.labels, minlength=len(found.ranks))
    files = [
        np.lib.format.open_memmap(folder / f"left{p}.npy", "w+", rows.dtype, (size, rank))
        for p, (size, rank) in enumerate(zip(sizes, found.ranks, strict=True))
        if size
    ]
    ends = np.zeros(len(files), int)
    kept = np.flatnonzero(sizes)
    for start in range(0, rows.shape[0], BLOCK):
        block, labels = rows[start : start + BLOCK], found.labels[start : start + BLOCK]
        for file, p in enumerate(kept):
            own = block[labels == p]
            # A dense group keeps its rows; its basis is a rotation.
            dense = found.ranks[p] == rows.shape[1]
            left = own if dense else own @ found.bases[p].astype(rows.dtype)
            files[file][ends[file] : ends[file] + len(left)] = left
            ends[file] += len(left)
    return sum(file.nbytes for file in files)


def mebibytes() -> float:
    """The most memory that this process has held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """One row: seconds of each step, the error, and the memory."""
    words, features, groups = given.words, given.features, given.groups
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "table.npy"
        write_table(path, words, features)
        rows = np.load(path, mmap_mode="r")
        weights = 1 / np.arange(1.0, words + 1)
        labels = decompose.frequency_groups(weights, groups)
        ticks, shares, moves = [], [], []
        before = mebibytes()

        def progress(turn: int, share: float, moved: int) -> None:
            ticks.append(time.perf_counter())
            shares.append(round(share, 6))
            moves.append(moved)
            print(f"round {turn}: error {share:.5f}, {moved:,} moved", file=sys.stderr)

        start = time.perf_counter()
        found = decompose.group_reduce(
            rows,
            weights,
            labels,
            rows.nbytes / given.compression,
            (rows.itemsize,) * groups,
            rounds=given.rounds,
            progress=progress,
        )
        refined = time.perf_counter()
        factors = write_factors(Path(folder), rows, found)
        return {
            "words": words,
            "features": features,
            "groups": groups,
            "compression": given.compression,
            "table_mib": round(rows.nbytes / 2**20, 1),
            "factor_mib": round(factors / 2**20, 1),
            "seconds_first": round(ticks[0] - start, 2),
            "seconds_rounds": [round(s, 2) for s in np.diff(ticks)],
            "seconds_refined": round(refined - start, 2),
            "seconds_factors": round(time.perf_counter() - refined, 2),
            "errors": shares,
            "moved": moves,
            "ranks": list(found.ranks),
            "mib_before": before,
            "mib_most": mebibytes(),  # pages of the mapped file among it
        }


def main() -> None:
    """Measures one shape and writes its row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--groups", type=int, default=5)
    parser.add_argument("--compression", type=float, default=6.6)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", default=None, help="where the table is written")
    given = parser.parse_args()
    row = measure(given)
    old = json.loads(RESULT.read_text("utf-8"))["rows"] if RESULT.exists() else []
    kept = [r for r in old if (r["words"], r["features"]) != (row["words"], row["features"])]
    command = "python benchmarks/group_reduce.py --words WORDS --features FEATURES"
    rows = sorted([*kept, row], key=lambda r: r["words"] * r["features"])
    result = bench.header(command, ("numpy",), seed=0) | {"rows": rows}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
