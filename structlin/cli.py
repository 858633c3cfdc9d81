"""The command line: ``structlin demo`` and ``structlin inspect``."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ImportError as error:  # pragma: no cover (only without the extra)
    sys.exit(
        f"structlin: the command line needs the extra 'cli' ({error.name} is missing): "
        "pip install 'structlin[cli]'"
    )

import structlin
from structlin import demo as demos
from structlin import storage
from structlin.matrices import Matrix

__all__ = ["main"]

# What typer raises for wrong arguments; the package that defines it differs between its versions.
UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


class CommandError(Exception):
    """A command that cannot go on: one line, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def _version(value: bool) -> None:
    if value:
        print(structlin.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Structured matrices for small, fast recurrent models."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for table.json, pareto.png and models.")] = Path(
        "out"
    ),
    text: Annotated[Path | None, typer.Option(help="UTF-8 text to train on.")] = None,
    valid: Annotated[Path | None, typer.Option(help="UTF-8 text to test on.")] = None,
    structures: Annotated[str, typer.Option(help="Names, separated by commas.")] = ",".join(
        demos.CONTENDERS
    ),
    compression: Annotated[float, typer.Option(help="Dense bytes over stored bytes.")] = 10.0,
    epochs: Annotated[
        float | None,
        typer.Option(help="Passes over the text for the dense model; half as many for each other."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many runs, with seeds that follow.")] = 1,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small model, in about a minute.")
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the table here as well.")
    ] = None,
) -> None:
    """Train a character LSTM, compress it to every structure at one budget, tune, pack, compare."""
    names = tuple(name.strip() for name in structures.split(",") if name.strip())
    _check_demo(names, compression, epochs, seeds)
    settings = demos.Settings(
        out=out,
        text=text,
        valid=valid,
        structures=names,
        compression=compression,
        epochs=epochs or (0.5 if quick else 3.0),
        seeds=tuple(range(seed, seed + seeds)),
        hidden=128 if quick else 256,
    )
    try:
        if json_file is not None:
            _check_writable(json_file)  # before the work, not after it
        table = demos.run(settings, Console())
        if json_file is not None:
            json_file.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    except KeyboardInterrupt:
        raise CommandError("interrupted", 130) from None
    except demos.DivergedError as error:
        raise CommandError(str(error), 1) from None
    except OSError as error:
        raise CommandError(
            f"cannot write {error.filename or out}: {error.strerror or error}", 1
        ) from None
    except ValueError as error:
        raise CommandError(str(error), 2) from None


def _check_writable(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise CommandError(f"cannot write {file}", 1)


def _check_demo(
    names: tuple[str, ...], compression: float, epochs: float | None, seeds: int
) -> None:
    if unknown := [name for name in names if name not in demos.CONTENDERS]:
        raise CommandError(
            f"no structure is named {unknown[0]!r}; there are {', '.join(demos.CONTENDERS)}", 2
        )
    if not names:
        raise CommandError("--structures names no structure", 2)
    if not 0 < compression < float("inf"):
        raise CommandError(f"--compression must be positive, given {compression}", 2)
    if epochs is not None and not 0 < epochs < float("inf"):
        raise CommandError(f"--epochs must be positive, given {epochs}", 2)
    if seeds < 1:
        raise CommandError(f"--seeds must be 1 or more, given {seeds}", 2)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A model file.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
) -> None:
    """Show what a model file holds: every array and matrix with its shape and cost."""
    try:
        tree = storage.load(file)
    except FileNotFoundError:
        raise CommandError(f"there is no file {file}", 2) from None
    except (storage.StorageError, OSError) as error:
        raise CommandError(str(error), 1) from None
    rows = list(_entries("", tree))
    table = Table(title=str(file))
    for name in ("path", "what", "shape", "params", "bytes"):
        table.add_column(name, justify="right" if name in ("params", "bytes") else "left")
    for row in rows:
        shape = " x ".join(map(str, row["shape"]))
        table.add_row(row["path"], row["what"], shape, f"{row['params']:,}", f"{row['bytes']:,}")
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps({"file": str(file), "rows": rows}, indent=2) + "\n")


def _entries(path: str, node: Any) -> Any:
    if isinstance(node, Matrix):
        cost = node.cost()
        yield _entry(path, type(node).__name__, node.shape, cost.params, cost.bytes)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from _entries(f"{path}/{key}".lstrip("/"), value)
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _entries(f"{path}/{i}".lstrip("/"), value)
    elif hasattr(node, "shape"):
        yield _entry(path, str(node.dtype), node.shape, node.size, node.nbytes)


def _entry(path: str, what: str, shape: Any, params: int, size: int) -> dict[str, Any]:
    return {"path": path, "what": what, "shape": list(shape), "params": params, "bytes": size}


def main() -> None:
    """Runs the command line; every failure is one line on standard error."""
    try:
        status = app(standalone_mode=False)
    except CommandError as failure:
        print(f"structlin: {failure}", file=sys.stderr)
        status = failure.status
    except UsageError as error:
        print(f"structlin: {error.format_message()}", file=sys.stderr)
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        print("structlin: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status or 0)
