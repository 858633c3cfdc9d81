"""Tables of projection networks: digits, texts, and how fast they are read."""

import re
import statistics
from typing import Any

from _markdown import markdown

__all__ = ["TABLES"]

SEED = re.compile(r", seed \d+$")
LARGEST = 2_797_010
"""The parameters of the dense network that sizes are compared with."""

SETS = {"atis": "ATIS", "subj": "SUBJ", "mr": "MR", "mrda": "MRDA", "swda": "SwDA"}
SETS["emoji_tweeteval"] = "emoji"
PUBLISHED = {
    "ATIS": "ProjectionNet 91.3, attention RNN 91.1, slot-gated 93.6",
    "SUBJ": "CNN 93.4 (other split)",
    "MR": "CNN 81.5 (other split)",
    "MRDA": "SGNN 86.7 (other split)",
    "SwDA": "SGNN 83.1 (other split)",
    "emoji": "macro-F1: LSTM 24.7, FastText 25.8, SVM 29.3",
}

Rows = dict[str, list[dict[str, Any]]]


def _grouped(result: dict[str, Any]) -> Rows:
    """The rows by name, those of all seeds of one together."""
    found: Rows = {}
    for row in sorted(result["rows"], key=lambda row: row["recipe"].get("seed", 0)):
        found.setdefault(SEED.sub("", row["name"]), []).append(row)
    return found


def _cell(values: list[float]) -> str:
    """The mean, and half of the range if there are several."""
    half = (max(values) - min(values)) / 2
    mean = f"{statistics.mean(values):.1f}"
    return mean + (f" ± {half:.1f}" if len(values) > 1 else "")


def digits(result: dict[str, Any]) -> str:
    """Each network of the paper: its size, and percents right."""
    found: dict[str, dict[str, Any]] = {}
    for row in result["rows"]:
        first, _, way, *_ = row["name"].split(", ")
        if first == "digits":
            for name, figures in row["figures"].items():
                of = found.setdefault(name, {"facts": figures})
                of.setdefault(way, []).append(figures["test"])

    def cells(name: str) -> list[str]:
        of, facts = found[name], found[name]["facts"]
        size = [f"{facts['params']:,}", f"{LARGEST / facts['params']:,.0f}x"]
        ways = [_cell(of[way]) if way in of else "" for way in ("self", "joint")]
        return [name, *size, f"{facts['published']:.1f}", *ways]

    header = ("network", "params", "smaller", "published", "alone", "with a teacher")
    return markdown(header, map(cells, sorted(found, key=lambda n: found[n]["facts"]["params"])))


def _of_texts(result: dict[str, Any]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Set, network and rows; the sets in their order, in each the smallest network first."""
    rows = []
    for name, same in _grouped(result).items():
        place, _, network = name.partition(", ")
        if place in SETS and "bytes" in same[0]:
            rows.append((SETS[place], network, same))
    order = list(SETS.values())
    return sorted(rows, key=lambda row: (order.index(row[0]), row[2][0]["bytes"], row[1]))


def texts(result: dict[str, Any]) -> str:
    """Percents right and macro-F1 of each set, and what others report."""
    seen: set[str] = set()

    def cells(place: str, network: str, rows: list[dict[str, Any]]) -> list[str]:
        figures = [
            _cell([row["figures"][part] for row in rows]) for part in ("test", "test macro-F1")
        ]
        other = "" if place in seen else PUBLISHED[place]
        seen.add(place)
        return [place, network, other, f"{rows[0]['bytes']:,}", *figures]

    header = ("set", "network", "published", "bytes", "right", "macro-F1")
    return markdown(header, [cells(*row) for row in _of_texts(result)], 3)


def mistakes(result: dict[str, Any]) -> str:
    """Percents right of texts as they are, and with one mistake in ten characters."""

    def cells(place: str, network: str, rows: list[dict[str, Any]]) -> list[str]:
        clean, edited = ([row["figures"][part] for row in rows] for part in ("test", "edited"))
        lost = [a - b for a, b in zip(clean, edited, strict=True)]
        sizes = [f"{rows[0]['bytes']:,}"]
        return [place, network, *sizes, _cell(clean), _cell(edited), _cell(lost)]

    header = ("set", "network", "bytes", "right", "with mistakes", "lost")
    chosen = (row for row in _of_texts(result) if row[0] in ("ATIS", "SUBJ", "MR"))
    return markdown(header, [cells(*row) for row in chosen], 2)


def features(result: dict[str, Any]) -> str:
    """How many numbers were compared, and how many differed."""

    def cells(row: dict[str, Any]) -> list[str]:
        _, place, network = row["name"].split(", ")
        return [SETS[place], network, *(f"{n:,}" for n in row["figures"].values())]

    rows = (row for row in result["rows"] if row["name"].startswith("features, "))
    return markdown(("set", "network", "texts", "numbers", "different"), map(cells, rows), 2)


def speed(result: dict[str, Any]) -> str:
    """Microseconds of one text and texts a second, by the cores that there were."""
    found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for row in result["rows"]:
        place, network, _ = row["name"].split(", ")
        found.setdefault((SETS[place], network), {})[row["recipe"]["cores"]] = row["figures"]
    cores = sorted({n for of in found.values() for n in of})

    def cells(key: tuple[str, str]) -> list[str]:
        of = [found[key].get(n, {}) for n in cores]
        times = [f"{f['microseconds']:,.0f}" if f else "" for f in of]
        rates = [f"{f['texts a second']:,}" if f else "" for f in of]
        size = next(f["bytes of a text"] for f in of if f)
        return [*key, f"{size:.0f}", *times, *rates]

    said = [f"{n} core{'s' * (n > 1)}" for n in cores]
    header = ["set", "model", "bytes of a text", *(f"µs, {n}" for n in said)]
    return markdown([*header, *(f"texts a second, {n}" for n in said)], map(cells, found), 2)


def commands(result: dict[str, Any]) -> str:
    """What `structlin train` made of each set, and the minutes that all of it took."""
    header = ("set", "minutes", "size", "network", "taught", "right", "macro-F1", "bytes", "µs")

    def cells(row: dict[str, Any], own: dict[str, Any], *, first: bool) -> list[str]:
        whole = [SETS[row["name"]], f"{row['seconds'] / 60:.1f}"] if first else ["", ""]
        shares = [f"{100 * own[key]:.1f}" for key in ("accuracy", "macro_f1")]
        taught = "" if own["taught"] == "none" else own["taught"]
        names = [own["size"], own["kind"], taught]
        return [*whole, *names, *shares, f"{own['bytes']:,}", f"{own['microseconds']:.0f}"]

    rows = ((r, own, i == 0) for r in result["rows"] for i, own in enumerate(r["models"]))
    return markdown(header, (cells(r, own, first=first) for r, own, first in rows), 5)


TABLES = {
    "train_command": commands,
    "projections/digits": digits,
    "projections/texts": texts,
    "projections/mistakes": mistakes,
    "projections/features": features,
    "projections_speed": speed,
}
"""A result file's name, and the part of it, -> how that becomes a table."""
