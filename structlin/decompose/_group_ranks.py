"""The ranks of groups of rows within a budget."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["expand_ranks", "frequency_ranks", "group_rank", "spectrum_ranks", "stored", "tail"]

HALVINGS = 60
"""How often an interval of prices is halved: to the last digits of a double."""


def frequency_ranks(
    means: Any,
    sizes: Sequence[int],
    columns: int,
    budget: float,
    units: Sequence[float],
) -> tuple[int, ...]:
    """Ranks in proportion to the mean weight of each group, as large as the budget lets them be.

    Args:
        means: The mean weight of each group, ``(groups,)``.
        sizes: The rows of each.
        columns: ``n``.
        budget: The bytes that all groups may take.
        units: The bytes of a number in each group.

    Returns:
        A rank from 1 to ``min(size, n)`` for each group, ``n`` where a dense group is no larger and
        0 of a group without rows.

    Reference:
        Chen et al. (2018), "GroupReduce: block-wise low-rank approximation for neural language
        model shrinking", sec. 3.2. The least rank is a real number here, and what it makes of a
        group is rounded down, to 1 at least: so budgets are met for which the most frequent group
        cannot have the rank that it would have beside a least rank of 1.
    """
    shares = np.maximum(np.asarray(means, np.float64), np.finfo(np.float64).tiny)
    shares = shares / shares.min()

    def ranks(least: float) -> tuple[int, ...]:
        wanted = np.minimum(least * shares, columns)
        pairs = zip(wanted, sizes, strict=True)
        return tuple(group_rank(max(int(r), 1), size, columns) for r, size in pairs)

    low, high = -np.log(shares.max()), np.log(columns)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = stored(ranks(np.exp(middle)), sizes, columns, units) <= budget
        low, high = (middle, high) if fits else (low, middle)
    return ranks(np.exp(low))


def spectrum_ranks(
    spectra: Any,
    sizes: Sequence[int],
    columns: int,
    budget: float,
    units: Sequence[float],
) -> tuple[tuple[int, ...], float]:
    """The ranks of least error within the budget, and the price of a byte.

    Each group minimises the sum of its error and of a price for its bytes; the price is the least
    at which they fit, and what they leave of the budget is spent by `expand_ranks`.

    Args:
        spectra: The eigenvalues of the weighted Gram matrix of each group, descending,
            ``(groups, n)``.
        sizes: The rows of each.
        columns: ``n``.
        budget: The bytes that all groups may take.
        units: The bytes of a number in each group.

    Returns:
        Ranks as those of `frequency_ranks`, and the price.
    """
    ladders = _ladders(spectra, sizes, columns, units)

    def at(price: float) -> tuple[int, ...]:
        return tuple(x.ranks[int(np.argmin(x.errors + price * x.bytes))] for x in ladders)

    whole = max(float(np.sum(spectra)), np.finfo(np.float64).tiny)
    low, high = np.log(whole / budget) - 40, np.log(whole / min(units))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fits = stored(at(np.exp(middle)), sizes, columns, units) <= budget
        low, high = (low, middle) if fits else (middle, high)
    ranks = at(np.exp(high))
    return expand_ranks(ranks, spectra, sizes, columns, budget, units), float(np.exp(high))


def expand_ranks(
    ranks: Sequence[int],
    spectra: Any,
    sizes: Sequence[int],
    columns: int,
    budget: float,
    units: Sequence[float],
) -> tuple[int, ...]:
    """``ranks`` raised one by one, each time where the error falls most, while the budget lasts."""
    ladders = _ladders(spectra, sizes, columns, units)
    picks = [x.ranks.index(rank) for x, rank in zip(ladders, ranks, strict=True)]
    left = budget - sum(x.bytes[k] for x, k in zip(ladders, picks, strict=True))
    while True:
        steps = [
            (x.errors[k] - x.errors[k + 1], x.bytes[k + 1] - x.bytes[k], p)
            for p, (x, k) in enumerate(zip(ladders, picks, strict=True))
            if k + 1 < len(x.ranks) and x.bytes[k + 1] - x.bytes[k] <= left
        ]
        if not steps:
            return tuple(x.ranks[k] for x, k in zip(ladders, picks, strict=True))
        _, taken, p = max(steps)
        picks[p] += 1
        left -= taken


def group_rank(rank: int, size: int, columns: int) -> int:
    """``rank`` within what ``size`` rows have; ``columns`` where a dense group is no larger."""
    if size == 0:
        return 0
    rank = min(rank, size, columns)
    return columns if rank * (size + columns) >= size * columns else rank


def stored(
    ranks: Sequence[int], sizes: Sequence[int], columns: int, units: Sequence[float]
) -> float:
    """The bytes of all groups."""
    triples = zip(ranks, sizes, units, strict=True)
    return sum(u * _numbers(rank, size, columns) for rank, size, u in triples)


def tail(spectrum: np.ndarray) -> np.ndarray:
    """What is left of the sum without the first ``0, 1, ..., n`` values, ``(n + 1,)``."""
    return np.append(np.cumsum(spectrum[::-1])[::-1], 0.0)


class _Ladder(NamedTuple):
    """The ranks that a group can have, ascending, with the error and the bytes of each."""

    ranks: list[int]
    errors: np.ndarray
    bytes: np.ndarray


def _ladders(
    spectra: Any, sizes: Sequence[int], columns: int, units: Sequence[float]
) -> list[_Ladder]:
    found = []
    for spectrum, size, unit in zip(spectra, sizes, units, strict=True):
        ranks = sorted({group_rank(k, size, columns) for k in range(1, columns + 1)})
        numbers = [unit * _numbers(rank, size, columns) for rank in ranks]
        found.append(_Ladder(ranks, tail(spectrum)[ranks], np.array(numbers)))
    return found


def _numbers(rank: int, size: int, columns: int) -> int:
    return size * columns if rank >= columns else rank * (size + columns)
