"""What is measured: structures, sizes, and which of them together.

A case is measured as one: its contenders take turns, round by round, and each is compared with the
dense form written by hand that took part in the same rounds.

The structures of `MAIN` are in every case but three, in XLA and, where native code is made for so
many rows, natively. Of the product of hidden sizes (256, 650, 1500), batches (1, 16, 64) and steps
(1, 35, 100) the cases are: every product of an input with the kernel of four gates; of whole layers
all batches at 35 steps and all steps at batch 1 for 650 units, and batches 1 and 16 at 35 steps for
the other two, with one step for 1500 and 100 for 256; and training steps of 20 sequences of 35
steps for 256 and 650 units. The three are shares of entries from 1 to 30 % of a sparse product of
650, blocks of 2 % with 64 rows, and a layer of 650 with HMD beside pruned kernels of its size.
"""

import dataclasses
from collections.abc import Callable, Mapping

from structlin.specs import HMD, Dense, DopedKron, Kron, LowRank, Sparse, Spec

__all__ = ["BASELINES", "FULL", "QUICK", "STRUCTURES", "Case", "block"]

WIDEST_BLOCK = 16
"""The columns of a block: a vector register of 512 bits."""

BASELINES = {
    "product": "Dense by hand",
    "density": "Dense by hand",
    "layer": "Hoisted dense scan",
    "pruned": "Hoisted dense scan",
    "training": "Hoisted dense scan",
    "call": "Empty function",
}
"""Kind of case -> what its ratios are over: all in plain JAX."""


def block(columns: int) -> tuple[int, int]:
    """One row, and as many columns up to `WIDEST_BLOCK` as divide those of the matrix."""
    return 1, max(c for c in range(1, WIDEST_BLOCK + 1) if columns % c == 0)


def _doped(density: float, blocks: bool = False) -> Callable[[int], Spec]:
    return lambda n: DopedKron(density=density, block=block(n) if blocks else (1, 1))


def _sparse(density: float, blocks: bool = False) -> Callable[[int], Spec]:
    return lambda n: Sparse(density=density, block=block(n) if blocks else (1, 1))


MAIN: Mapping[str, Callable[[int], Spec]] = {
    "Dense": lambda _: Dense(),
    "Kron": lambda _: Kron(),
    "DopedKron 98 %": _doped(0.02),
    "DopedKron 95 %": _doped(0.05),
    "DopedKron 98 %, blocks": _doped(0.02, blocks=True),
    "DopedKron 95 %, blocks": _doped(0.05, blocks=True),
    "HMD 2x": lambda _: HMD(compression=2),
    "LowRank 2x": lambda _: LowRank(compression=2),
    "LowRank 10x": lambda _: LowRank(compression=10),
    "Sparse 98 %": _sparse(0.02),
    "Sparse 95 %": _sparse(0.05),
}

DENSITIES = (1, 2, 5, 10, 20, 30)
BY_DENSITY = {
    f"Sparse {100 - percent} %{ending}": _sparse(percent / 100, bool(ending))
    for percent in DENSITIES
    for ending in ("", ", blocks")
}

PRUNED: Mapping[str, Callable[[int], Spec]] = {
    "Sparse 2x": lambda _: Sparse(compression=2),
    "Sparse 50 %": _sparse(0.5),
}
"""As small as `HMD 2x` in bytes, and in the papers' count, which leaves indices out."""

STRUCTURES: Mapping[str, Callable[[int], Spec]] = MAIN | BY_DENSITY | PRUNED
"""Name -> the spec of a matrix of so many columns. The share is that of zeros; blocks are of one
row and up to 16 columns (`block`). Kron and the host of a doped one are the smallest of full
rank."""


@dataclasses.dataclass(frozen=True)
class Case:
    """Contenders that are measured together.

    Attributes:
        kind: ``"product"`` of an input with a kernel ``(hidden, 4 hidden)``; ``"density"``, the
            same over the share of zeros; ``"layer"``, a whole LSTM, its input as wide as its state;
            ``"pruned"``, the same with those that others are compared to, `PRUNED`;
            ``"training"``, a step of gradient descent on it; ``"call"``, a layer of so few units
            that only calling it takes time.
        hidden: Units.
        batch: Sequences or rows.
        steps: Time steps.
        structures: Of `STRUCTURES`.
    """

    kind: str
    hidden: int
    batch: int = 1
    steps: int = 1
    structures: tuple[str, ...] = tuple(MAIN)

    @property
    def name(self) -> str:
        """Such as ``"layer, 650 units, batch 1, 35 steps"``."""
        plural = "s" * (self.steps > 1)
        steps = f", {self.steps} step{plural}" if self.whole else ""
        return f"{self.kind}, {self.hidden} units, batch {self.batch}{steps}"

    @property
    def whole(self) -> bool:
        """Whether it is about a whole layer, which has two kernels."""
        return self.kind in ("layer", "pruned", "training")


CALL = Case("call", 64, structures=("Dense", "Kron", "DopedKron 98 %", "LowRank 10x"))

LAYERS = (
    *(Case("layer", 650, batch, steps) for batch, steps in ((1, 1), (1, 35), (1, 100))),
    *(Case("layer", 650, batch, 35) for batch in (16, 64)),
    *(Case("layer", 256, batch, steps) for batch, steps in ((1, 35), (1, 100), (16, 35))),
    *(Case("layer", 1500, batch, steps) for batch, steps in ((1, 1), (1, 35), (16, 35))),
)

FULL = (
    CALL,
    *LAYERS,
    *(Case("training", hidden, 20, 35) for hidden in (650, 256)),
    *(Case("product", hidden, batch) for hidden in (650, 1500, 256) for batch in (1, 16, 64)),
    Case("density", 650, structures=tuple(BY_DENSITY)),
    Case("density", 650, 64, structures=("Sparse 98 %, blocks",)),
    Case("pruned", 650, 1, 35, ("HMD 2x", *PRUNED)),
)
"""Everything."""

QUICK = (
    CALL,
    Case("layer", 650, 1, 35, (*(s for s in MAIN if s[:5] == "Doped"), "Kron", "HMD 2x")),
    Case("layer", 1500, 1, 35, ("Kron",)),
    Case("training", 650, 20, 35, ("Kron", "DopedKron 98 %")),
    Case("product", 650, 64, structures=("Sparse 98 %",)),
    Case("density", 650, 64, structures=("Sparse 98 %, blocks",)),
    Case("pruned", 650, 1, 35, ("HMD 2x", *PRUNED)),
)
"""What has a mark to reach."""
