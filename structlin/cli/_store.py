"""``structlin store``: embeddings in a file of few bits, of which rows are read one at a time."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

from structlin import storage
from structlin.cli._failures import CommandError, check_writable
from structlin.cli._vectors import read_vectors, read_words
from structlin.storage import EmbeddingStore
from structlin.storage._atomic import write_atomically

__all__ = ["store"]

store = typer.Typer(no_args_is_help=True, help="Embeddings in a file, read a row at a time.")
"""The commands that are about stores."""

JSON = typer.Option("--json", help="Write the figures here.")


@store.command()
def build(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN",
            help="A .npy, .npz, .safetensors or .slin file, or lines of a word and numbers.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store to write.")],
    words: Annotated[Path | None, typer.Option(help="A file with a word on each line.")] = None,
    bits: Annotated[int, typer.Option(help="Bits of a number: 1 to 8, 16 or 32.")] = 3,
    codebook: Annotated[str, typer.Option(help="Levels: uniform, or kmeans.")] = "uniform",
    coding: Annotated[str | None, typer.Option(help="Code the rows: huffman.")] = None,
    clip: Annotated[
        float | None, typer.Option(help="Standard deviations that uniform levels reach.")
    ] = None,
    error: Annotated[
        float | None, typer.Option(help="The relative error up to which coded rows get smaller.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Which array of a file of several, by its path.")
    ] = None,
    json_file: Annotated[Path | None, JSON] = None,
) -> None:
    """Write the rows of IN, and their words if it has any, to the store OUT."""
    rows, found = read_vectors(source, name)
    if words is not None:
        found = read_words(words)
    form: dict[str, Any] = {"bits": bits, "codebook": codebook}
    form |= {"coding": coding, "clip": clip, "error": error}
    try:
        for file in filter(None, (out, json_file)):
            check_writable(file)  # before the work, not after it
        with _progress(None if found is None else len(found)) as progress:
            EmbeddingStore.build(out, rows, found, **form, progress=progress).close()
    except OSError as problem:
        raise CommandError(f"cannot write {out}: {problem.strerror or problem}", 1) from None
    except (TypeError, ValueError) as problem:
        raise CommandError(str(problem), 2) from None
    show(out, json_file=json_file)


@store.command()
def show(
    file: Annotated[Path, typer.Argument(help="A store.")],
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Rows to print: words, or #7.")
    ] = None,
    json_file: Annotated[Path | None, JSON] = None,
) -> None:
    """Show what a store holds, and rows of it."""
    try:
        with EmbeddingStore(file) as opened:
            figures = _figures(file, opened)
            rows = {key: opened.take(_key(key)) for key in keys or ()}
    except FileNotFoundError:
        raise CommandError(f"there is no file {file}", 2) from None
    except storage.MissingRowError as error:
        raise CommandError(str(error), 2) from None
    except (storage.StorageError, OSError) as error:
        raise CommandError(str(error), 1) from None
    console = Console(highlight=False, markup=False)
    coding = f", {figures['coding']}" if figures["coding"] else ""
    error = "" if figures["error"] is None else f", error {figures['error']:.3g}"
    console.print(
        f"{file}: {figures['rows']:,} x {figures['dim']}, {figures['bits']} bits, "
        f"{figures['codebook']}{coding}, {'with' if figures['words'] else 'without'} words\n"
        f"{figures['bytes']:,} bytes, {figures['compression']:.2f} times less than float32{error}"
    )
    for key, row in rows.items():
        console.print(f"{key}: {np.array2string(row, precision=4, threshold=8)}")
    if json_file is not None:
        figures |= {"keys": {key: row.tolist() for key, row in rows.items()}}
        write_atomically(json_file, f"{json.dumps(figures, indent=2)}\n".encode())


def _figures(file: Path, opened: EmbeddingStore) -> dict[str, Any]:
    size, (rows, dim) = file.stat().st_size, opened.shape
    return {
        "file": str(file),
        "rows": rows,
        "dim": dim,
        "bits": opened.bits,
        "codebook": opened.codebook,
        "coding": opened.coding,
        "error": opened.error,
        "words": opened.words is not None,
        "bytes": size,
        "compression": 4 * rows * dim / size,
    }


def _key(key: str) -> str | int:
    """A row's number where ``key`` is ``#`` and one, else the word."""
    return int(key[1:]) if key.startswith("#") and key[1:].isdecimal() else key


@contextlib.contextmanager
def _progress(words: int | None) -> Iterator[Callable[[int, int | None], None]]:
    """A bar of rows, of ``words`` where their source does not know how many they are."""
    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    hidden = not console.is_terminal  # else a blank line stays
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=words)
        yield lambda done, total: progress.update(task, completed=done, total=total or words)
