"""The demo's table and picture."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from structlin.demo._results import STAGES

__all__ = ["draw", "print_table"]

COLUMNS = ("params", "bytes", "x", "xp", "proj.", "tuned", "packed", "reload", "us", "speed")


def print_table(console: Console, table: dict[str, Any]) -> None:
    """Prints the table of a `summary`."""
    seeds = max(len(row["seeds"]) for row in table["rows"])
    over = f", mean of {seeds} seeds" if seeds > 1 else ""
    out = Table(
        title=f"{table['settings']['text']}: test bits a character{over}",
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    out.add_column("structure")
    for name in COLUMNS:
        out.add_column(name, justify="right", no_wrap=True)
    for row in table["rows"]:
        bits = row["bits_per_character"]
        out.add_row(
            row["structure"],
            f"{row['params']:,}",
            f"{row['bytes']:,}",
            f"{row['compression']:.1f}",
            f"{row['compression_params']:.1f}",
            *(f"{bits[s]['mean']:.3f}" if s in bits else "-" for s in STAGES),
            _number(row["microseconds_per_character"], "{:.1f}"),
            _number(row["speedup"], "{:.2f}"),
        )
    console.print(out)
    console.print(
        "params, bytes: both LSTM kernels, packed, indices and padding counted. x: how many times "
        "smaller than dense in bytes; xp: in params. us: microseconds a character at batch 1, "
        "whole model; speed: over the best dense form.",
        style="dim",
    )


def draw(path: Path, table: dict[str, Any]) -> None:
    """Draws bits a character over bytes, tuned models with their spread over the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for row in table["rows"]:
        bits = row["bits_per_character"].get("tuned")
        if bits is None:
            continue
        axes.errorbar(
            row["bytes"] / 1024,
            bits["mean"],
            yerr=bits["std"] or 0,
            marker="s" if row["structure"] == "Dense" else "o",
            capsize=3,
            label=row["structure"],
        )
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("LSTM kernels, KiB (indices counted)")
    axes.set_ylabel("test bits a character")
    axes.set_title(table["settings"]["text"])
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
