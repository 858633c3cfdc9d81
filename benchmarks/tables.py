"""Writes the tables of the README from the result files, or checks that they agree.

    python benchmarks/tables.py            # rewrites README.md
    python benchmarks/tables.py --check    # exits with 1 if it would change

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``; ``NAME`` is that of a file
in ``benchmarks/results`` without its ending.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
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


def demo_table(result: dict[str, Any]) -> str:
    """The Markdown table of one ``table.json`` of the demo."""
    lines = [" | ".join(HEADER), " | ".join(["---"] + ["---:"] * (len(HEADER) - 1))]
    lines += [" | ".join(_cells(row)) for row in result["rows"]]
    return "".join(f"| {line} |\n" for line in lines)


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
        return match[1] + demo_table(result) + match[3]

    return TABLE.sub(table, text)


def main() -> int:
    """Rewrites or, with ``--check``, compares."""
    stale = []
    for path in (ROOT / "README.md",):
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
