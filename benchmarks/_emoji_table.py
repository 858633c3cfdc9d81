"""The table of the emoji recommender: a line for each step, of the test part."""

from typing import Any

from _markdown import markdown

__all__ = ["emoji"]

HEADER = (
    "step",
    "bytes on disk",
    "smaller",
    "accuracy@1",
    "accuracy@5",
    "macro-F1",
    "memory of the model, MB",
    "of the process, MB",
    "a message, ms",
)


def emoji(result: dict[str, Any]) -> str:
    """Sizes beside the dense model's, quality in percent, and what a process that answers takes."""
    dense = next(row for row in result["rows"] if row["name"] == "dense")

    def cells(row: dict[str, Any]) -> list[str]:
        test, answers = row["test"], row["answers"]
        quality = (test["accuracy"], test["accuracy_5"], test["macro_f1"])
        memory = (answers["model_bytes"], answers["resident_bytes"])
        return [
            row["name"],
            f"{row['bytes']:,}",
            f"{dense['bytes'] / row['bytes']:.1f}x",
            *(f"{value:.1f}" for value in quality),
            *(f"{size / 1e6:.0f}" for size in memory),
            f"{answers['milliseconds']:.2f}",
        ]

    return markdown(HEADER, map(cells, result["rows"]))
