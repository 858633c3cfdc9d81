"""``structlin inspect``: what a model file holds."""

import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from structlin import storage
from structlin.cli._failures import CommandError, check_writable
from structlin.cli._tensors import Tensor, sparkline, tensors
from structlin.cli._tensors_plot import plot_tensors
from structlin.matrices import Matrix
from structlin.storage._atomic import write_atomically

__all__ = ["inspect"]

PICTURES = (".png", ".pdf", ".svg")


def inspect(
    file: Annotated[Path, typer.Argument(help="A model file.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw bytes and values of the tensors here, as .png.")
    ] = None,
) -> None:
    """Show what a model file holds: its tree, and each tensor's bytes, bound and histogram."""
    if plot is not None and plot.suffix not in PICTURES:
        raise CommandError(f"--plot writes {', '.join(PICTURES)}, given {plot}", 2)
    try:
        tree, header = storage.load(file), storage.read_header(file)
    except FileNotFoundError:
        raise CommandError(f"there is no file {file}", 2) from None
    except (ImportError, storage.StorageError, OSError) as error:
        raise CommandError(str(error), 1) from None
    found = tensors(tree, header)
    console = Console()
    root = Tree(Text(f"{file}, version {header.version}"))
    _grow(root, tree if _items(tree) else {"": tree})
    console.print(root)
    if found:
        console.print(_table(found))
    if json_file is not None:
        figures = {
            "file": str(file),
            "version": header.version,
            "rows": list(_entries("", tree)),
            "tensors": [asdict(tensor) for tensor in found],
        }
        _write(json_file, f"{json.dumps(figures, indent=2)}\n".encode())
    if plot is not None:
        picture = io.BytesIO()
        plot_tensors(found, str(file)).savefig(picture, format=plot.suffix[1:])
        _write(plot, picture.getvalue())


def _write(path: Path, data: bytes) -> None:
    try:
        check_writable(path)
        write_atomically(path, data)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror or error}", 1) from None


def _grow(branch: Tree, node: Any) -> None:
    """Adds what is in the container ``node`` to ``branch``."""
    for key, value in _items(node):
        if _items(value):
            _grow(branch.add(Text(str(key))), value)
        else:
            branch.add(Text(f"{key}  {_brief(value)}".strip()))


def _items(node: Any) -> list[tuple[Any, Any]]:
    """The keys and values of a container; none of anything else."""
    if isinstance(node, dict):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list | tuple) else []


def _brief(value: Any) -> str:
    if isinstance(value, Matrix) or not hasattr(value, "shape"):
        text = repr(value)
        return text if len(text) <= 160 else f"{text[:157]}..."
    return f"{value.dtype}{list(value.shape)}, {value.nbytes:,} bytes"


def _table(found: list[Tensor]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("tensor", "array", "bytes", "coded", "bound", "symbols", "values"):
        figures = head in ("bytes", "coded", "bound")
        side = "right" if figures else "left"
        table.add_column(head, justify=side, overflow="fold", no_wrap=head == "values")
    for t in found:
        shape = " x ".join(map(str, t.shape))
        sizes = [t.bytes, t.coded, t.bound]
        cells = ["" if size is None else f"{size:,.0f}" for size in sizes]
        cells[0] += f" ({t.coder})" if t.coder else ""
        values = f"{t.low:.3g} {sparkline(t.counts)} {t.high:.3g}" if t.counts else ""
        words = [t.name, f"{t.dtype} {shape}".strip(), *cells, t.view, values]
        table.add_row(*(Text(word) for word in words))
    return table


def _entries(path: str, node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, Matrix):
        cost = node.cost()
        yield _entry(path, type(node).__name__, node.shape, cost.params, cost.bytes)
    elif hasattr(node, "shape"):
        yield _entry(path, str(node.dtype), node.shape, node.size, node.nbytes)
    for key, value in _items(node):
        yield from _entries(f"{path}/{key}".lstrip("/"), value)


def _entry(path: str, what: str, shape: Any, params: int, size: int) -> dict[str, Any]:
    return {"path": path, "what": what, "shape": list(shape), "params": params, "bytes": size}
