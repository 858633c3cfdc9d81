"""Files of measured rows: one row at a time, by as many processes as help.

A row is written when it is done, under a lock, and what is there already is not measured again. The
same command may run several times at once, each process kept to a core (``taskset -c 0 ...``): a
row that one of them is at is left alone by the others. One that was stopped or killed is gone on
with by the next.
"""

import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import structlin as sl
from structlin import bench
from structlin.demo._results import write_json

__all__ = ["RESULTS", "RUNS", "Row", "carry_out", "finished", "found_by", "parser"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = "jax", "flax", "optax", "numpy"
OF_A_ROW = "device", "versions", "date"
"""What of the header each row has too: several machines may help."""

RUNS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "structlin" / "training"


@dataclasses.dataclass(frozen=True)
class Row:
    """Something to measure.

    Attributes:
        name: What it is called on the command line and in the file.
        recipe: All that its figures depend on, for JSON; its figures of another recipe are stale.
        measure: Measures it, in a folder of its own: the figures, for JSON.
    """

    name: str
    recipe: dict[str, Any]
    measure: Callable[[Path], dict[str, Any]]

    def folder(self, runs: Path) -> Path:
        """Where it is trained: another one for each recipe."""
        made = json.dumps(self.recipe, sort_keys=True)
        return runs / f"{self.name} {hashlib.sha256(made.encode()).hexdigest()[:8]}"


def parser(description: str, result: str, *, quick: str = "") -> argparse.ArgumentParser:
    """The options that all experiments share.

    Args:
        description: What the experiment does.
        result: The name of its file among the results.
        quick: What ``--quick`` does; without it there is none.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--only", nargs="+", default=[""], help="parts of the rows' names")
    made.add_argument("--out", type=Path, default=RESULTS / result, help="the file of the figures")
    made.add_argument("--runs", type=Path, default=RUNS, help="the folder of the checkpoints")
    made.add_argument("--list", action="store_true", help="say which rows there are")
    if quick:
        made.add_argument("--quick", action="store_true", help=f"{quick}; needs --out")
    return made


def carry_out(rows: Iterable[Row], given: argparse.Namespace) -> None:
    """Measures the rows that are missing, and writes the file after every one.

    Args:
        rows: Those that matter most first.
        given: What `parser` parsed.

    Raises:
        SystemExit: A row of the file was measured by another recipe, or ``--quick`` would write to
            the results.
    """
    if getattr(given, "quick", False) and given.out.resolve().is_relative_to(RESULTS):
        raise SystemExit("--quick needs --out: its figures are not the benchmark's.")
    chosen = [row for row in rows if any(part in row.name for part in given.only)]
    for row in chosen:
        if given.list:
            print(row.name, "" if row.name not in _done(given.out) else "(there)")
            continue
        folder = row.folder(given.runs)
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / "lock", wait=False) as mine:
            if not mine or _there(row, given.out):
                continue
            found = {"name": row.name, "recipe": row.recipe} | row.measure(folder)
        with _lock(given.runs / f"{given.out.name}.lock"):
            _write(given.out, found)
        figures = found.get("refused") or found.get("figures") or "measured"
        print(f"{row.name}: {figures}", file=sys.stderr)
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _there(row: Row, out: Path) -> bool:
    found = _done(out).get(row.name)
    if found is not None and found["recipe"] != json.loads(json.dumps(row.recipe)):
        raise SystemExit(
            f"{row.name!r} in {out} was measured by {found['recipe']}, now it would be by "
            f"{row.recipe}: give another --out, or take it out of the file."
        )
    return found is not None


def _done(out: Path) -> dict[str, Any]:
    """The rows of a file by name; none if it is not there."""
    rows = json.loads(out.read_text("utf-8"))["rows"] if out.exists() else []
    return {row["name"]: row for row in rows}


def _write(out: Path, found: dict[str, Any]) -> None:
    header = bench.header(f"python {_script()}", PACKAGES)
    found |= {key: header[key] for key in OF_A_ROW}  # the header has those of the last row
    rows = (_done(out) | {found["name"]: found}).values()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, header | {"rows": sorted(rows, key=lambda row: row["name"])})


def finished(row: Row, runs: Path) -> Any:
    """What a row leaves as ``model.slin`` in its folder; it is measured here if it was not."""
    folder = row.folder(runs)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / "lock"):
        if not (folder / "model.slin").exists():
            row.measure(folder)
    return sl.load(folder / "model.slin")


def found_by(row: Row, runs: Path) -> dict[str, Any]:
    """What a row that several share measures; it is measured here if it was not."""
    folder = row.folder(runs)
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder / "lock"):
        if not (folder / "found.json").exists():
            write_json(folder / "found.json", row.measure(folder))
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return json.loads((folder / "found.json").read_text("utf-8"))


@contextlib.contextmanager
def _lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Whether this process alone has ``path``; it has if it waits. A kill gives it back."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def _script() -> str:
    """The file that runs, as it is named from the project's folder."""
    path = Path(sys.argv[0]).resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
