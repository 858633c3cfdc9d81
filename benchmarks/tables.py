"""Writes the tables of the pages from the result files, or checks that they agree.

    python benchmarks/tables.py            # rewrites README.md and docs/benchmarks.md
    python benchmarks/tables.py --check    # exits with 1 if it would change

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``; ``NAME`` is that of a file
in ``benchmarks/results`` without its ending.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
TABLE = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)
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


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table; columns after the first ``text_columns`` stand to the right."""
    rule = ["---"] * text_columns + ["---:"] * (len(header) - text_columns)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))


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


KINDS = {"demo": demo_table, "algebra": algebra_table, "fits": fits_table, "rnn": rnn_table}
"""What a result file's name starts with -> how it becomes a table."""


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
        return match[1] + KINDS[match["name"].partition("_")[0]](result) + match[3]

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
