"""Which point of each curve to take so that the sum of errors is least within a budget."""

import heapq
import itertools
from collections.abc import Sequence

import numpy as np

__all__ = ["allocate", "lower_hull"]

MOST_STATES = 50_000
"""How many partial choices are kept at most while the greedy choice is improved."""

Curve = tuple[np.ndarray, np.ndarray]
"""Sizes, ascending, and errors, descending, of one weight."""


def allocate(sizes: Sequence[np.ndarray], errors: Sequence[np.ndarray], budget: float) -> list[int]:
    """The point of each curve.

    First every weight goes down its lower convex hull, the steepest step of all first, while the
    budget lasts: at the end all have about the same slope, the Lagrange multiplier of the budget.
    What is left over is filled greedily with any points. Then this choice is improved to the least
    sum: curve by curve, partial choices are kept unless another is as small and as good, or the
    hulls of the rest prove that they cannot become better.

    Args:
        sizes: Of each weight, the sizes of its points, in any order.
        errors: The errors of the same points.
        budget: The most that the sizes may add up to.

    Returns:
        For each weight the place of its point. The least sum of errors, unless there are more than
        `MOST_STATES` partial choices; then no worse than the greedy one.

    Raises:
        ValueError: The smallest points do not fit.

    Reference:
        Shoham and Gersho (1988), "Efficient bit allocation for an arbitrary set of quantizers", for
        the hulls; the improvement is dynamic programming with bounds, as for knapsacks of multiple
        choice.
    """
    places = [_frontier(s, e) for s, e in zip(sizes, errors, strict=True)]
    curves = [
        (np.asarray(s, float)[p], np.asarray(e, float)[p])
        for s, e, p in zip(sizes, errors, places, strict=True)
    ]
    least = sum(s[0] for s, _ in curves)
    if least > budget:
        raise ValueError(f"The smallest points take {least:,.0f} and the budget is {budget:,.0f}.")
    greedy = _filled(curves, _by_slope(curves, budget), budget)
    best = _improved(curves, greedy, budget)
    return [int(p[i]) for p, i in zip(places, best, strict=True)]


def _frontier(sizes: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """The places of the points that no other beats in both, by size."""
    order = np.lexsort((errors, sizes))
    ordered = np.asarray(errors, float)[order]
    before = np.concatenate([[np.inf], np.minimum.accumulate(ordered)[:-1]])
    return order[ordered < before]


def lower_hull(sizes: np.ndarray, errors: np.ndarray) -> list[int]:
    """The places of the points of the lower convex hull; sizes ascend and errors descend."""
    hull: list[int] = []
    for i in range(len(sizes)):
        while len(hull) > 1:
            a, b = hull[-2:]
            # b is above the line from a to i, or on it.
            if (errors[b] - errors[a]) * (sizes[i] - sizes[a]) < (errors[i] - errors[a]) * (
                sizes[b] - sizes[a]
            ):
                break
            hull.pop()
        hull.append(i)
    return hull


def _steps(curve: Curve) -> list[tuple[float, int, int]]:
    """Slope, from and to of each step down the hull, the steepest first."""
    sizes, errors = curve
    hull = lower_hull(sizes, errors)
    return [
        (float((errors[b] - errors[a]) / (sizes[b] - sizes[a])), a, b)
        for a, b in itertools.pairwise(hull)
    ]


def _by_slope(curves: list[Curve], budget: float) -> list[int]:
    chosen = [0] * len(curves)
    left = budget - sum(s[0] for s, _ in curves)
    steps = [_steps(c) for c in curves]
    heap = [(s[0][0], w, 0) for w, s in enumerate(steps) if s]
    heapq.heapify(heap)
    while heap:
        _, weight, step = heapq.heappop(heap)
        _, start, end = steps[weight][step]
        more = curves[weight][0][end] - curves[weight][0][start]
        if more > left:
            continue  # and none of its later steps
        left, chosen[weight] = left - more, end
        if step + 1 < len(steps[weight]):
            heapq.heappush(heap, (steps[weight][step + 1][0], weight, step + 1))
    return chosen


def _filled(curves: list[Curve], chosen: list[int], budget: float) -> list[int]:
    """Takes, while there is one that fits, the single change that lowers the sum the most."""
    chosen = list(chosen)
    while True:
        left = budget - sum(s[i] for (s, _), i in zip(curves, chosen, strict=True))
        best = (0.0, 0, 0)
        for weight, ((sizes, errors), now) in enumerate(zip(curves, chosen, strict=True)):
            # Errors descend: the largest that fits is the best.
            then = int(np.searchsorted(sizes, sizes[now] + left, side="right")) - 1
            best = max(best, (float(errors[now] - errors[then]), weight, then))
        if best[0] <= 0:
            return chosen
        chosen[best[1]] = best[2]


def _improved(curves: list[Curve], greedy: list[int], budget: float) -> list[int]:
    least = sum(e[i] for (_, e), i in zip(curves, greedy, strict=True))
    sizes, errors = np.zeros(1), np.zeros(1)
    back: list[tuple[np.ndarray, np.ndarray]] = []
    for weight, (more, errs) in enumerate(curves):
        all_sizes = (sizes[:, None] + more).ravel()
        all_errors = (errors[:, None] + errs).ravel()
        bound = all_errors + _relaxed(curves[weight + 1 :], budget - all_sizes)
        kept = np.flatnonzero(bound < least * (1 - 1e-12))
        kept = kept[_frontier(all_sizes[kept], all_errors[kept])]
        if len(kept) > MOST_STATES:
            kept = kept[np.argsort(bound[kept])[:MOST_STATES]]
        if not len(kept):
            return greedy
        back.append((kept // len(more), kept % len(more)))
        sizes, errors = all_sizes[kept], all_errors[kept]
    at, chosen = int(np.argmin(errors)), []
    for parents, points in reversed(back):
        chosen.append(int(points[at]))
        at = int(parents[at])
    return chosen[::-1]


def _relaxed(curves: list[Curve], budgets: np.ndarray) -> np.ndarray:
    """The least errors of some curves, fractions of steps allowed; infinite where none fit."""
    steps = sorted((slope, float(s[b] - s[a])) for s, e in curves for slope, a, b in _steps((s, e)))
    sizes = np.cumsum([sum(s[0] for s, _ in curves), *(size for _, size in steps)])
    drops = [slope * size for slope, size in steps]
    errors = np.cumsum([sum(e[0] for _, e in curves), *drops])
    return np.where(budgets < sizes[0], np.inf, np.interp(budgets, sizes, errors))
