"""Tables of the experiments in `training/`: rows of several seeds as one cell."""

import math
import re
from typing import Any

from _markdown import markdown
from _training_map import whole_map

__all__ = ["TABLES"]

Rows = list[dict[str, Any]]
CURVE_RATES = ("rate 0", "rate 0.1")
SEED = re.compile(r", seed \d+")


def _grouped(result: dict[str, Any], prefix: str = "") -> dict[str, Rows]:
    """The rows that have figures by name, the seeds of one together, in the order of the names."""
    found: dict[str, Rows] = {}
    for row in result["rows"]:
        if row["name"].startswith(prefix) and "figures" in row:
            found.setdefault(SEED.sub("", row["name"].removeprefix(prefix)), []).append(row)
    return found


def _bits(rows: Rows, part: str = "test") -> float:
    return sum(row["figures"][part] for row in rows) / len(rows)


def _cell(rows: Rows | None, digits: int = 3) -> str:
    """The mean of the test figures, and half of the range over the seeds if there are several."""
    if not rows:
        return ""
    values = [row["figures"]["test"] for row in rows]
    half = (max(values) - min(values)) / 2
    spread = f" ± {half:.{digits}f}" if len(rows) > 1 else ""
    return f"{_bits(rows):.{digits}f}{spread}"


def _lost(rows: Rows, dense: Rows) -> str:
    """How much more perplexity than the dense model, over the seeds that both have."""

    def of(rows: Rows, others: Rows) -> float:
        seeds = {row["recipe"]["seed"] for row in others}
        return _bits([row for row in rows if row["recipe"]["seed"] in seeds])

    return f"{100 * (2 ** (of(rows, dense) - of(dense, rows)) - 1):+.1f} %"


def language_model(result: dict[str, Any]) -> str:
    """By compression and then by bits: sizes, bits, and the perplexity that is lost."""
    found = _grouped(result)
    dense = found["Dense, 1x"]
    header = ("asked", "structure", "bytes", "params", "test bits", "perplexity")

    def cells(name: str, rows: Rows) -> list[str]:
        structure, _, asked = name.rpartition(", ")
        sizes = [f"{rows[0][key]:.1f}x" for key in ("compression", "compression_params")]
        return [asked, structure, *sizes, _cell(rows), _lost(rows, dense)]

    def order(item: tuple[str, Rows]) -> tuple[float, float]:
        return item[1][0]["recipe"]["asked"], _bits(item[1])

    return markdown(header, (cells(*item) for item in sorted(found.items(), key=order)), 2)


def rates(result: dict[str, Any]) -> str:
    """Validation bits by learning rate."""
    found = _grouped(result)
    names = list(dict.fromkeys(name.partition(", rate")[0] for name in found))
    tried = sorted({rows[0]["recipe"]["learning_rate"] for rows in found.values()})

    def cells(name: str) -> list[str]:
        rows = [found.get(f"{name}, rate {rate:g}") for rate in tried]
        bits = [_bits(r, "valid") if r else math.inf for r in rows]
        texts = ["" if b == math.inf else f"{b:.3f}" for b in bits]
        return [
            name,
            *(f"**{t}**" if b == min(bits) else t for t, b in zip(texts, bits, strict=True)),
        ]

    return markdown(("structure", *(f"{rate:g}" for rate in tried)), map(cells, names))


def curve(result: dict[str, Any]) -> str:
    """Test bits by compression and rate of dropout."""
    found = _grouped(result, "curve, ") | {
        f"{name}, 10x": rows
        for name, rows in _grouped(result, "grid, ").items()
        if name in CURVE_RATES
    }
    pairs = [name.split(", ") for name in found]
    rates = sorted({rate for rate, _ in pairs}, key=lambda r: float(r.split()[1]))
    sizes = sorted({size for _, size in pairs}, key=lambda s: float(s[:-1]))

    def cells(size: str) -> list[str]:
        kept = 100 / found[f"{rates[0]}, {size}"][0]["compression_params"]
        return [size, f"{kept:.1f} %", *(_cell(found.get(f"{r}, {size}")) for r in rates)]

    return markdown(("compression", "parameters kept", *rates), map(cells, sizes))


def named(prefix: str = "") -> Any:
    """A table of names and test bits, the best first."""

    def table(result: dict[str, Any]) -> str:
        found = sorted(_grouped(result, prefix).items(), key=lambda item: (_bits(item[1]), item[0]))
        return markdown(("", "test bits"), ([name, _cell(rows)] for name, rows in found))

    return table


def structure_map(result: dict[str, Any]) -> str:
    """Test bits of each structure by width and compression; the best of a whole column is bold."""
    rows = whole_map(result)
    columns = sorted({(p[0], p[1]) for p in rows if len(p) > 2}, key=_by_size)
    names = sorted({p[2] for p in rows if len(p) > 2})
    found = {place: _bits([row]) for place, row in rows.items() if "figures" in row}
    best = {
        c: min(bits for place, bits in found.items() if place[:2] == c)
        for c in columns
        if all((*c, name) in rows for name in names)
    }

    def cell(column: tuple[str, str], name: str) -> str:
        bits = found.get((*column, name))
        text = "" if bits is None else f"{bits:.3f}"
        return f"**{text}**" if text and bits == best.get(column) else text

    dense = ["Dense", *(f"{found[width, 'Dense']:.3f}" for width, _ in columns)]
    header = ["", *(", ".join(column) for column in columns)]
    return markdown(header, [dense, *([n, *(cell(c, n) for c in columns)] for n in names)])


def _by_size(column: tuple[str, str]) -> tuple[int, float]:
    width, compression = column
    return int(width), float(compression.removesuffix("x"))


def recipes(result: dict[str, Any]) -> str:
    """Test bits of each recipe, a column for each compression, the best of the first first."""
    found = _grouped(result, "recipe, ")
    sizes = sorted(
        {n.partition(", ")[0] for n in found if n[0].isdigit() and n[:3] != "1x,"},
        key=lambda s: float(s[:-1]),
    )
    names = {n.partition(", ")[2] for n in found if n.partition(", ")[0] in sizes}

    def order(name: str) -> float:
        rows = found.get(f"{sizes[0]}, {name}")
        return _bits(rows) if rows else float("inf")

    rest = [[n, *[_cell(rows)] * len(sizes)] for n, rows in found.items() if n.startswith("Dense")]
    rest += [
        [n.partition(", ")[2], *[_cell(rows)] * len(sizes)]
        for n, rows in found.items()
        if n.startswith("1x, ")
    ]
    body = [
        [n, *(_cell(found.get(f"{s}, {n}")) for s in sizes)]
        for n in sorted(sorted(names), key=order)
    ]
    return markdown(("", *sizes), [*rest, *body])


def pruning(result: dict[str, Any]) -> str:
    """Test bits by sparsity and way, beside the dense model of as many steps."""
    found = _grouped(result)
    ways = ("gradual", "iterative", "iterative, small rate", "at once")
    pruned = [n.removeprefix("gradual, ") for n in found if n.startswith("gradual, ")]
    sparsities = sorted(pruned, key=lambda s: (float(s.partition("%")[0]), s))

    def cells(sparsity: str) -> list[str]:
        steps = found[f"gradual, {sparsity}"][0]["recipe"]["steps"]
        rate = sparsity.partition("%")[2]
        dense = found.get(f"dense, {steps} steps{rate}")
        row = [sparsity, f"{steps:,}", _cell(dense)]
        for way in ways:
            rows = found.get(f"{way}, {sparsity}")
            lost = f" ({_lost(rows, dense)})" if rows and dense else ""
            row.append(_cell(rows) + lost)
        return row

    return markdown(("sparsity", "steps", "dense", *ways), map(cells, sparsities))


def classifiers(task: str) -> Any:
    """A table of one task: sizes of kernels and of the whole model, percents right, a time."""

    def table(result: dict[str, Any]) -> str:
        found = _grouped(result, f"{task}, ")
        timed = any("microseconds" in row for rows in found.values() for row in rows)

        def cells(name: str, rows: Rows) -> list[str]:
            structure, _, asked = name.rpartition(", ")
            sizes = rows[0]["sizes"]
            kernels, model = (f"{sizes[p]['compression']:.1f}x" for p in ("kernels", "model"))
            kb = f"{sizes['model']['bytes'] / 1000:.1f}"
            time = rows[0].get("microseconds")
            last = [f"{time:.0f}" if time else ""] if timed else []
            return [asked, structure, kernels, model, kb, _cell(rows, 2), *last]

        def order(item: tuple[str, Rows]) -> tuple[float, float]:
            return item[1][0]["recipe"]["asked"], -_bits(item[1])

        header = ["asked", "structure", "kernels", "model", "KB", "test %"] + ["µs"] * timed
        body = [cells(*item) for item in sorted(found.items(), key=order)]
        for name in _refused(result, f"{task}, "):
            structure, _, asked = name.rpartition(", ")
            body.append([asked, structure, "too small", *[""] * (len(header) - 3)])
        return markdown(header, body, 2)

    return table


def _refused(result: dict[str, Any], prefix: str) -> list[str]:
    """The names of what could not be made so small, each once."""
    rows = [row["name"] for row in result["rows"] if "refused" in row]
    names = [SEED.sub("", name.removeprefix(prefix)) for name in rows if name.startswith(prefix)]
    return list(dict.fromkeys(names))


TABLES = {
    **{f"training_iot/{task}": classifiers(task) for task in ("mnist", "usps", "har")},
    "training_rates": rates,
    "training_rates_words": rates,
    "training_language_model": language_model,
    "training_language_model_words": language_model,
    "training_language_model_medium": language_model,
    "training_co_matrix/curve": curve,
    "training_co_matrix/grid": named("grid, "),
    "training_map/map": structure_map,
    "training_map/recipe": recipes,
    "training_pruning": pruning,
}
"""A result file's name, and the part of it, -> how that becomes a table."""
