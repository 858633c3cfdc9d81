"""A spec and a size for each weight of a model, chosen so that the whole stays within a budget."""

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import specs
from structlin.matrices import Cost
from structlin.matrices._weights import as_weights
from structlin.specs import Covariance, Fisher, Rows, Spec
from structlin.surgery import _toml
from structlin.surgery._errors import squared_error
from structlin.surgery._model import weights_of
from structlin.surgery._recipe import Recipe, chosen, read_toml, written
from structlin.surgery._report import Report, Row
from structlin.surgery._targets import Target, find_targets, identity, target_weights
from structlin.surgery.curves import Point, allocate, curve

__all__ = ["CANDIDATES", "SIZES", "Plan", "plan"]

CANDIDATES: tuple[Spec, ...] = (
    specs.Dense(),
    specs.LowRank(compression=2),
    specs.Kron(compression=2),
    specs.HMD(compression=2),
    specs.Sparse(compression=2),
    specs.DopedKron(compression=2),
    specs.Monarch(compression=2),
    *(specs.Quantized(specs.Dense(), bits) for bits in (8, 7)),
    *(specs.Quantized(specs.Dense(), bits, "kmeans") for bits in (6, 5, 4, 3, 2)),
    specs.Quantized(specs.LowRank(compression=2), 8),
    *(specs.Quantized(specs.LowRank(compression=2), bits, "kmeans") for bits in (6, 5, 4)),
)
"""What `plan` chooses from if it is not told; a compression stands for every compression."""

SIZES = (1.2, 1.5, 2.0, 2.7, 3.5, 4.7, 6.3, 8.5, 11.5, 16.0, 24.0, 40.0)
"""The compressions that `plan` tries if it is not told."""


class Plan(Recipe):
    """A recipe that names each weight by its path and says what to expect.

    Attributes:
        report: What each weight takes, and its error as planned.
        budget: The bytes that the whole model was allowed.
        error: The sum of errors that was made as small as it could be.
        weights: Path -> what matters more; `structlin.compress` fits by it. Not in the TOML form.
    """

    def __init__(
        self,
        specs: Mapping[str, Spec | None],
        report: Report,
        budget: int,
        error: float,
        *,
        fuse: bool = False,
        outputs: Mapping[str, int] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__({}, fuse=fuse, outputs=outputs)
        self._specs = dict(specs)
        self.report = report
        self.budget = budget
        self.error = error
        self.weights = dict(weights or {})

    def __repr__(self) -> str:
        return f"Plan({self._specs!r}, budget={self.budget:,})"

    def matches(self, pattern: str, path: str) -> bool:
        """Whether a key of this plan means the weight at ``path``: only if they are equal."""
        return pattern == path

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """This plan as TOML, with its report; written to a file as well if there is a ``path``."""
        head = {
            "budget": self.budget,
            "error": self.error,
            "fuse": self.fuse,
            "outputs": self.outputs,
            "untouched": self.report.record()["untouched"],
        }
        lines = [f"{name} = {_toml.to_value(value)}" for name, value in head.items()]
        for row in self.report.rows:
            lines += ["", "[[weight]]"]
            lines += [f"{name} = {_toml.to_value(value)}" for name, value in row.record().items()]
        return written("\n".join(lines) + "\n", path)

    @classmethod
    def from_toml(cls, source: str | os.PathLike[str]) -> "Plan":
        """The plan that `to_toml` wrote: its text, or the path of a file that ends in .toml.

        Raises:
            ValueError: It is not TOML, or not that of a plan.
        """
        table = read_toml(source)
        try:
            rows = tuple(Row.from_record(record) for record in table["weight"])
            return cls(
                {row.path: row.spec for row in rows},
                Report(rows, Cost(**table["untouched"])),
                table["budget"],
                table["error"],
                fuse=table["fuse"],
                outputs=table["outputs"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"This TOML is not that of a plan: {error!r}.") from None


def plan(
    params: Any,
    bytes: float | None = None,
    compression: float | None = None,
    candidates: Iterable[Spec] | None = None,
    importance: str | Mapping[str, Any] | None = None,
    include: str = ".*kernel|.*embedding",
    *,
    fuse: bool = False,
    outputs: Mapping[str, int] | None = None,
    sizes: Sequence[float] = SIZES,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """The structure and the size of each weight of least error in all within a budget.

    Every candidate is fitted to every weight in several sizes, low-rank ones all at once by one
    decomposition. Of the points of error over bytes that this gives, those are taken whose errors
    add up to the least while the bytes of the whole model stay within the budget.

    Args:
        params: The parameters of a Linen model, or an NNX model.
        bytes: The stored bytes that the whole model may take, weights that are not planned and
            biases counted.
        compression: In place of ``bytes``: dense bytes of the whole model over stored bytes.
        candidates: Specs to choose from, as in `structlin.surgery.CANDIDATES`. One with a
            ``compression`` is tried in all ``sizes``; any other as it is. `structlin.specs.Dense`,
            which leaves a weight alone, is always among them. Codes do not train: leave
            `structlin.specs.Quantized` out for a model that is to be tuned.
        importance: What errors count for. ``"uniform"`` (or ``None``): squared errors of all
            entries alike. ``"relative"``: those of each weight over its squares, so that every
            weight counts alike. ``"magnitude"``: squared errors times the magnitude of the entry.
            Or path -> weights as `structlin.specs.Spec.fit` takes them, for every weight: from
            `structlin.fisher` (squared gradients, whose errors are changes of the loss) or
            `structlin.activations` (inputs of layers; errors of outputs over the outputs). The last
            was the best guide on trained models (``docs/benchmarks.md``).
        include: Pattern of the paths of the weights to plan.
        fuse: As in `structlin.compress`.
        outputs: As in `structlin.compress`.
        sizes: Compressions to try.
        progress: Called with a line before each weight is fitted.

    Returns:
        A recipe for `structlin.compress`, with what it will cost.

    Raises:
        ValueError: Not exactly one of ``bytes`` and ``compression`` is given; no weight is
            included; ``importance`` leaves one out; the budget is below the least that the
            candidates can reach.
    """
    _check_budget(bytes, compression)
    leaves, rest = weights_of(params)
    targets = find_targets(leaves, fuse=fuse, outputs=outputs)
    pick = Recipe({include: specs.Dense()}, fuse=fuse, outputs=outputs)
    picked = [t for t, _ in chosen(pick, targets, list(leaves), "include=")]
    weights = _importance(importance, picked, leaves)
    first = {identity(t, leaves): t for t in reversed(picked)}  # of each group of tied ones
    unique = [t for t in picked if first[identity(t, leaves)] is t]
    other = rest(picked)
    total = sum((t.dense_cost(leaves) for t in unique), other)
    limit = int(total.bytes / compression) if compression else int(bytes or 0)
    tried = _with_dense(CANDIDATES if candidates is None else candidates)
    points: list[list[Point]] = []
    for target in unique:
        if progress is not None:
            progress(f"{target.path} {target.shape[0]} x {target.shape[1]}")
        dense = target.dense(leaves)
        points.append(curve(dense, weights.get(target.path), tried, sizes))
    scales = [_scale(importance, weights.get(t.path), t.dense(leaves)) for t in unique]
    best, error = _best(points, scales, limit, other, total)
    found = {identity(t, leaves): point for t, point in zip(unique, best, strict=True)}
    rows = []
    for target in picked:
        key = identity(target, leaves)
        rows.append(_row(target, first[key], found[key], target.dense(leaves), weights))
    return Plan(
        {row.path: row.spec for row in rows},
        Report(tuple(rows), other),
        limit,
        error,
        fuse=fuse,
        outputs=outputs,
        weights=weights,
    )


def _best(
    points: list[list[Point]], scales: list[float], limit: int, other: Cost, total: Cost
) -> tuple[list[Point], float]:
    """A point of each curve, and the sum of their errors."""
    sizes = [np.array([p.cost.bytes for p in found]) for found in points]
    errors = [np.array([p.error for p in f]) * s for f, s in zip(points, scales, strict=True)]
    least = int(sum(s.min() for s in sizes)) + other.bytes
    if least > limit:
        raise ValueError(
            f"The plan may take {limit:,} bytes; the least that these candidates reach is "
            f"{least:,}, of which {other.bytes:,} are leaves that are not planned. Ask for "
            f"compression={math.floor(1000 * total.bytes / least) / 1000:g} or less."
        )
    places = allocate(sizes, errors, limit - other.bytes)
    error = sum(float(e[i]) for e, i in zip(errors, places, strict=True))
    return [found[i] for found, i in zip(points, places, strict=True)], error


def _check_budget(size: float | None, compression: float | None) -> None:
    if (size is None) == (compression is None):
        raise ValueError(
            f"plan takes bytes or compression, one of the two; given bytes={size}, "
            f"compression={compression}."
        )
    given = compression if size is None else size
    if given is None or not 0 < given < math.inf:
        raise ValueError(f"plan needs a positive number for its budget; given {given}.")


def _with_dense(candidates: Iterable[Spec]) -> list[Spec]:
    candidates = list(candidates)
    wrong = [c for c in candidates if not isinstance(c, Spec)]
    if wrong:
        raise TypeError(f"candidates are specs; given {wrong}.")
    return candidates if specs.Dense() in candidates else [specs.Dense(), *candidates]


def _importance(
    importance: str | Mapping[str, Any] | None, targets: list[Target], leaves: Mapping[str, Any]
) -> dict[str, Any]:
    """What matters more in each weight, by its own path."""
    if importance in (None, "uniform", "relative"):
        return {}
    if importance == "magnitude":
        return {t.path: Fisher(_magnitudes(t.dense(leaves))) for t in targets}
    if not isinstance(importance, Mapping):
        raise ValueError(
            "importance is 'uniform', 'relative', 'magnitude', or a mapping of paths to weights; "
            f"given {importance!r}."
        )
    found = {t.path: target_weights(t, importance) for t in targets}
    missing = [path for path, weights in found.items() if weights is None]
    if missing:
        raise ValueError(
            f"importance says nothing of {missing}; it has {sorted(importance)}. Add them, or "
            "leave them out of include=."
        )
    return {t.path: as_weights(f"plan: {t.path}", found[t.path], t.shape) for t in targets}


def _magnitudes(dense: jax.Array) -> jax.Array:
    found = jnp.abs(dense)
    return jnp.where(jnp.any(found > 0), found, 1)


def _scale(importance: Any, weights: Any, dense: jax.Array) -> float:
    """What makes the errors of different weights comparable."""
    if importance != "relative" and not isinstance(weights, Covariance | Rows):
        return 1.0
    whole = squared_error(dense, jnp.zeros_like(dense), weights)
    return 1.0 / max(whole, sys.float_info.min)


def _row(target: Target, first: Target, point: Point, dense: jax.Array, weights: Any) -> Row:
    whole = squared_error(dense, jnp.zeros_like(dense), weights.get(first.path))
    tied = "" if first is target else first.path
    relative = math.sqrt(point.error / (whole or 1.0))
    return Row(target.path, target.shape, point.spec, point.cost, relative, tied)
