"""The structures that the demo compares, sized to one budget of honest bytes."""

import dataclasses
import math

from structlin.specs import HMD, DopedKron, Kron, LowRank, PerGate, Sparse, Spec

__all__ = ["CONTENDERS", "Contender", "sized"]

INPUT_SHARE = 0.35
"""The share of the budget that goes to the input kernel: it has a fifth of the entries, and needs more."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """A structure and the way it is trained.

    Attributes:
        spec: The spec for a kernel that is to be compressed by a factor.
        sparse: Whether it has a part that is pruned while it trains.
        dropout: The rate of co-matrix dropout at the start of that.
    """

    spec: type[Spec]
    sparse: bool = False
    dropout: float = 0.0

    def ask(self, compression: float) -> Spec:
        """The spec at a compression."""
        spec = self.spec(compression=compression)  # type: ignore[call-arg]
        return PerGate(spec) if self.spec is HMD else spec

    def annealed(self, specs: tuple[Spec, Spec]) -> tuple[Spec, Spec]:
        """The same specs with sparse parts that start full, to be pruned while the model trains."""
        if not self.sparse:
            return specs
        return dataclasses.replace(specs[0], anneal=True), dataclasses.replace(specs[1], anneal=True)


CONTENDERS = {
    "LowRank": Contender(LowRank),
    "HMD": Contender(HMD),
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
    first = contender.ask(dense[0] / (INPUT_SHARE * budget)).sized(shapes[0])
    left = budget - first.cost(shapes[0]).bytes
    second = contender.ask(dense[1] / left).sized(shapes[1])
    return first, second
