"""``structlin compress``: a smaller file of weights, by a recipe or within a budget."""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import structlin
from structlin import surgery
from structlin.cli._failures import CommandError, check_writable
from structlin.cli._models import read_model
from structlin.specs import SPECS, Dense, Spec
from structlin.storage._atomic import write_atomically
from structlin.surgery._compress import as_recipe
from structlin.surgery._recipe import Recipe

__all__ = ["compress"]

PICTURES = (".png", ".pdf", ".svg")


def compress(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="A .slin file, or a .safetensors or .npz file, its names split at '/' and '.'.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The .slin file to write.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Compress by this recipe or plan, a TOML file.")
    ] = None,
    compression: Annotated[
        float | None, typer.Option(help="Plan: dense bytes of the whole model over stored bytes.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--bytes", help="Plan: stored bytes of the whole model.")
    ] = None,
    candidates: Annotated[
        str | None, typer.Option(help="Specs to plan with, by name, separated by commas.")
    ] = None,
    importance: Annotated[
        str | None, typer.Option(help="Of a plan: uniform (default), relative or magnitude.")
    ] = None,
    include: Annotated[
        str | None,
        typer.Option(help="Pattern of the paths to plan; '.*kernel|.*embedding' by default."),
    ] = None,
    fuse: Annotated[
        bool, typer.Option("--fuse", help="Plan the gates of Linen's cells as one kernel.")
    ] = False,
    save_plan: Annotated[Path | None, typer.Option(help="Write the plan here, as TOML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the report here, as .png.")] = None,
    no_pack: Annotated[
        bool, typer.Option("--no-pack", help="Keep pruned zeros, so that training can go on.")
    ] = False,
) -> None:
    """Compress a whole model by --recipe, or by a plan within --compression or --bytes."""
    options = {"candidates": candidates, "importance": importance, "include": include}
    given = [name for name, value in options.items() if value is not None]
    given += [name for name, value in {"fuse": fuse, "save-plan": save_plan}.items() if value]
    _check(out, plot, {"recipe": recipe, "compression": compression, "bytes": size}, given)
    planned: dict[str, Any] = {n: v for n, v in options.items() if v is not None} | {"fuse": fuse}
    if candidates is not None:
        planned["candidates"] = _candidates(candidates)
    what = None if recipe is None else _read_recipe(recipe)
    tree, metadata = read_model(source)
    with _explained(out):
        for file in filter(None, (out, save_plan, json_file, plot)):
            check_writable(file)  # before the work, not after it
        if what is None:
            what = _plan(tree, bytes=size, compression=compression, **planned)
        if save_plan is not None:
            write_atomically(save_plan, what.to_toml().encode())
        small = _compress(tree, what)
        structlin.save(out, small.params if no_pack else structlin.pack(small.params), metadata)
        if json_file is not None:
            write_atomically(json_file, f"{small.report.to_json()}\n".encode())
        if plot is not None:
            write_atomically(plot, _picture(small.report, plot.suffix[1:]))
    console = Console()
    console.print(small.report)
    console.print(f"{out}: {out.stat().st_size:,} bytes", markup=False, highlight=False)


def _check(out: Path, plot: Path | None, ways: Mapping[str, Any], planned: Sequence[str]) -> None:
    """Raises for arguments that do not go together; ``planned`` are those that a plan is for."""
    chosen = [f"--{name}" for name, value in ways.items() if value is not None]
    if len(chosen) != 1:
        raise CommandError(
            "give one of --recipe, --compression and --bytes; given "
            f"{' and '.join(chosen) or 'none'}",
            2,
        )
    if planned and chosen == ["--recipe"]:
        raise CommandError(
            f"--{planned[0]} is for a plan, made by --compression or --bytes, not for --recipe", 2
        )
    if out.suffix != ".slin":
        raise CommandError(f"OUT is a .slin file, given {out}", 2)
    if plot is not None and plot.suffix not in PICTURES:
        raise CommandError(f"--plot writes {', '.join(PICTURES)}, given {plot}", 2)


def _candidates(text: str) -> list[Spec]:
    """The specs of these names: those that plans try by default, else one of every size."""
    found: list[Spec] = []
    for name in filter(None, map(str.strip, text.split(","))):
        family = [c for c in surgery.CANDIDATES if c.spec_name() == name]
        found += family or [_candidate(name)]
    if not found:
        raise CommandError("--candidates names no spec", 2)
    return found


def _candidate(name: str) -> Spec:
    if name not in SPECS:
        raise CommandError(f"no spec is named {name!r}; there are {', '.join(sorted(SPECS))}", 2)
    make: Any = SPECS[name]
    for fields in ({"compression": 2}, {}):
        with contextlib.suppress(TypeError, ValueError):
            return make(**fields)
    raise CommandError(f"{name} needs more than a size to be a candidate: name it in a recipe", 2)


def _read_recipe(path: Path) -> Recipe:
    try:
        return as_recipe(path, None, None)
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", 2) from None
    except (OSError, TypeError, ValueError) as error:
        raise CommandError(f"cannot read {path}: {error}", 2) from None


@contextlib.contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Errors of the library as those of the command."""
    try:
        yield
    except OSError as error:
        where = error.filename or out
        raise CommandError(f"cannot write {where}: {error.strerror or error}", 1) from None
    except (OverflowError, ValueError) as error:
        raise CommandError(str(error), 2) from None


def _plan(tree: Any, **options: Any) -> surgery.Plan:
    kept = {name: options[name] for name in ("include", "fuse") if name in options}
    everything = surgery.plan(tree, compression=1, candidates=(), **kept)  # tries nothing
    with _progress(everything.report.rows) as progress:
        return surgery.plan(tree, progress=progress, **options)


def _compress(tree: Any, recipe: Recipe) -> surgery.Compressed:
    rows = recipe.report.rows if isinstance(recipe, surgery.Plan) else ()
    with _progress([row for row in rows if row.spec != Dense()]) as progress:
        return surgery.compress(tree, recipe, progress=progress)


@contextlib.contextmanager
def _progress(rows: Sequence[surgery.Row]) -> Iterator[Callable[[str], None]]:
    """A bar that goes on with every weight; it is gone when all of ``rows`` are done."""
    text = TextColumn("{task.description}", markup=False)
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), text
    total, done = sum(not row.tied_to for row in rows) or None, itertools.count()
    console = Console(stderr=True)
    hidden = not console.is_terminal  # else a blank line stays
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=total)
        yield lambda line: progress.update(task, completed=next(done), description=line)


def _picture(report: surgery.Report, form: str) -> bytes:
    buffer = io.BytesIO()
    report.plot().savefig(buffer, format=form)
    return buffer.getvalue()
