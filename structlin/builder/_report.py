"""The picture of a report: how right the models are, and how large."""

import os
from collections.abc import Mapping
from typing import Any

__all__ = ["draw", "frontier"]


def draw(path: str | os.PathLike[str], report: Mapping[str, Any]) -> None:
    """Draws accuracy over bytes, with a line through the models that no other beats at both.

    Args:
        path: Where to; the ending tells the format.
        report: What `Build.report` returned.

    Raises:
        ImportError: ``matplotlib`` is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("A plot needs `pip install structlin[plot]`.") from None
    rows = report["rows"]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    best = frontier(rows)
    axes.plot([r["bytes"] for r in best], [100 * r["accuracy"] for r in best], color="lightgray")
    for row in rows:
        point = row["bytes"], 100 * row["accuracy"]
        axes.plot(*point, "s" if row["size"] == "teacher" else "o")
        note = f"{row['size']} ({row['microseconds']:.0f} us)"
        where = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
        axes.annotate(note, point, fontsize=8, **where)
    axes.set_xscale("log")
    axes.margins(x=0.15, y=0.15)
    axes.set(
        xlabel="bytes of the file", ylabel=f"accuracy on {report['settings']['figures_of']}, %"
    )
    axes.grid(alpha=0.3)
    figure.savefig(path)


def frontier(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows than which none is both smaller and at least as accurate, by size."""
    found: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda r: (r["bytes"], -r["accuracy"])):
        if not found or row["accuracy"] > found[-1]["accuracy"]:
            found.append(row)
    return found
