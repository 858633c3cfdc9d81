"""Rows in groups, each on a low-rank basis of its own, by what the rows are worth."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from structlin.decompose._codebook import lloyd
from structlin.decompose._dtypes import wide_dtype
from structlin.decompose._group_ranks import (
    expand_ranks,
    frequency_ranks,
    group_rank,
    spectrum_ranks,
    stored,
    tail,
)

__all__ = ["Groups", "frequency_groups", "group_reduce", "on_basis"]

BLOCK = 2**21
"""The numbers of the matrix that are in memory at a time."""

ENOUGH = 1e-4
"""A round that takes off less than this share of the error gains nothing."""

PATIENCE = 4
"""Refinement ends after so many rounds without a gain."""

PULL = 0.7
"""How the pull of the ranks' price on the rows' falls from round to round."""


class Groups(NamedTuple):
    """Which row is in which group, and the basis of each.

    Attributes:
        labels: The group of each row, ``(m,)``, bytes.
        ranks: The rank of each group; ``n`` of a dense one, 0 of one without rows.
        bases: For each group orthonormal columns ``(n, rank)``: a row ``a`` becomes
            ``a @ basis @ basis.H``.
        error: The sum over all rows of their weight times the squared error.
    """

    labels: np.ndarray
    ranks: tuple[int, ...]
    bases: tuple[np.ndarray, ...]
    error: float


def frequency_groups(weights: Any, groups: int, how: str = "kmeans") -> np.ndarray:
    """The group of each row by its weight alone, the heaviest in group 0, ``(m,)`` bytes.

    Args:
        weights: Non-negative, ``(m,)``.
        groups: How many groups, at most ``m`` and 256.
        how: ``"equal"``: equally many rows in each, by order of weight. ``"kmeans"``: by the
            nearest of as many levels of the logarithm of the weight; equal groups where there are
            fewer different weights than groups.

    Reference:
        Chen et al. (2018), "GroupReduce: block-wise low-rank approximation for neural language
        model shrinking", sec. 3.2, for equal groups.
    """
    weights = np.asarray(weights, np.float64)
    if how == "equal" or len(np.unique(weights)) < groups:
        labels = np.empty(len(weights), np.uint8)
        order = np.argsort(-weights, kind="stable")
        for group, part in enumerate(np.array_split(order, groups)):
            labels[part] = group
        return labels
    scores = np.log(np.maximum(weights, weights[weights > 0].min()))
    ordered = np.sort(scores)
    levels, _ = lloyd(ordered, np.linspace(ordered[0], ordered[-1], groups))
    found = np.searchsorted((levels[1:] + levels[:-1]) / 2, scores)
    return (groups - 1 - found).astype(np.uint8)


def group_reduce(
    rows: Any,
    weights: Any,
    labels: Any,
    budget: float,
    units: Sequence[float],
    *,
    ranks: str = "spectrum",
    rounds: int = 30,
    progress: Callable[[int, float, int], Any] | None = None,
) -> Groups:
    """Ranks, bases and, by ``rounds`` of refinement, better groups for the rows of a matrix.

    The matrix is read in blocks, so it may be a file mapped into memory. Besides a block there are
    a number for each row and group and three matrices ``(n, n)`` for each group.

    Args:
        rows: ``(m, n)``, anything that slices to NumPy arrays.
        weights: Non-negative importance of each row, ``(m,)``.
        labels: The first group of each row, ``(m,)``, below ``len(units)``.
        budget: The bytes that the factors may take.
        units: The bytes of a number in each group.
        ranks: ``"frequency"``: as `frequency_ranks` has them. A round moves the tenth of the
            rows with a better group that it serves best, and refinement ends where the budget would
            break; then ranks grow while it lasts. ``"spectrum"``: as `spectrum_ranks` has them,
            anew in each round, which moves every row to where its weighted error and the price of
            its bytes are least in sum.
        rounds: How many rounds of refinement at most; they end where nothing more is gained.
        progress: Called at the start and after each round with its number, the error as a share of
            that of zeros, and how many rows have moved.

    Returns:
        The groups of least error that were met.

    Reference:
        Chen et al. (2018), "GroupReduce", eqs. 2, 3 and 5, for ``"frequency"``; ``"spectrum"`` is
        not theirs. The bases come from Gram matrices in double precision, which rows that move
        leave and join.
    """
    search = _Search(rows, weights, budget, units, priced=ranks == "spectrum")
    best = now = search.start(np.array(labels, np.uint8))
    report = progress or (lambda *_: None)
    report(0, search.share(now), 0)
    stale = 0
    for turn in range(1, rounds + 1):
        target = search.reassigned(now, turn)
        moved = int(np.sum(target != now.labels))
        if moved == 0:
            break
        search.move(now.labels, target)
        now = search.allocated(target, now.ranks)
        if stored(now.ranks, search.sizes, rows.shape[1], units) > budget:
            break
        report(turn, search.share(now), moved)
        stale = 0 if now.error < (1 - ENOUGH) * best.error else stale + 1
        best = now if now.error < best.error else best
        if stale == PATIENCE:
            break
    return best if search.priced else search.expanded(best)


def on_basis(rows: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors of ``rows @ basis @ basis.H`` of one size, ``(g, rank)`` and ``(rank, n)``.

    Args:
        rows: ``(g, n)``.
        basis: Orthonormal columns, ``(n, rank)``.
    """
    kind = wide_dtype(rows.dtype)
    left = rows.astype(kind) @ basis.astype(kind)
    size = np.sqrt(_squares(left.T))
    root = np.sqrt(np.where(size > 0, size, 1)).astype(size.dtype)
    return (left / root).astype(rows.dtype), (root[:, None] * basis.conj().T).astype(rows.dtype)


class _Search:
    """The Gram matrices of the groups, kept up to date, and what follows from them."""

    def __init__(
        self, rows: Any, weights: Any, budget: float, units: Sequence[float], *, priced: bool
    ) -> None:
        columns, groups = rows.shape[1], len(units)
        self.rows, self.weights = rows, np.asarray(weights, np.float64)
        self.budget, self.units, self.priced = budget, units, priced
        kind = np.result_type(rows.dtype, np.float64)
        self.grams = np.zeros((groups, columns, columns), kind)
        self.vectors = np.zeros_like(self.grams)
        self.spectra = np.zeros((groups, columns))
        self.sizes, self.price = [0] * groups, 0.0

    def start(self, labels: np.ndarray) -> Groups:
        """The first groups, their Gram matrices summed anew."""
        self.grams[:] = 0
        self.move(np.full_like(labels, len(self.units)), labels)
        return self.allocated(labels, None)

    def share(self, found: Groups) -> float:
        """The error as a share of that of zeros."""
        return found.error / max(float(self.spectra.sum()), np.finfo(np.float64).tiny)

    def move(self, old: np.ndarray, new: np.ndarray) -> None:
        """Rows leave the Gram matrices of their old groups for those of the new ones."""
        for part in self._blocks():
            picked = np.flatnonzero(old[part] != new[part])
            if len(picked) == 0:
                continue
            block = np.asarray(self.rows[part])[picked].astype(self.grams.dtype)
            before, after = old[part][picked], new[part][picked]
            weights = self.weights[part][picked]
            for p, gram in enumerate(self.grams):
                own = (before == p) | (after == p)
                signed = np.where(after == p, weights, -weights)[own]
                gram += (block[own].conj().T * signed) @ block[own]
        moved = old != new
        for p in np.union1d(old[moved], new[moved]):
            if p < len(self.units):
                values, vectors = np.linalg.eigh(self.grams[p])
                self.spectra[p] = np.maximum(values[::-1], 0)
                self.vectors[p] = vectors[:, ::-1]
        self.sizes = np.bincount(new, minlength=len(self.units)).tolist()

    def allocated(self, labels: np.ndarray, before: tuple[int, ...] | None) -> Groups:
        """The groups of ``labels`` with ranks: priced anew, or those from ``before`` if any."""
        columns = self.rows.shape[1]
        if self.priced:
            ranks, self.price = spectrum_ranks(
                self.spectra, self.sizes, columns, self.budget, self.units
            )
        elif before is None:
            sums = np.bincount(labels, self.weights, len(self.units))
            means = sums / np.maximum(self.sizes, 1)
            ranks = frequency_ranks(means, self.sizes, columns, self.budget, self.units)
        else:
            pairs = zip(before, self.sizes, strict=True)
            ranks = tuple(group_rank(max(rank, 1), size, columns) for rank, size in pairs)
        return self._based(labels, ranks)

    def expanded(self, found: Groups) -> Groups:
        """The same groups with ranks that use up the budget."""
        self.start(found.labels)
        columns = self.rows.shape[1]
        ranks = expand_ranks(
            found.ranks, self.spectra, self.sizes, columns, self.budget, self.units
        )
        return self._based(found.labels, ranks)

    def reassigned(self, now: Groups, turn: int) -> np.ndarray:
        """Where each row goes: all to their best group, or the tenth that fits theirs best."""
        errors, empty = self._errors(now), np.asarray(now.ranks) == 0
        if self.priced:
            costs = self.weights[:, None] * errors
            costs[:, empty] = np.inf  # nothing is known of a basis for them
            return self._priced(costs, now, PULL ** (turn - 1))
        errors[:, empty] = np.inf
        best = np.argmin(errors, axis=1)
        each = np.arange(len(best))
        least, own = errors[each, best], errors[each, now.labels]
        better = np.flatnonzero(least < own)
        chosen = better[np.argsort(least[better], kind="stable")][: -(-len(better) // 10)]
        labels = now.labels.copy()
        labels[chosen] = best[chosen]
        return labels

    def _priced(self, costs: np.ndarray, now: Groups, pull: float) -> np.ndarray:
        """The groups of least cost and price, the price between the budget's and the ranks'.

        With the price at which the rows fit the budget no round can lose, and few rows ever change
        to a group of another rank; with that of the ranks they do, and the ranks must follow.
        """
        columns, ranks = self.rows.shape[1], np.asarray(now.ranks)
        each = np.multiply(self.units, ranks)  # bytes of a row more
        left = self.budget - columns * each[ranks < columns].sum()

        def at(price: float) -> np.ndarray:
            return np.argmin(costs + price * each, axis=1)

        own = np.log(self.price)
        low, high = own - 12, own + 12
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (low, middle) if each[at(np.exp(middle))].sum() <= left else (middle, high)
        return at(np.exp(pull * own + (1 - pull) * high)).astype(np.uint8)

    def _based(self, labels: np.ndarray, ranks: tuple[int, ...]) -> Groups:
        bases = tuple(v[:, :r].copy() for v, r in zip(self.vectors, ranks, strict=True))
        error = sum(float(tail(s)[r]) for s, r in zip(self.spectra, ranks, strict=True))
        return Groups(labels, ranks, bases, error)

    def _errors(self, now: Groups) -> np.ndarray:
        """The squared distance of each row from each basis, ``(m, groups)``."""
        kind = np.result_type(self.rows.dtype, np.float32)
        bases = [basis.astype(kind) for basis in now.bases]
        found = np.zeros((len(now.labels), len(bases)), np.finfo(kind).dtype)
        for part in self._blocks():
            block = np.asarray(self.rows[part]).astype(kind)
            size = _squares(block)
            for p, basis in enumerate(bases):
                if basis.shape[1] < block.shape[1]:
                    found[part, p] = np.maximum(size - _squares(block @ basis), 0)
        return found

    def _blocks(self) -> Iterator[slice]:
        m, columns = self.rows.shape
        step = max(1, BLOCK // columns)
        return (slice(start, min(start + step, m)) for start in range(0, m, step))


def _squares(block: np.ndarray) -> np.ndarray:
    return np.sum(np.real(block * block.conj()), axis=1)
