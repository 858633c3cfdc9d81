"""``structlin demo``: the main job, with its options checked before it starts."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from structlin import demo as demos
from structlin.cli._failures import CommandError, check_writable

__all__ = ["demo"]


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
            check_writable(json_file)  # before the work, not after it
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
