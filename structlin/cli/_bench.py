"""``structlin bench``: how fast structures are here, and whether they became slower."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import structlin
from structlin import bench as benches
from structlin.bench._report import print_changes, print_run
from structlin.cli._failures import CommandError, check_writable
from structlin.demo._results import write_json

__all__ = ["bench"]


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what has a mark to reach, in about a minute.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the run here.")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="A run to compare with; exits with 1 if this is slower.")
    ] = None,
    margin: Annotated[
        float | None, typer.Option(help="The share of its speed that a row may lose; 0.3.")
    ] = None,
) -> None:
    """Time layers, products and training steps of every structure against dense ones."""
    before = _before(compare, margin)
    settings = structlin.tune_cpu()
    console = Console()
    try:
        if json_file is not None:
            check_writable(json_file)  # before the work, not after it
        if problem := benches.native_problem():
            line = f"native rows are skipped: {problem}"
            console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
        records = _measured(benches.QUICK if quick else benches.FULL, quick)
        print_run(console, records)
        if json_file is not None:
            command = "structlin bench" + " --quick" * quick
            made = benches.header(command, settings=list(settings))
            write_json(json_file, made | {"rows": records})
    except KeyboardInterrupt:
        raise CommandError("interrupted", 130) from None
    except RuntimeError as error:
        raise CommandError(str(error), 1) from None
    except OSError as error:
        where = error.filename or json_file
        raise CommandError(f"cannot write {where}: {error.strerror or error}", 1) from None
    if before is not None:
        share = 0.3 if margin is None else margin
        if print_changes(console, benches.changes(before, records), share):
            raise typer.Exit(1)


def _before(compare: Path | None, margin: float | None) -> list[dict[str, Any]] | None:
    """The run to compare with; raises for options that make no sense."""
    if margin is not None and not 0 < margin < 1:
        raise CommandError(f"--margin must be above 0 and below 1, given {margin}", 2)
    if compare is None:
        if margin is not None:
            raise CommandError("--margin needs --compare", 2)
        return None
    try:
        return benches.read_run(compare)
    except FileNotFoundError:
        raise CommandError(f"there is no file {compare}", 2) from None
    except OSError as error:
        raise CommandError(f"cannot read {compare}: {error.strerror or error}", 2) from None
    except ValueError as error:
        raise CommandError(str(error), 2) from None


def _measured(cases: Any, quick: bool) -> list[dict[str, Any]]:
    """The records of all cases, with a bar meanwhile."""
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    console, records = Console(stderr=True), []
    text = TextColumn("{task.description}", markup=False)
    hidden = not console.is_terminal
    with Progress(*columns, text, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(cases[0].name, total=len(cases))
        effort = benches.QUICK_EFFORT if quick else benches.FULL_EFFORT
        for case in cases:
            progress.update(task, description=case.name)
            records += benches.run([case], *effort)
            progress.advance(task)
    return records
