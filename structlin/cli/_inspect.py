"""``structlin inspect``: what a model file holds."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from structlin import storage
from structlin.cli._failures import CommandError
from structlin.matrices import Matrix

__all__ = ["inspect"]


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
