"""Writes the tables of the pages from the result files, or checks that they agree.

    python benchmarks/tables.py            # rewrites the pages
    python benchmarks/tables.py --check    # exits with 1 if it would change

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``; ``NAME`` is that of a file
in ``benchmarks/results`` without its ending, or ``NAME/PART`` where a file makes several tables.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _embedding_tables import TABLES as EMBEDDINGS
from _emoji_table import emoji
from _markdown import markdown
from _projection_tables import TABLES as PROJECTIONS
from _speed_tables import TABLES as SPEED
from _training_tables import TABLES as TRAINING

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = (
    "benchmarks",
    "distributed",
    "embeddings",
    "emoji",
    "performance",
    "projections",
    "train-command",
    "training",
)
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in DOCS))
TABLE = re.compile(
    r"(<!-- table: (?P<name>[\w-]+)(?P<part>/\w+)? -->\n).*?(?P<end><!-- /table -->)", re.DOTALL
)
HEADER = (
    "structure",
    "params",
    "bytes",
    "smaller (bytes)",
    "smaller (params)",
    "projected",
    "tuned",
    "packed = reloaded",
    "µs a character",
    "speed",
)


def demo_table(result: dict[str, Any]) -> str:
    """The Markdown table of one ``table.json`` of the demo."""
    return markdown(HEADER, map(_cells, result["rows"]))


def algebra_table(result: dict[str, Any]) -> str:
    """Our time, and over the fastest other, for each structure and task."""
    header = ("structure", "task", "structlin, µs", "fastest other", "µs", "ratio", "others, µs")

    def cells(row: dict[str, Any]) -> list[str]:
        times, best = row["microseconds"], row["fastest_other"]
        mine = min(t for n, t in times.items() if n.startswith("structlin"))
        rest = [n for n in times if n != best and not n.startswith("structlin")]
        others = ", ".join(f"{n} {times[n]:.0f}" for n in sorted(rest, key=times.__getitem__))
        first = [row["structure"], row["task"], f"{mine:.0f}", best, f"{times[best]:.0f}"]
        return [*first, f"{row['ratio']:.2f}", others]

    return markdown(header, map(cells, result["rows"]), 2)


def fits_table(result: dict[str, Any]) -> str:
    """Seconds, error and size of each fit."""
    header = ("fit", "shape", "seconds", "relative error", "smaller (bytes)")

    def cells(row: dict[str, Any]) -> list[str]:
        m, n = row["shape"]
        figures = (f"{row['seconds']:.1f}", f"{row['relative_error']:.4f}")
        return [row["structure"], f"{m} x {n}", *figures, f"{row['compression']:.1f}x"]

    return markdown(header, map(cells, result["rows"]))


def rnn_table(result: dict[str, Any]) -> str:
    """Microseconds a step of both, and the speed-up with its range over draws of the weights."""
    header = ("cell", "task", "nn.RNN, µs a step", "structlin.RNN, µs a step", "speed", "range")

    def cells(row: dict[str, Any]) -> list[str]:
        times = [f"{t:.0f}" for t in row["microseconds_per_step"].values()]
        spread = f"{row['speedup_least']:.2f} to {row['speedup_most']:.2f}"
        return [row["cell"], row["task"], *times, f"{row['speedup']:.2f}x", spread]

    return markdown(header, map(cells, result["rows"]), 2)


def post_table(result: dict[str, Any]) -> str:
    """What each model does, by family and by how much smaller its kernels were asked to be."""
    sizes = ("2x", "4x", "8x")
    found: dict[str, dict[tuple[str, str], str]] = {}
    for row in result["rows"]:
        family, _, size = row["name"].rpartition(", ")
        if size not in sizes:
            family, size = row["name"], _nearest(row.get("compression", 1.0), sizes)
        metric, value = next(iter(row.get("figures", {}).items()), ("", 0.0))
        text = f"{100 * value:.1f} %" if metric == "word_accuracy" else f"{value:.2f}"
        found.setdefault(family, {})[row["model"], size] = text if metric else ""
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    dense = found.pop("Dense")
    header = ["kernels", *(f"{m}, {s}" for m in models for s in sizes)]
    rows = [
        [family, *(cells.get((m, s), "") for m in models for s in sizes)]
        for family, cells in found.items()
    ]
    whole = ["Dense", *("" if s else dense[m, ""] for m in models for s in ("", *sizes[1:]))]
    return markdown(header, [whole, *rows])


def _nearest(compression: float, sizes: Sequence[str]) -> str:
    """The size that a compression of no name of its own stands for; none for a dense one."""
    if compression < 1.5:
        return ""
    return min(sizes, key=lambda size: abs(float(size[:-1]) / compression - 1))


def data_table(result: dict[str, Any]) -> str:
    """What a step adds up over devices that split the batch."""
    header = ("embedding, input, recurrent", "parameters", "numbers added up")

    def cells(row: dict[str, Any]) -> list[str]:
        added = row["collectives"]["all-reduce"]["numbers"]
        return [row["model"], f"{row['parameters']:,}", f"{added:,}"]

    return markdown(header, (cells(row) for row in result["rows"] if row["table"] == "data"))


def vocabulary_table(result: dict[str, Any]) -> str:
    """What a step sends between devices that split the words, and its memory."""
    figures = ("all-reduces", "numbers in them", "other numbers", "temporary, MB")

    def cells(row: dict[str, Any]) -> list[str]:
        split = ", ".join(f"`{path}`" for path in row["split"]) or "nothing"
        added = row["collectives"]["all-reduce"]
        other = sum(c["numbers"] for c in row["collectives"].values()) - added["numbers"]
        counts = [f"{n:,}" for n in (added["count"], added["numbers"], other)]
        return [row["model"], split, *counts, f"{row['temporary_bytes'] / 1e6:.0f}"]

    rows = (cells(row) for row in result["rows"] if row["table"] == "vocabulary")
    return markdown(("table of words", "what is split", *figures), rows, 2)


KINDS = {
    "demo": demo_table,
    "algebra": algebra_table,
    "fits": fits_table,
    "rnn": rnn_table,
    "post": post_table,
    "emoji": emoji,
    "collectives/data": data_table,
    "collectives/vocabulary": vocabulary_table,
    **EMBEDDINGS,
    **SPEED,
    **TRAINING,
    **PROJECTIONS,
}
"""A result file's name or what it starts with, and the part of it, -> how that becomes a table."""


def _cells(row: dict[str, Any]) -> list[str]:
    bits = row["bits_per_character"]

    def stage(name: str) -> str:
        value = bits.get(name)
        if value is None:
            return ""
        return f"{value['mean']:.3f}" + (f" ± {value['std']:.3f}" if value["std"] else "")

    return [
        row["structure"],
        f"{row['params']:,}",
        f"{row['bytes']:,}",
        f"{row['compression']:.1f}x",
        f"{row['compression_params']:.1f}x",
        stage("projected"),
        stage("tuned"),
        f"{bits['reloaded']['mean']:.3f}",
        f"{row['microseconds_per_character']:.1f}",
        f"{row['speedup']:.2f}x",
    ]


def render(text: str) -> str:
    """``text`` with every table made anew from its result file."""

    def table(match: re.Match[str]) -> str:
        result = json.loads((RESULTS / f"{match['name']}.json").read_text(encoding="utf-8"))
        part = match["part"] or ""
        kinds = (name + part for name in (match["name"], match["name"].partition("_")[0]))
        return match[1] + next(KINDS[k] for k in kinds if k in KINDS)(result) + match["end"]

    return TABLE.sub(table, text)


def main() -> int:
    """Rewrites or, with ``--check``, compares."""
    stale = []
    for path in PAGES:
        old = path.read_text(encoding="utf-8")
        new = render(old)
        if new != old:
            stale.append(path.name)
            if "--check" not in sys.argv[1:]:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv[1:]:
        print(f"{', '.join(stale)} differ from benchmarks/results: run python benchmarks/tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
