"""A picture of a file: the bytes of its tensors, and how the numbers of the largest are spread."""

from typing import Any

from structlin.cli._tensors import Tensor

__all__ = ["plot_tensors"]

MOST = 12
"""How many tensors are drawn; the others are one bar."""

STORED, BOUND, GREY = "#6fb1d1", "#12406b", "0.35"


def plot_tensors(found: list[Tensor], title: str) -> Any:
    """A figure with a bar for each of the largest tensors, its bound, and a histogram beside it."""
    from matplotlib.figure import Figure

    ordered = sorted(found, key=lambda t: t.bytes, reverse=True)
    shown, rest = ordered[:MOST], ordered[MOST:]
    rows = len(shown) + bool(rest)
    figure = Figure(figsize=(9, 1.2 + 0.55 * max(rows, 1)), layout="constrained")
    figure.suptitle(f"{title}: {sum(t.bytes for t in found):,} bytes of tensors", fontsize=11)
    if not rows:
        return figure
    grid = figure.add_gridspec(rows, 2, width_ratios=(3, 1))
    bars = figure.add_subplot(grid[:, 0])
    names = [t.name for t in shown] + [f"{len(rest)} others"] * bool(rest)
    sizes = [t.bytes for t in shown] + [sum(t.bytes for t in rest)] * bool(rest)
    bars.barh(range(rows), sizes, color=STORED, height=0.6)
    for i, t in enumerate(shown):
        label = f"{t.dtype} {list(t.shape)}, {t.bytes:,} bytes"
        if t.bound is not None:
            bars.plot([t.bound] * 2, [i - 0.3, i + 0.3], color=BOUND, linewidth=2)
            label += f", bound {t.bound:,.0f}"
        bars.annotate(label, (0, i - 0.42), fontsize=6.5, color=GREY, va="center")
    bars.set_yticks(range(rows), names, fontsize=7)
    bars.set_xlabel("bytes in the file; the line is Shannon's bound", fontsize=8, color=GREY)
    bars.set_ylim(rows - 0.4, -0.7)
    for i, t in enumerate(shown):
        _histogram(figure.add_subplot(grid[i, 1]), t)
    _quiet(bars)
    return figure


def _histogram(axes: Any, tensor: Tensor) -> None:
    axes.bar(range(len(tensor.counts)), tensor.counts, width=1, color=STORED)
    ends = [f"{tensor.low:.3g}", f"{tensor.high:.3g}"] if tensor.counts else []
    axes.set_xticks([0, len(tensor.counts) - 1] if len(ends) else [], ends)
    axes.set_yticks([])
    _quiet(axes)


def _quiet(axes: Any) -> None:
    axes.tick_params(labelsize=7, color="0.6", labelcolor=GREY, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("0.8")
