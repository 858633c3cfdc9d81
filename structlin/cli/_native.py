"""``structlin native``: the library of native code in the user's cache."""

import typer

from structlin.cli._failures import CommandError
from structlin.kernels import native as library

__all__ = ["native"]

native = typer.Typer(no_args_is_help=True, help="Build, look at or remove the native CPU code.")
"""The commands."""


@native.command()
def build() -> None:
    """Compile the native code, unless it is in the cache, and check it."""
    try:
        path = library.build()
    except library.BuildError as error:
        raise CommandError(str(error), 1) from None
    print(path)
    found = library.status()
    if found.path is None:
        raise CommandError(f"it is built and not used: {found.problem}", 1)
    print(f"in use, with the instructions {library.instructions()}")


@native.command()
def status() -> None:
    """Say whether native code is used in this environment, and if not, why."""
    found = library.status()
    if found.path is None:
        print(f"not in use: {found.problem}")
    else:
        print(f"in use, with the instructions {library.instructions()}: {found.path}")


@native.command()
def clean() -> None:
    """Remove every library of native code from the cache."""
    for path in library.clean():
        print(f"removed {path}")
