"""Tables of `speed/`: marks, and how many times faster than dense each contender is."""

from collections.abc import Callable, Iterable
from typing import Any

from _markdown import markdown

from structlin.bench import FULL, reached

__all__ = ["TABLES", "case_name", "measured", "one_case"]

LEVELS = ("**missed**", "must", "reached")
LAYER = "layer, 650 units, batch 1, 35 steps"
PEERS = ("Flax nn.RNN", "ONNX Runtime", "PyTorch")
ORT = "ONNX Runtime, 2 threads"

Records = list[dict[str, Any]]
Table = Callable[[dict[str, Any]], str]


def measured(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The contenders of a case by name, those apart that are missing."""
    return {row["name"]: row for row in record["contenders"] if "absent" not in row}


def one_case(result: dict[str, Any], name: str) -> dict[str, Any]:
    """The case of a result file by its name."""
    return next(record for record in result["rows"] if record["name"] == name)


def case_name(case: dict[str, Any]) -> str:
    """A case as the head of a column."""
    plural = "s" * (case["steps"] > 1)
    layer = case["kind"] in ("layer", "pruned", "training")
    steps = f", {case['steps']} step{plural}" if layer else ""
    return f"{case['hidden']}, batch {case['batch']}{steps}"


def marks(result: dict[str, Any]) -> str:
    """What must be reached, what is reached for, and what is."""
    header = ("case", "contender", "over", "must", "reaches for", "is", "middle half", "")

    def cells(mark: Any) -> list[str]:
        unit = mark.unit if mark.unit == "x" else f" {mark.unit}"
        asked = [f"{'' if mark.unit == 'x' else '≤ '}{m:g}{unit}" for m in mark[3:5]]
        value = mark.value[len(mark.value) // 2]
        half = f"{mark.value[0]:.1f} to {mark.value[-1]:.1f}" if len(mark.value) > 1 else ""
        found = [f"{value:.1f}{unit}", half, LEVELS[mark.level]]
        return [mark.case, mark.contender, mark.over, *asked, *found]

    return markdown(header, map(cells, reached(_tuned(result))), 3)


def speeds(*kinds: str) -> Table:
    """A column for each case of these kinds: how many times faster than its baseline."""

    def table(result: dict[str, Any]) -> str:
        records = [r for r in _tuned(result) if r["case"]["kind"] in kinds]
        found = [measured(record) for record in records]
        names = dict.fromkeys(name for rows in found for name in rows)
        header = ["", *(case_name(record["case"]) for record in records)]

        def cells(name: str) -> list[str]:
            texts = [name]
            for record, rows in zip(records, found, strict=True):
                row = rows.get(name)
                texts.append("" if row is None else _speed(row, record["baseline"]))
            return texts

        return markdown(header, map(cells, names))

    return table


def detail(name: str) -> Table:
    """All that is known of the contenders of a case."""
    header = ("", "µs", "middle half", "speed", "bytes", "FLOPs a step")
    header += ("of the roofline", "dropped")

    def table(result: dict[str, Any]) -> str:
        record = one_case(result, name)
        return markdown(header, (_detail(row, record["baseline"]) for row in record["contenders"]))

    return table


def peers(result: dict[str, Any]) -> str:
    """Other runtimes, and how many times faster than each of them some structures are."""
    records = [r for r in _tuned(result) if r["case"]["kind"] == "layer"]
    shown = ("Kron, native", "DopedKron 98 %, blocks, native", "LowRank 10x, native")

    def rows() -> Iterable[list[str]]:
        for record in records:
            found = measured(record)
            for row in record["contenders"]:
                if not row["name"].startswith(PEERS):
                    continue
                first = [case_name(record["case"]), row["name"]]
                if "absent" in row:
                    yield [*first, row["absent"], *[""] * len(shown)]
                    continue
                over = [found[n]["speedup"].get(row["name"]) if n in found else None for n in shown]
                texts = [f"{o[1]:.1f}x" if o else "" for o in over]
                yield [*first, f"{row['microseconds'][1] / record['case']['steps']:.1f}", *texts]

    return markdown(("layer", "runtime", "µs a step", *shown), rows(), 2)


def summary(result: dict[str, Any]) -> str:
    """One layer in a few lines: each structure's size, and its best mode beside two dense forms."""
    record = one_case(result, LAYER)
    found, baseline = measured(record), record["baseline"]
    dense = found[baseline]["bytes"]
    header = ("recurrent layer", "smaller (bytes)", "over JAX: XLA", "over JAX: native")
    header += ("over ONNX Runtime: XLA", "over ONNX Runtime: native")

    def cells(structure: str) -> list[str]:
        rows = [found.get(f"{structure}, {mode}") for mode in ("XLA", "native")]
        size = next(row["bytes"] for row in rows if row)
        texts = [structure, f"{dense / size:.0f}x"]
        for over in (baseline, ORT):
            speeds = [row["speedup"].get(over) if row else None for row in rows]
            texts += [f"{speed[1]:.1f}x" if speed else "" for speed in speeds]
        return texts

    shown = dict.fromkeys(row["structure"] for row in found.values() if row["structure"])
    return markdown(header, map(cells, shown))


def calls(result: dict[str, Any]) -> str:
    """What calling a layer takes, and over an empty function."""
    record = next(r for r in _tuned(result) if r["case"]["kind"] == "call")
    empty = measured(record)[record["baseline"]]["microseconds"][1]
    times = {name: row["microseconds"][1] for name, row in measured(record).items()}
    rows = ([name, f"{t:.1f}", f"{t - empty:.1f}"] for name, t in times.items())
    return markdown(("", "µs", "over the empty function"), rows)


def tuning(result: dict[str, Any]) -> str:
    """Microseconds with and without `structlin.tune_cpu`, each in a process of its own."""
    tuned = {record["name"]: measured(record) for record in _tuned(result)}

    def rows() -> Iterable[list[str]]:
        for record in result["rows"]:
            case = record["name"].removesuffix(", untuned")
            if case == record["name"] or case not in tuned:
                continue
            for name, row in measured(record).items():
                if name in tuned[case] and not name.startswith(PEERS):
                    times = row["microseconds"][1], tuned[case][name]["microseconds"][1]
                    yield [case, name, *(f"{t:,.0f}" for t in times), f"{times[0] / times[1]:.1f}x"]

    return markdown(("case", "contender", "µs untuned", "µs tuned", "gain"), rows(), 2)


def models(result: dict[str, Any]) -> str:
    """Whole models: steady state, first token, memory."""
    header = ("tokens", "kernels", "tokens a second", "speed", "first token, s", "MB", "file, MB")

    def cells(name: str, row: dict[str, Any]) -> list[str]:
        rate = f"{1e6 / row['microseconds'][1]:,.0f}"
        first, size = f"{row['first_token_seconds']:.2f}", f"{row['file_bytes'] / 1e6:.2f}"
        speed = f"{row['speedup'][1]:.2f}x"
        return [name, row["name"], rate, speed, first, f"{row['resident_mb']:.0f}", size]

    rows = ((r["name"], row) for r in result["rows"] for row in r["contenders"])
    return markdown(header, (cells(*pair) for pair in rows), 2)


def gpu(result: dict[str, Any]) -> str:
    """The dense scan of JAX in microseconds, and how many times faster each other is."""
    rows = result["rows"]
    names = list(rows[0]["microseconds"])
    header = ("", *(f"{row['hidden']}, batch {row['batch']}" for row in rows))

    def cells(name: str) -> list[str]:
        pairs = [(row["microseconds"][names[0]], row["microseconds"][name]) for row in rows]
        if name == names[0]:
            return [name, *(f"{dense:,.0f} µs" for dense, _ in pairs)]
        return [name, *(f"{dense / own:.2f}x" for dense, own in pairs)]

    return markdown(header, map(cells, names))


def _tuned(result: dict[str, Any]) -> Records:
    """The cases that were measured under `structlin.tune_cpu`, in the order of the benchmark."""
    found = {record["name"]: record for record in result["rows"]}
    return [found[case.name] for case in FULL if case.name in found]


def _speed(row: dict[str, Any], baseline: str) -> str:
    """Microseconds of the baseline itself, else how many times faster than it; ~ if disturbed."""
    mark = "~" if row["disturbed"] else ""
    if row["name"] == baseline:
        return f"{row['microseconds'][1]:,.0f} µs{mark}"
    return f"{row['speedup'][baseline][1]:.2f}x{mark}"


def _detail(row: dict[str, Any], baseline: str) -> list[str]:
    if "absent" in row:
        return [row["name"], row["absent"], *[""] * 6]
    first, median, third = row["microseconds"]
    speed = row["speedup"].get(baseline)
    share = row.get("roofline_share")
    return [
        row["name"],
        f"{median:,.1f}" + ("~" if row["disturbed"] else ""),
        f"{first:,.1f} to {third:,.1f}",
        f"{speed[1]:.2f}x" if speed else "",
        *(f"{row[key]:,}" if key in row else "" for key in ("bytes", "flops")),
        "" if share is None else f"{100 * share:.0f} %",
        f"{row['dropped']} of {row['samples']}",
    ]


TABLES = {
    "speed/marks": marks,
    "speed/layers": speeds("layer"),
    "speed/layer": detail(LAYER),
    "speed/products": speeds("product"),
    "speed/density": detail("density, 650 units, batch 1"),
    "speed/training": speeds("training"),
    "speed/peers": peers,
    "speed/calls": calls,
    "speed/summary": summary,
    "speed/tuning": tuning,
    "speed_gpu": gpu,
    "speed_models": models,
}
"""The parts of the result file of `speed/` -> how each becomes a table."""
