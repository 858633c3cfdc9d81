"""Draws the result files that are better seen than read.

    python benchmarks/plots.py       # writes docs/post_training.svg, docs/speed.svg and so on

Made of text, so that it may be kept with the sources.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from _speed_plots import speed
from _training_map import whole_map
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
LABELS = {"word_accuracy": "words right", "bits_per_character": "bits a character"}
MOST_BITS = 9.0
"""Where the axis of bits ends: all characters alike are 6 to 7."""

mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "structlin", "font.size": 9})


def series(rows: list[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Family -> (bytes, figure) of its members, by size; several sizes of a name are a family."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if "figures" in row:
            family, _, size = row["name"].rpartition(", ")
            family = family if size.endswith("x") else row["name"]
            figure = next(iter(row["figures"].values()))
            found.setdefault(family, []).append((row["bytes"], figure))
    return {family: sorted(points) for family, points in found.items()}


def post_training(result: dict[str, Any]) -> Figure:
    """A panel for each model: what it does over the bytes of its recurrent kernels."""
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    shades = mpl.colormaps["Dark2"]
    figure, panels = plt.subplots(1, len(models), figsize=(4.2 * len(models), 4.4), squeeze=False)
    for model, axes in zip(models, panels[0], strict=True):
        rows = [row for row in result["rows"] if row["model"] == model]
        metric = next(iter(rows[0]["figures"]))
        found = series(rows)
        plans = [family for family in found if family.startswith("Plan")]
        others = [family for family in found if family not in plans]
        for family, points in found.items():
            plan = family in plans
            axes.plot(
                [b / 1024 for b, _ in points],
                [y for _, y in points],
                marker="o" if plan else "." if len(points) > 1 else "x",
                linewidth=2 if plan else 0.8,
                color=f"C{plans.index(family)}" if plan else shades(others.index(family)),
                label=family,
            )
        axes.set(title=model, xlabel="KiB of recurrent kernels", ylabel=LABELS[metric])
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.minorticks_off()
        if metric == "bits_per_character":
            axes.set_ylim(top=MOST_BITS)
        axes.grid(alpha=0.3)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.16, 1, 1))
    return figure


def training_map(result: dict[str, Any]) -> Figure | None:
    """A panel for each width: what each structure loses against dense, over its honest bytes.

    There is none before the map has rows.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    rows = whole_map(result)
    for (width, *rest), row in rows.items():
        if rest != ["Dense"] and "figures" in row:
            lost = row["figures"]["test"] - rows[width, "Dense"]["figures"]["test"]
            point = row["compression"], lost
            found.setdefault(width, {}).setdefault(rest[1], []).append(point)
    widths = sorted(found, key=int)
    if not widths:
        return None
    shades, names = mpl.colormaps["Dark2"], sorted(found[widths[0]])
    size = (max(7.2, 3.6 * len(widths)), 4.0)  # the legend needs its width
    figure, panels = plt.subplots(1, len(widths), figsize=size, squeeze=False, sharey=True)
    for width, axes in zip(widths, panels[0], strict=True):
        for name, points in sorted(found[width].items()):
            about = {"marker": "o", "markersize": 4, "label": name}
            axes.plot(*zip(*sorted(points), strict=True), color=shades(names.index(name)), **about)
        steps = rows[width, "Dense"]["recipe"]["steps"]
        axes.set(title=f"hidden {width}, {steps:,} steps", xlabel="times smaller, in bytes")
        axes.set_xscale("log")
        axes.set_xticks([5, 10, 25], ["5", "10", "25"])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("bits a character above dense")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    return figure


def emoji(result: dict[str, Any]) -> Figure:
    """The five suggestions of each step over the bytes of its model, the steps of a way joined."""
    rows = {row["name"]: row for row in result["rows"] if row["name"] != "dense-published"}
    ways = {"structured": ["dense", "group-reduced", "doped-kron"]}
    ways = {"classic": [name for name in rows if name not in ways["structured"][1:]]} | ways
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for (way, names), place in zip(ways.items(), ((2, 4), (2, -4)), strict=True):
        points = [(rows[n]["bytes"] / 1e6, rows[n]["test"]["accuracy_5"]) for n in names]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=way)
        side = "bottom" if place[1] > 0 else "top"
        for name, point in zip(names, points, strict=True):
            about = {"rotation": 15 * place[1], "va": side, "fontsize": 7}
            axes.annotate(name, point, xytext=place, textcoords="offset points", **about)
    axes.set(xscale="log", xlabel="MB on disk", ylabel="accuracy of five suggestions, %")
    axes.margins(0.12)
    middle = sum(axes.get_ylim()) / 2
    axes.set_ylim(min(middle - 6, axes.get_ylim()[0]), max(middle + 5, axes.get_ylim()[1]))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    return figure


PICTURES = {
    "post_training": post_training,
    "speed": speed,
    "training_map": training_map,
    "emoji": emoji,
}
"""A result file's name -> how it is drawn; the picture has the same name."""


def main() -> None:
    """Draws every picture whose figures are there."""
    for name, draw in PICTURES.items():
        figures = RESULTS / f"{name}.json"
        if not figures.exists():
            continue
        picture = draw(json.loads(figures.read_text("utf-8")))
        if picture is not None:
            picture.savefig(ROOT / "docs" / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
