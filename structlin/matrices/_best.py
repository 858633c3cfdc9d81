"""Which structure stands for a matrix best within a number of bytes."""

import contextlib
import dataclasses
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices._base import Matrix
from structlin.matrices._cost import Cost
from structlin.matrices._majorize import weighted_error
from structlin.matrices._spec import SPECS, Spec, check_fit
from structlin.matrices._weights import as_weights

__all__ = ["Candidate", "Comparison", "best_structure"]

HEADINGS = ("structure", "error", "bytes", "params", "flops", "seconds")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """How one spec did.

    Attributes:
        spec: The spec.
        matrix: What it fitted, in the form for inference; ``None`` where it cannot.
        error: Root of the (weighted) squared error over that of zero: 0 is exact, 1 no better than
            zero.
        cost: What ``matrix`` takes.
        seconds: Wall time of the fit, with what had to be compiled.
        reason: Why it cannot, where it cannot.
    """

    spec: Spec
    matrix: Matrix | None = None
    error: float = float("inf")
    cost: Cost | None = None
    seconds: float = 0.0
    reason: str = ""

    def cells(self) -> tuple[str, ...]:
        """Its line in a table, a string for each of the headings."""
        if self.cost is None:
            return (repr(self.spec), self.reason.split(". ")[0], "", "", "", "")
        counts = (f"{x:,}" for x in (self.cost.bytes, self.cost.params, self.cost.flops))
        return (repr(self.spec), f"{self.error:.4f}", *counts, f"{self.seconds:.2f}")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Several structures fitted to one matrix.

    Attributes:
        rows: A `Candidate` for each spec, the smallest error first; those that cannot come last.
        budget: The bytes that each was allowed.
        shape: ``(m, n)`` of the matrix.
    """

    rows: tuple[Candidate, ...]
    budget: int
    shape: tuple[int, int]

    @property
    def best(self) -> Matrix:
        """The matrix of the smallest error."""
        first = self.rows[0]
        if first.matrix is None:
            reasons = "\n".join(f"  {row.spec!r}: {row.reason}" for row in self.rows)
            raise ValueError(f"No structure fits in {self.budget:,} bytes:\n{reasons}")
        return first.matrix

    @property
    def spec(self) -> Spec:
        """The spec of the smallest error."""
        return self.rows[0].spec

    def table(self) -> str:
        """The rows as plain text."""
        done = [row.cells() for row in self.rows if row.cost is not None]
        lines = [HEADINGS, *done]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
        text = [
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        ]
        cannot = [f"{row.spec!r}: {row.reason}" for row in self.rows if row.cost is None]
        m, n = self.shape
        title = f"{m} x {n} in {self.budget:,} bytes"
        return "\n".join([title, *text, *cannot])

    def __str__(self) -> str:
        return self.table()

    def rich(self) -> Any:
        """The rows as a table of the package ``rich``.

        Raises:
            ImportError: ``rich`` is not installed.
        """
        try:
            from rich.table import Table
        except ImportError:
            raise ImportError("A rich table needs `pip install structlin[cli]`.") from None
        m, n = self.shape
        table = Table(title=f"{m} x {n} in {self.budget:,} bytes")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading == "structure" else "right")
        for row in self.rows:
            table.add_row(*row.cells())
        return table

    def plot(self, path: str | Path | None = None) -> Any:
        """Error against bytes, as a figure of ``matplotlib``.

        Args:
            path: Where to save it; the ending tells the format. ``None`` does not.

        Raises:
            ImportError: ``matplotlib`` is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("A plot needs `pip install structlin[cli]`.") from None
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for row in self.rows:
            if row.cost is not None:
                axes.scatter(row.cost.bytes, row.error)
                name, at = row.spec.spec_name(), (row.cost.bytes, row.error)
                axes.annotate(name, at, xytext=(4, 4), textcoords="offset points", fontsize=8)
        axes.axvline(self.budget, linestyle=":", color="gray", label="budget")
        axes.set(xlabel="bytes", ylabel="relative error", ylim=(0, None))
        axes.legend(loc="upper left")
        if path is not None:
            figure.savefig(path)
        return figure


def best_structure(
    dense: Any,
    compression: float | None = None,
    *,
    max_bytes: int | None = None,
    candidates: Iterable[Spec] | None = None,
    weights: Any = None,
) -> Comparison:
    """Fits every structure to ``dense`` within a number of bytes and sorts them by error.

    Args:
        dense: The matrix, ``(m, n)``, of a floating or complex dtype.
        compression: Dense bytes over stored bytes to reach.
        max_bytes: The stored bytes allowed, in place of ``compression``.
        candidates: The specs to try, sized as they are; those that take more bytes than allowed are
            refused. One of every structure that takes ``compression`` alone if not given.
        weights: What matters more, as in `Spec.fit`; errors are then weighted.

    Returns:
        The candidates with their errors, costs and times; ``.best`` is the matrix.

    Raises:
        ValueError: Not exactly one of ``compression`` and ``max_bytes`` is given, or the matrix or
            the weights are not fit to be fitted.
    """
    if (compression is None) == (max_bytes is None):
        raise ValueError(
            "best_structure takes compression or max_bytes, one of the two; given "
            f"compression={compression}, max_bytes={max_bytes}."
        )
    given = max_bytes if compression is None else compression
    if given is None or not 0 < given < float("inf"):
        raise ValueError(f"best_structure needs a positive number for its budget; given {given}.")
    dense = check_fit(SPECS["Dense"](), dense)
    m, n = dense.shape
    weights = as_weights("best_structure", weights, (m, n))
    limit = int(dense.nbytes / given) if compression is not None else int(given)
    if candidates is None:
        candidates = _every_spec(dense.nbytes / limit if compression is None else compression)
    whole = weighted_error(dense, jnp.zeros_like(dense), weights)
    rows = [_tried(spec, dense, weights, limit, whole) for spec in candidates]
    order = sorted(rows, key=lambda row: (row.error, row.cost.bytes if row.cost else 0))
    return Comparison(tuple(order), limit, (m, n))


def _every_spec(compression: float) -> list[Spec]:
    """One spec of every structure that is sized by ``compression`` and needs nothing else."""
    found = []
    for cls in SPECS.values():
        names = {field.name: field for field in dataclasses.fields(cls)}
        others = [f for name, f in names.items() if name != "compression"]
        alone = all(
            f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
            for f in others
        )
        if "compression" in names and alone:
            # Some need one of several other fields as well, and say so.
            with contextlib.suppress(ValueError):
                found.append(cls(**{"compression": compression}))
    return found


def _tried(spec: Spec, dense: jax.Array, weights: Any, limit: int, whole: jax.Array) -> Candidate:
    began = time.perf_counter()
    try:
        matrix = jax.block_until_ready(spec.fit(dense, weights).pack())
    except (ValueError, NotImplementedError) as error:
        return Candidate(spec, reason=str(error))
    seconds = time.perf_counter() - began
    cost = matrix.cost()
    if cost.bytes > limit:
        reason = f"it takes {cost.bytes:,} bytes, more than the {limit:,} allowed"
        return Candidate(spec, reason=reason)
    missed = weighted_error(dense, matrix.to_dense(), weights)
    share = float(jnp.sqrt(jnp.maximum(missed, 0) / jnp.where(whole > 0, whole, 1)))
    return Candidate(spec, matrix, share, cost, seconds)
