"""The marks: what a structure must reach, and what it reaches for."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["CALL_TARGETS", "TARGETS", "Reached", "Target", "reached"]

LAYER, WIDE = "layer, 650 units, batch 1, 35 steps", "layer, 1500 units, batch 1, 35 steps"
SMALLER = "pruned, 650 units, batch 1, 35 steps"
TRAINING, BATCH = "training, 650 units, batch 20, 35 steps", "product, 650 units, batch 64"
BLOCKS = "density, 650 units, batch 64"
HOISTED, FLAX, ORT = "Hoisted dense scan", "Flax nn.RNN", "ONNX Runtime, 2 threads"


class Target(NamedTuple):
    """How many times faster than another form.

    Attributes:
        case: The name of a case.
        contender: Of it.
        over: The dense form, or the pruned one.
        must: What it must reach.
        reach: What it reaches for.
    """

    case: str
    contender: str
    over: str
    must: float
    reach: float


TARGETS = (
    Target(LAYER, "Kron, XLA", HOISTED, 5, 8),
    Target(LAYER, "Kron, XLA", FLAX, 10, 17),
    Target(LAYER, "Kron, native", HOISTED, 10, 18),
    Target(LAYER, "Kron, native", FLAX, 20, 35),
    Target(LAYER, "Kron, native", ORT, 4, 6),
    Target(LAYER, "DopedKron 98 %, XLA", HOISTED, 2, 3),
    Target(LAYER, "DopedKron 98 %, native", HOISTED, 4.5, 7),
    Target(LAYER, "DopedKron 98 %, blocks, XLA", HOISTED, 3.5, 6),
    Target(LAYER, "DopedKron 98 %, blocks, native", HOISTED, 9, 14),
    Target(LAYER, "DopedKron 95 %, native", HOISTED, 2.2, 3.5),
    Target(LAYER, "DopedKron 95 %, blocks, native", HOISTED, 7, 11),
    Target(LAYER, "HMD 2x, XLA", HOISTED, 1.5, 1.9),
    Target(SMALLER, "HMD 2x, XLA", "Sparse 2x, XLA", 2.32, 3),
    Target(SMALLER, "HMD 2x, XLA", "Sparse 2x, native", 2.32, 3),
    Target(SMALLER, "HMD 2x, XLA", "Sparse 50 %, native", 2.32, 3),
    Target(WIDE, "Kron, native", HOISTED, 40, 75),
    Target(TRAINING, "Kron, XLA", HOISTED, 4, 7),
    Target(TRAINING, "DopedKron 98 %, XLA", HOISTED, 1.4, 2.5),
    Target(BATCH, "Sparse 98 %, XLA", "Dense by hand", 6, 10),
    Target(BATCH, "Sparse 98 %, native", "Dense by hand", 6, 10),
    Target(BLOCKS, "Sparse 98 %, blocks, XLA", "Dense by hand", 6, 10),
    Target(BLOCKS, "Sparse 98 %, blocks, native", "Dense by hand", 6, 10),
)
"""What structures must reach beside others of their cases, and what they reach for."""

CALL_TARGETS = {"must": 3.0, "reach": 1.0}
"""The microseconds that a call of a layer may take over an empty compiled function."""


class Reached(NamedTuple):
    """What became of a mark.

    Attributes:
        case: The name of the case.
        contender: The contender.
        over: What it is compared with.
        must: What it must reach, with its unit.
        reach: What it reaches for.
        value: What it has: first quartile, median and third quartile, or the median alone.
        unit: ``"x"``, where more is better, or ``"µs"``, where less is.
        level: 0, below what it must; 1; 2, as good as what it reaches for.
        disturbed: Whether too few samples were quiet.
    """

    case: str
    contender: str
    over: str
    must: float
    reach: float
    value: tuple[float, ...]
    unit: str
    level: int
    disturbed: bool


def reached(records: Iterable[Mapping[str, Any]]) -> Iterator[Reached]:
    """The marks whose cases were measured, in their order; a contender that is missing has none.

    Args:
        records: Rows of a result file, each with the ``name`` of a case and what `measure` found.
    """
    found = {record["name"]: record for record in records}
    for target in TARGETS:
        row = _contender(found.get(target.case), target.contender)
        if row is None or target.over not in row["speedup"]:
            continue
        value = tuple(row["speedup"][target.over])
        level = (value[1] >= target.must) + (value[1] >= target.reach)
        yield Reached(*target, value, "x", level, row["disturbed"])
    for name, record in found.items():
        if name.startswith("call,"):
            yield from _calls(name, record)


def _calls(case: str, record: Mapping[str, Any]) -> Iterator[Reached]:
    base = _contender(record, record["baseline"])
    assert base is not None  # every case has its baseline
    must, reach = CALL_TARGETS["must"], CALL_TARGETS["reach"]
    for row in record["contenders"]:
        if row.get("structure"):
            over = round(row["microseconds"][1] - base["microseconds"][1], 2)
            level = (over <= must) + (over <= reach)
            disturbed = row["disturbed"] or base["disturbed"]
            yield Reached(
                case, row["name"], base["name"], must, reach, (over,), "µs", level, disturbed
            )


def _contender(record: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    rows = record["contenders"] if record else ()
    return next((row for row in rows if row["name"] == name and "absent" not in row), None)
