"""``structlin train``: small classifiers of several sizes from a file of examples."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from structlin import builder, specs
from structlin.cli._failures import CommandError, check_writable

__all__ = ["train"]


def train(
    data: Annotated[
        Path,
        typer.Argument(
            help="Examples: label, tab and text in each line (.tsv), a table with the columns "
            "label and text (.csv), JSON lines (.jsonl), or the arrays x and y (.npz)."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for models, report.json and pareto.png.")
    ] = Path("model"),
    sizes: Annotated[str, typer.Option(help="Names, separated by commas.")] = "tiny,small,medium",
    valid: Annotated[
        Path | None, typer.Option(help="Examples to choose by; else a tenth of DATA.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Examples that the figures are of.")] = None,
    distill: Annotated[
        str,
        typer.Option(
            help="after: learn from a teacher that was trained before, where it helps; joint: "
            "together with one; none: alone."
        ),
    ] = "after",
    balance: Annotated[
        float, typer.Option(help="From 0, rows count alike, to 1, labels count alike.")
    ] = 0.0,
    epochs: Annotated[int | None, typer.Option(help="Passes over the examples.")] = None,
    spec: Annotated[
        str | None, typer.Option(help='How kernels are made, as JSON or a name, such as "LowRank".')
    ] = None,
    size: Annotated[int, typer.Option("--bytes", help="Bytes of a text that count.")] = 256,
    encoding: Annotated[str, typer.Option(help="Of the files of texts.")] = "utf-8",
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Delete the models in the folder first.")
    ] = False,
) -> None:
    """Train small classifiers of several sizes on a file of examples, and compare them."""
    console = Console()
    with _explained(out):
        settings = builder.Settings(
            data=data,
            out=out,
            sizes=tuple(dict.fromkeys(filter(None, map(str.strip, sizes.split(","))))),
            valid=valid,
            test=test,
            distill=distill,
            balance=balance,
            epochs=epochs,
            spec=None if spec is None else _spec(spec),
            bytes_of_text=size,
            encoding=encoding,
            seed=seed,
        )
        build = builder.Build(settings)
        check_writable(out / "report.json")  # before the work, not after it
        build.prepare(restart=restart)
        for note in build.data.notes:
            console.print(f"note: {escape(note)}", style="yellow", highlight=False, soft_wrap=True)
        try:
            with _progress() as progress:
                build.train(progress)
        finally:
            if build.finished():
                _tell(build, console)


def _spec(text: str) -> specs.Spec:
    if text in specs.SPECS:
        make: Any = specs.SPECS[text]
        with contextlib.suppress(TypeError):
            return make(compression=4)
        return make()
    if not text.lstrip().startswith("{"):
        names = ", ".join(sorted(specs.SPECS))
        raise CommandError(f"no spec is named {text!r}; there are {names}", 2)
    return specs.from_json(text)


@contextlib.contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Errors of the builder as those of the command."""
    try:
        yield
    except KeyboardInterrupt:
        raise CommandError("interrupted: the same command goes on from here", 130) from None
    except builder.DivergedError as error:
        raise CommandError(str(error), 1) from None
    except OSError as error:
        where = error.filename or out
        raise CommandError(f"cannot write {where}: {error.strerror or error}", 1) from None
    except (TypeError, ValueError) as error:
        raise CommandError(str(error), 2) from None


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """A bar for each network; they are gone at the end."""
    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()),
        *(TextColumn("{task.fields[loss]}"), TimeRemainingColumn()),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def progress(name: str, done: int, total: int, loss: float) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total, loss="")
            bars.update(tasks[name], completed=done, loss=f"loss {loss:.3f}")

        yield progress


def _tell(build: builder.Build, console: Console) -> None:
    """Measures what is finished, and shows and draws it."""
    report = build.report()
    part = report["settings"]["figures_of"]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("size", "network", "taught"):
        table.add_column(name)
    for name in ("accuracy", "macro-F1", "bytes", "us"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report["rows"]:
        figures = [f"{100 * row[name]:.1f}" for name in ("accuracy", "macro_f1")]
        figures += [f"{row['bytes']:,}", f"{row['microseconds']:,.0f}"]
        table.add_row(row["size"], row["kind"], row["taught"], *figures)
    console.print(table)
    console.print(
        f"Of {report['settings']['rows'][part]:,} rows for {part}. us: median time from one input "
        "to its label, in microseconds.",
        style="dim",
    )
    try:
        for ending in ("png", "svg"):
            builder.draw(build.settings.out / f"pareto.{ending}", report)
    except ImportError as error:
        console.print(str(error), style="yellow", markup=False)
