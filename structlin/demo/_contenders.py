"""The structures that the demo compares, sized to one budget of honest bytes."""

import dataclasses
import math
from collections.abc import Callable

from structlin.specs import HMD, DopedKron, Kron, LowRank, PerGate, Sparse, Spec

__all__ = ["CONTENDERS", "Contender", "sized"]

INPUT_SHARE = 0.35
"""The share of the budget for the input kernel, which has a fifth of the entries and needs more."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A structure and the way it is trained.

    Attributes:
        spec: Makes the spec of a kernel from ``compression=``.
        sparse: Whether it has a part that is pruned while it trains.
        dropout: The rate of co-matrix dropout at the start of that.
    """

    spec: Callable[..., Spec]
    sparse: bool = False
    dropout: float = 0.0

    def annealed(self, specs: tuple[Spec, Spec]) -> tuple[Spec, Spec]:
        """The same specs, of a sparse contender, with sparse parts that start full."""
        first, second = (dataclasses.replace(s, **{"anneal": True}) for s in specs)
        return first, second


CONTENDERS = {
    "LowRank": Contender(LowRank),
    "HMD": Contender(lambda compression: PerGate(HMD(compression=compression))),
    "Kron": Contender(Kron),
    "Sparse": Contender(Sparse, sparse=True),
    "DopedKron": Contender(DopedKron, sparse=True, dropout=0.05),
}
"""By name. HMD is one matrix for each gate, or its dense columns would all fall to the first."""


def sized(
    contender: Contender, compression: float, shapes: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[Spec, Spec]:
    """Specs for the input and the recurrent kernel that together stay within the budget.

    Args:
        contender: The structure.
        compression: Dense bytes over stored bytes of both kernels.
        shapes: Of the input and of the recurrent kernel.

    Returns:
        The two, sized; the recurrent kernel gets what the input kernel leaves.

    Raises:
        ValueError: The structure cannot be that small.
    """
    dense = [math.prod(shape) * 4 for shape in shapes]
    budget = sum(dense) / compression
    try:
        first = contender.spec(compression=dense[0] / (INPUT_SHARE * budget)).sized(shapes[0])
        left = budget - first.cost(shapes[0]).bytes
        second = contender.spec(compression=dense[1] / left).sized(shapes[1])
    except ValueError as error:
        raise ValueError(f"compression {compression:g} is out of reach: {error}") from None
    return first, second
