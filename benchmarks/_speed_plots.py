"""Draws the figures of `speed/`: latency over bytes, and speed over the share of zeros."""

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from _speed_tables import LAYER, measured, one_case
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["speed"]

MARKERS = {"XLA": "o", "native": "^"}


def speed(result: dict[str, Any]) -> Figure:
    """Both panels."""
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 4.4))
    latency(panels[0], one_case(result, LAYER))
    density(panels[1], one_case(result, "density, 650 units, batch 1"))
    figure.tight_layout()
    return figure


def latency(axes: Axes, record: dict[str, Any]) -> None:
    """Microseconds a step over the bytes of both kernels, XLA and native code joined by a line."""
    steps, shades = record["case"]["steps"], mpl.colormaps["tab20"]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in measured(record).values():
        if row["structure"]:
            point = row["bytes"] / 1024, row["microseconds"][1] / steps
            found.setdefault(row["structure"], {})[row["mode"]] = point
    for number, (structure, points) in enumerate(found.items()):
        shade = shades(number)
        axes.plot(*zip(*points.values(), strict=True), color=shade, linewidth=0.8)
        for mode, (x, y) in points.items():
            label = structure if mode == "XLA" else None
            axes.plot(x, y, MARKERS[mode], color=shade, markersize=5, label=label)
    for name, style in ((record["baseline"], "--"), ("ONNX Runtime, 2 threads", ":")):
        row = measured(record).get(name)
        if row is not None:
            axes.axhline(row["microseconds"][1] / steps, linestyle=style, color="0.4", label=name)
    axes.set(
        title="LSTM of 650 units, batch 1 (o XLA, ^ native)",
        xlabel="KiB of both kernels",
        ylabel="µs a step",
        xscale="log",
        yscale="log",
    )
    axes.legend(fontsize=6, ncols=2)
    axes.grid(alpha=0.3)


def density(axes: Axes, record: dict[str, Any]) -> None:
    """How many times faster than dense a sparse product is, over the share of zeros."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in measured(record).values():
        name = row["name"].removeprefix("scipy.sparse, ")
        zeros, _, rest = name.removeprefix("Sparse ").partition(" %")
        if row["name"] == record["baseline"] or not name.startswith("Sparse "):
            continue
        kind = "scipy.sparse" if name != row["name"] else "entries" + rest
        kind = kind.replace("entries, blocks", "blocks")
        lines.setdefault(kind, []).append(
            (100 - float(zeros), row["speedup"][record["baseline"]][1])
        )
    for kind, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=kind)
    axes.axhline(1, color="0.4", linestyle="--")
    axes.set(
        title="product of one row with 650 x 2600",
        xlabel="% of entries kept",
        ylabel="times faster than dense",
        xscale="log",
        yscale="log",
    )
    ticks = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
