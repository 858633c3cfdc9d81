"""The application: its commands, and how each of them ends."""

import sys
from typing import Annotated, Any

import typer

import structlin
from structlin.cli._bench import bench
from structlin.cli._compress import compress
from structlin.cli._demo import demo
from structlin.cli._failures import CommandError
from structlin.cli._inspect import inspect
from structlin.cli._native import native
from structlin.cli._predict import predict
from structlin.cli._store import store
from structlin.cli._train import train

__all__ = ["main"]

# What typer raises for wrong arguments; the package that defines it differs between its versions.
UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
for command in (demo, compress, inspect, train, predict, bench):
    app.command()(command)
app.add_typer(store, name="store")
app.add_typer(native, name="native")


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
