"""A matrix as text: on one line, and as a table of its parts."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from structlin.matrices._cost import leaf_bytes
from structlin.matrices._interface import Interface

__all__ = ["Summary", "short"]

WIDTH = 120
"""The most characters of one line that also says what a matrix is made of."""

HEADS = ("part", "shape", "dtype", "params", "bytes", "share", "flops", "smaller")


def short(matrix: Any) -> str:
    """``matrix`` on one line: structure, shape, dtype, cost, and what it is made of."""
    name = type(matrix).__name__
    try:
        (m, n), cost = matrix.shape, matrix.cost()
        line = f"{name}({m}x{n}, {matrix.dtype}, {cost.params:,} params, {cost.bytes:,} bytes"
        if cost.bytes and cost.compression >= 1.05:
            line += f", {cost.compression:,.{1 if cost.compression < 100 else 0}f}x smaller"
        parts = _names(matrix)
        made = f": {parts}" if parts and len(line) + len(parts) + 3 <= WIDTH else ""
        return f"{line}{made})"
    except Exception:  # a tree of shapes, specs or None has no cost; it still prints
        fields = dataclasses.fields(matrix)
        return f"{name}({', '.join(f'{f.name}={_brief(getattr(matrix, f.name))}' for f in fields)})"


class Summary:
    """A table of a matrix, its parts and their arrays: text for ``print``, drawn by rich.

    Shares are of the bytes of the whole; ``smaller`` is dense bytes over stored bytes.
    """

    def __init__(self, matrix: Any) -> None:
        self.rows = list(_rows(matrix, type(matrix).__name__, max(matrix.cost().bytes, 1), 0, 0))

    def __str__(self) -> str:
        lines = [HEADS, *(("  " * depth + name, *rest) for depth, name, *rest in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
        left = 3  # columns of words; the others hold figures
        return "\n".join(
            "  ".join(
                x.ljust(w) if i < left else x.rjust(w)
                for i, (x, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    __repr__ = __str__

    def __rich__(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for i, head in enumerate(HEADS):
            table.add_column(head, justify="left" if i < 3 else "right", no_wrap=True)
        for depth, name, *rest in self.rows:
            # Structures have a compression, arrays have none.
            style = "bold" if depth == 0 else "" if rest[-1] else "dim"
            table.add_row(*(Text(x, style) for x in ("  " * depth + name, *rest)))
        return table


def _rows(node: Any, name: str, whole: int, depth: int, params: int) -> Iterator[tuple]:
    """``(depth, *cells)`` of a matrix, or an array of ``params``, and, below, of its parts."""
    shape = " x ".join(map(str, node.shape))
    if not isinstance(node, Interface):
        size = leaf_bytes(node)
        yield (
            depth,
            name,
            shape,
            f"{node.dtype}",
            f"{params:,}",
            f"{size:,}",
            f"{size / whole:.0%}",
            "",
            "",
        )
        return
    cost: Any = node.cost()  # pyright: ignore[reportAttributeAccessIssue]
    smaller = f"{cost.compression:,.1f}x" if cost.bytes else "all"
    yield (
        depth,
        name,
        shape,
        f"{node.dtype}",
        f"{cost.params:,}",
        f"{cost.bytes:,}",
        f"{cost.bytes / whole:.0%}",
        f"{cost.flops:,}",
        smaller,
    )
    counts = iter(node._leaf_params())  # pyright: ignore[reportAttributeAccessIssue]
    for path, part in _parts(node):
        kind = f" {type(part).__name__}" if isinstance(part, Interface) else ""
        count = sum(itertools.islice(counts, len(jax.tree.leaves(part))))
        yield from _rows(part, f"{path}{kind}", whole, depth + 1, count)


def _parts(matrix: Any) -> list[tuple[str, Any]]:
    """The matrices and arrays in the fields of ``matrix``, with their paths."""
    found = jax.tree_util.tree_leaves_with_path(
        matrix, is_leaf=lambda x: x is not matrix and _is_whole(x)
    )
    return [(jax.tree_util.keystr(path).lstrip("."), part) for path, part in found]


def _is_whole(part: Any) -> bool:
    """Whether ``part`` is a matrix; one whose arrays hold codes has no shape of its own."""
    try:
        return isinstance(part, Interface) and bool(part.cost()) and len(part.shape) == 2  # pyright: ignore[reportAttributeAccessIssue]
    except Exception:
        return False


def _names(matrix: Any) -> str:
    """The structures that ``matrix`` is made of, those of its parts in brackets."""
    parts = [part for _, part in _parts(matrix) if isinstance(part, Interface)]
    inner = ((type(part).__name__, _names(part)) for part in parts)
    return ", ".join(f"{name}[{below}]" if below else name for name, below in inner)


def _brief(value: Any) -> str:
    """``value`` on one line; of an array its dtype and shape."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_brief, value))})"
    if isinstance(value, jax.Array | np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return repr(value)
