"""Which shapes the factors of a Kronecker product may have."""

import functools
import math

__all__ = ["Shapes", "entries", "full_rank_shapes", "largest_within"]

Shapes = tuple[tuple[int, int], ...]
"""The shapes ``(m_i, n_i)`` of the factors, in order."""


@functools.cache
def full_rank_shapes(m: int, n: int, factors: int) -> tuple[Shapes, ...]:
    """Every choice of factor shapes whose product can have full rank, smallest first.

    Args:
        m: Rows of the product.
        n: Columns of the product.
        factors: How many factors.

    Returns:
        Tuples of ``(m_i, n_i)`` with ``prod m_i == m``, ``prod n_i == n`` and
        ``prod min(m_i, n_i) == min(m, n)``, by the number of entries and then by how square the
        factors are. A factor of shape ``(1, 1)`` is left out where there is another choice.
    """
    if m <= n:  # of full rank: no factor has more rows than columns
        choices = [tuple(zip(r, c, strict=True)) for r, c in _paired_splits(m, n, factors)]
    else:
        choices = [tuple(zip(r, c, strict=True)) for c, r in _paired_splits(n, m, factors)]
    proper = [shapes for shapes in choices if (1, 1) not in shapes] or choices
    return tuple(sorted(proper, key=_size_and_spread))


def largest_within(choices: tuple[Shapes, ...], most: float) -> Shapes | None:
    """The largest of ``choices`` within ``most`` entries; of equally large ones the squarest.

    Args:
        choices: From `full_rank_shapes`.
        most: How many entries all factors may have together.

    Returns:
        The shapes, or ``None`` if even the smallest have more entries.
    """
    within = [c for c in choices if entries(c) <= most]
    if not within:
        return None
    return next(c for c in within if entries(c) == entries(within[-1]))


def entries(shapes: Shapes) -> int:
    """How many numbers factors of these shapes hold."""
    return sum(m * n for m, n in shapes)


def _paired_splits(
    small: int, large: int, parts: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ordered ways to split both numbers into ``parts`` divisors, none above its partner."""
    if parts == 1:
        return [((small,), (large,))] if small <= large else []
    return [
        ((s, *rest_small), (b, *rest_large))
        for s in _divisors(small)
        for b in _divisors(large)
        if s <= b and small // s <= large // b
        for rest_small, rest_large in _paired_splits(small // s, large // b, parts - 1)
    ]


@functools.cache
def _divisors(value: int) -> tuple[int, ...]:
    low = [d for d in range(1, math.isqrt(value) + 1) if value % d == 0]
    return (*low, *(value // d for d in reversed(low) if d * d != value))


def _size_and_spread(shapes: Shapes) -> tuple[int, float, Shapes]:
    """What to sort by; where the size and the shapes' spread are equal, the rows decide."""
    spread = sum(abs(math.log(m / n)) for m, n in shapes)
    return entries(shapes), spread, tuple(zip(*shapes, strict=True))
