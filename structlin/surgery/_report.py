"""What a compression did to each weight and to the whole model."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from structlin.matrices import Cost
from structlin.specs import Spec, from_json

__all__ = ["Report", "Row"]

HEADINGS = ("path", "shape", "spec", "params", "bytes", "flops", "error", "smaller")
WORDS = 3
"""How many columns hold words; the others hold figures."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One weight.

    Attributes:
        path: Where it is.
        shape: ``(m, n)``, as a matrix.
        spec: What it became.
        cost: What it takes, packed, indices counted; beside it what the dense weight takes.
        relative_error: Root of the squared error over that of zero; weighted where weights were
            given. 0 is exact, 1 no better than zero.
        tied_to: The path of the weight that it is one with, and that is counted in its place.
    """

    path: str
    shape: tuple[int, int]
    spec: Spec
    cost: Cost
    relative_error: float
    tied_to: str = ""

    @property
    def params(self) -> int:
        """Stored numbers."""
        return self.cost.params

    @property
    def bytes(self) -> int:
        """Stored bytes."""
        return self.cost.bytes

    @property
    def flops(self) -> int:
        """Floating point operations of one row's product."""
        return self.cost.flops

    @property
    def compression(self) -> float:
        """Dense bytes over stored bytes."""
        return self.cost.compression

    def cells(self) -> tuple[str, ...]:
        """Its line in a table, a string for each heading."""
        shape = f"{self.shape[0]} x {self.shape[1]}"
        if self.tied_to:
            return (self.path, shape, f"tied to {self.tied_to}", "", "", "", "", "")
        counts = _counts(self.cost)
        return (
            *(self.path, shape, repr(self.spec)),
            *(*counts[:3], f"{self.relative_error:.4f}", counts[3]),
        )

    def record(self) -> dict[str, Any]:
        """Its figures, for JSON and TOML; ``dense_bytes`` are those of the dense weight."""
        return {
            "path": self.path,
            "shape": list(self.shape),
            "spec": json.loads(self.spec.to_json()),
            **_figures(self.cost),
            "relative_error": self.relative_error,
            **({"tied_to": self.tied_to} if self.tied_to else {}),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Row":
        """The row that `record` made."""
        rest = dict(record)
        names = [f.name for f in dataclasses.fields(Cost)]
        size = Cost(**{name: rest.pop(name) for name in names})
        m, n = rest.pop("shape")
        spec = from_json(json.dumps(rest.pop("spec")))
        return cls(shape=(m, n), spec=spec, cost=size, **rest)


@dataclasses.dataclass(frozen=True)
class Report:
    """Every weight that a recipe or a plan names, and the whole model.

    Attributes:
        rows: A `Row` for each weight.
        untouched: What all other leaves take.
    """

    rows: tuple[Row, ...]
    untouched: Cost

    @property
    def structured(self) -> Cost:
        """What the weights in ``rows`` take, tied ones counted once."""
        return sum((row.cost for row in self.rows if not row.tied_to), Cost(0, 0, 0, 0, 0))

    @property
    def total(self) -> Cost:
        """What the whole model takes; its ``compression`` is that of all bytes."""
        return self.structured + self.untouched

    def __getitem__(self, path: str) -> Row:
        """The row of the weight at ``path``."""
        for row in self.rows:
            if row.path == path:
                return row
        raise KeyError(f"No weight at {path!r}; there are {[row.path for row in self.rows]}.")

    def lines(self) -> list[tuple[str, ...]]:
        """The cells of the table: a line for each row, for the other leaves and for all."""
        last = (("other leaves", self.untouched), ("whole model", self.total))
        ends = [(name, "", "", *c[:3], "", c[3]) for name, c in ((n, _counts(t)) for n, t in last)]
        return [*(row.cells() for row in self.rows), *ends]

    def __str__(self) -> str:
        lines = [HEADINGS, *self.lines()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
        return "\n".join(
            "  ".join(
                x.ljust(w) if i < WORDS else x.rjust(w)
                for i, (x, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def rich(self) -> Any:
        """The table for the package ``rich``.

        Raises:
            ImportError: ``rich`` is not installed.
        """
        try:
            from rich import box
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            raise ImportError("A rich table needs `pip install structlin[cli]`.") from None
        title = f"{self.total.compression:.2f}x smaller"
        table = Table(title=title, box=box.SIMPLE, padding=0, pad_edge=False, show_edge=False)
        for heading in HEADINGS:
            # Where a line is too long, words fold and figures stay whole.
            figures = heading not in ("path", "spec")
            justify = "right" if heading in HEADINGS[WORDS:] else "left"
            table.add_column(heading, justify=justify, no_wrap=figures, overflow="fold")
        for i, line in enumerate(self.lines()):
            if i == len(self.rows):
                table.add_section()
            table.add_row(*map(Text, line))
        return table

    __rich__ = rich

    def record(self) -> dict[str, Any]:
        """The rows, the other leaves and the totals, for JSON."""
        return {
            "rows": [row.record() | {"compression": row.compression} for row in self.rows],
            "untouched": _figures(self.untouched),
            "total": _figures(self.total) | {"compression": self.total.compression},
        }

    def to_json(self) -> str:
        """`record` as JSON."""
        return json.dumps(self.record(), indent=2)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Dense and stored bytes of every weight, with its error, as a figure of ``matplotlib``.

        Args:
            path: Where to save it; the ending tells the format. ``None`` does not.

        Raises:
            ImportError: ``matplotlib`` is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("A plot needs `pip install structlin[plot]`.") from None
        rows = [row for row in self.rows if not row.tied_to]
        figure = Figure(figsize=(8, 1.5 + 0.4 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = range(len(rows))
        axes.barh(places, [r.cost.dense_bytes for r in rows], color="lightgray", label="dense")
        axes.barh(places, [r.bytes for r in rows], height=0.5, label="stored")
        for place, row in zip(places, rows, strict=True):
            note = f" {row.spec.spec_name()}, error {row.relative_error:.3f}"
            axes.text(row.cost.dense_bytes, place, note, va="center", fontsize=8)
        axes.set_yticks(list(places), [row.path for row in rows])
        axes.invert_yaxis()
        axes.margins(x=0.35)
        axes.set(xlabel="bytes", title=f"whole model {self.total.compression:.2f}x smaller")
        axes.legend(loc="lower right")
        if path is not None:
            figure.savefig(path)
        return figure


def _counts(cost: Cost) -> tuple[str, str, str, str]:
    return (f"{cost.params:,}", f"{cost.bytes:,}", f"{cost.flops:,}", f"{cost.compression:.2f}x")


def _figures(cost: Cost) -> dict[str, Any]:
    return dataclasses.asdict(cost)
