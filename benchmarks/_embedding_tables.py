"""The tables of compressed embeddings and of a compressed vocabulary."""

from collections.abc import Sequence
from typing import Any

from _markdown import markdown

__all__ = ["TABLES"]

SIZES = (4, 8, 16, 32)


def errors(table: str) -> Any:
    """How one table of words is lost at every size: the weighted error, and neighbours kept."""

    def made(result: dict[str, Any]) -> str:
        cells: dict[str, dict[int, str]] = {}
        for row in result["rows"]:
            name = row["recipe"]["way"]
            if row["recipe"]["table"] == table and "figures" in row:
                size = row["recipe"]["asked"] or nearest(row["compression"], SIZES)
                cells.setdefault(name, {})[size] = _cell(row, size)
        header = ("", *(f"{size}x" for size in SIZES))
        rows = ([name, *(found.get(s, "") for s in SIZES)] for name, found in cells.items())
        return markdown(header, sorted(rows))

    return made


def nearest(compression: float, sizes: Sequence[int]) -> int:
    """The size that something of a size of its own stands under."""
    return min(sizes, key=lambda size: abs(size / compression - 1))


def _cell(row: dict[str, Any], size: int) -> str:
    found, own = row["figures"], row["compression"]
    text = f"{found['weighted_error']:.2g} ({100 * found['overlap']:.0f} %)"
    return text if abs(own / size - 1) < 0.1 else f"{text} at {own:.1f}x"


def vocabulary(result: dict[str, Any]) -> str:
    """Test perplexities before and after tuning, the best first."""
    header = ("both tables", "smaller (bytes)", "fitted", "tuned", "dense", "lost")
    rows = [row for row in result["rows"] if "before" in row.get("figures", {})]

    def cells(row: dict[str, Any]) -> list[str]:
        found = row["figures"]
        numbers = (f"{found[key]:.1f}" for key in ("before", "perplexity", "dense"))
        name = row["name"].rpartition(", ")[0]
        return [name, f"{row['compression']:.1f}x", *numbers, f"{100 * found['lost']:+.1f} %"]

    return markdown(header, map(cells, sorted(rows, key=lambda r: r["figures"]["perplexity"])))


def stores(result: dict[str, Any]) -> str:
    """Files of 100,000 rows of 512: sizes, what rows lost, and what reading one takes."""
    header = ("", "MB", "relative error", "first read, µs", "again", "by name", "memory, MB")

    def cells(row: dict[str, Any]) -> list[str]:
        times = (f"{row[k]:.0f}" if k in row else "" for k in ("cold_us", "warm_us", "word_us"))
        memory = f"{row['memory_mb']:.1f}" if "memory_mb" in row else ""
        error = f"{row['relative_error']:.2g}" if "relative_error" in row else ""
        return [_stored(row), f"{row['bytes'] / 1e6:.1f}", error, *times, memory]

    return markdown(header, map(cells, result["stores"]))


def _stored(row: dict[str, Any]) -> str:
    """What a file is, in words."""
    what = {"store": "`EmbeddingStore`", ".slin": "`.slin`"}.get(row["what"], row["what"])
    parts = [what, f"{row['bits']} bit" + "s" * (row["bits"] > 1)]
    parts += [row["codebook"]] if "codebook" in row else []
    parts += [row["coding"]] if row.get("coding") else []
    parts += [f"clip {row['clip']}"] if "clip" in row else []
    parts += [f"error {row['error']}"] if "error" in row else []
    return ", ".join(parts) + (", no names" if row.get("words") is False else "")


def large(result: dict[str, Any]) -> str:
    """What refining groups of a table in a file takes."""
    header = ("table", "MiB", "factors, MiB", "rounds", "refined, s", "written, s", "memory, MiB")

    def cells(row: dict[str, Any]) -> list[str]:
        sizes = (f"{row[key]:,.0f}" for key in ("table_mib", "factor_mib"))
        seconds = (f"{row[key]:,.0f}" for key in ("seconds_refined", "seconds_factors"))
        more = f"{row['mib_most'] - row['mib_before']:,.0f}"
        name = f"{row['words']:,} x {row['features']:,}"
        return [name, *sizes, str(len(row["seconds_rounds"])), *seconds, more]

    return markdown(header, map(cells, result["rows"]))


TABLES = {
    "group_reduce": large,
    "embedding_store": stores,
    "embeddings/jieba": errors("jieba"),
    "embeddings/glove": errors("glove"),
    "embeddings/wikitext2": errors("wikitext2"),
    "training_vocabulary": vocabulary,
}
"""A result file's name, and the part of it, -> how that becomes a table."""
