"""Two runs side by side: whether one is slower than the other, by ratios alone."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Change", "changes", "read_run"]


class Change(NamedTuple):
    """A contender of both runs.

    Attributes:
        case: The name of the case.
        contender: The contender.
        before: How many times faster than the baseline of its case it was.
        now: How many times faster it is.
        disturbed: Whether one of the runs was disturbed too much to judge by it.
    """

    case: str
    contender: str
    before: float
    now: float
    disturbed: bool

    def worse(self, margin: float) -> bool:
        """Whether it lost more than the share ``margin`` of its speed, for all that can be told."""
        return not self.disturbed and self.now < self.before * (1 - margin)


def changes(
    before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]
) -> Iterator[Change]:
    """What both runs have measured of this library's contenders, in the order of the later run."""
    old = dict(_speeds(before))
    for key, (speed, disturbed) in _speeds(now):
        if key in old:
            yield Change(*key, old[key][0], speed, disturbed or old[key][1])


def _speeds(
    records: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[tuple[str, str], tuple[float, bool]]]:
    for record in records:
        base = record["baseline"]
        unquiet = next(r["disturbed"] for r in record["contenders"] if r["name"] == base)
        for row in record["contenders"]:
            if row.get("mode"):
                key = record["name"], row["name"]
                yield key, (row["speedup"][base][1], row["disturbed"] or unquiet)


def read_run(path: Path) -> list[dict[str, Any]]:
    """The cases of a file of ``structlin bench --json`` or of ``benchmarks/speed``.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is something else.
    """
    try:
        records = json.loads(path.read_text("utf-8"))["rows"]
        list(_speeds(records))
    except (IndexError, KeyError, TypeError, StopIteration, ValueError) as error:
        raise ValueError(
            f"{path} is no run of structlin bench: give a file that --json has written"
        ) from error
    return records
