"""Which shapes the factors of a Kronecker product may have."""

import functools
import itertools
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
    rows, cols = _splits(m, factors), _splits(n, factors)
    choices = [
        shapes
        for r, c in itertools.product(rows, cols)
        if math.prod(map(min, shapes := tuple(zip(r, c, strict=True)))) == min(m, n)
    ]
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


def _splits(value: int, parts: int) -> list[tuple[int, ...]]:
    """Every ordered way to write ``value`` as a product of ``parts`` divisors."""
    if parts == 1:
        return [(value,)]
    divisors = [d for d in range(1, value + 1) if value % d == 0]
    return [(d, *rest) for d in divisors for rest in _splits(value // d, parts - 1)]


def _size_and_spread(shapes: Shapes) -> tuple[int, float]:
    return entries(shapes), sum(abs(math.log(m / n)) for m, n in shapes)
