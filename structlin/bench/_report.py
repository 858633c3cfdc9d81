"""A run on the screen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from structlin.bench._compare import Change
from structlin.bench._targets import Reached, reached

__all__ = ["print_changes", "print_run"]

LEVELS = ("[red]missed[/]", "must", "[green]reached[/]")
NOTE = (
    "us: median microseconds of a call. speed: times faster than the first line, whose rounds it "
    "shares, with quartiles. roof: share of what the machine could do at best."
)


def print_run(console: Console, records: Sequence[Mapping[str, Any]]) -> None:
    """Prints the contenders of every case, and then the marks."""
    for record in records:
        console.print(_case(record))
    console.print(NOTE, style="dim")
    marks = list(reached(records))
    if marks:
        console.print(_marks(marks))
    shares = [record["others"] or 0.0 for record in records]
    disturbed = any(row.get("disturbed") for r in records for row in r["contenders"])
    if disturbed or max(shares, default=0.0) > 0.1:
        console.print(
            f"Other work had up to {100 * max(shares):.0f} % of the CPUs. A figure with a ~ was "
            "disturbed too often: run it again when the machine is idle.",
            style="yellow",
        )


def print_changes(console: Console, found: Iterable[Change], margin: float) -> list[Change]:
    """Prints the contenders that lost more than the margin, and returns them."""
    all_of_them = list(found)
    worse = [change for change in all_of_them if change.worse(margin)]
    for change in worse:
        console.print(
            f"slower: {change.case}, {change.contender}: {change.now:.2f}x, was "
            f"{change.before:.2f}x",
            style="red",
            highlight=False,
            soft_wrap=True,
        )
    unjudged = sum(change.disturbed for change in all_of_them)
    console.print(
        f"{len(all_of_them)} compared, {len(worse)} slower by more than {100 * margin:g} %"
        + (f", {unjudged} too disturbed to judge" if unjudged else "")
    )
    return worse


def _table(title: str, text: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(
        title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="bold"
    )
    for name in text:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _case(record: Mapping[str, Any]) -> Table:
    table = _table(record["name"], ("",), ("us", "speed", "", "bytes", "roof"))
    for row in record["contenders"]:
        if "absent" in row:
            table.add_row(row["name"], "-", row["absent"])
            continue
        share = row.get("roofline_share")
        table.add_row(
            row["name"],
            f"{row['microseconds'][1]:,.1f}" + "~" * row["disturbed"],
            *_speed(row["speedup"].get(record["baseline"], ())),
            f"{row['bytes']:,}" if "bytes" in row else "",
            "" if share is None else f"{100 * share:.0f} %",
        )
    return table


def _marks(marks: Sequence[Reached]) -> Table:
    table = _table(
        "Marks (must: that, and not what it reaches for)",
        ("contender", "over"),
        ("must", "reach", "is", ""),
    )
    case = ""
    for mark in marks:
        if mark.case != case:
            table.add_row(f"[dim]{mark.case}[/]")
            case = mark.case
        value = _speed(mark.value)[0] if mark.unit == "x" else f"{mark.value[0]:.1f} us"
        asked = ("<= " if mark.unit != "x" else "") + "{:g}"
        table.add_row(
            mark.contender,
            mark.over,
            asked.format(mark.must),
            asked.format(mark.reach),
            value + "~" * mark.disturbed,
            LEVELS[mark.level],
        )
    return table


def _speed(values: Sequence[float]) -> tuple[str, str]:
    """The median, and the range of the middle half."""
    if not values:
        return "", ""
    first, median, third = values
    return f"{median:.2f}x", f"{first:.2f}-{third:.2f}"
