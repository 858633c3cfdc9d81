"""Dense layers named for their structure: the fields of ``nn.Dense``, then those of the spec."""

import dataclasses
from typing import ClassVar

from structlin import specs
from structlin.linen._dense import Dense

__all__ = [
    "HMD",
    "BlockDiagonal",
    "BlockLowRank",
    "Circulant",
    "DopedKron",
    "Kron",
    "LowRank",
    "Monarch",
    "Sparse",
    "Toeplitz",
]

Shapes = tuple[tuple[int, int], ...]


class _Named(Dense):
    """A `Dense` whose spec's fields are its own."""

    spec_type: ClassVar[type[specs.Spec]]

    def structure(self) -> specs.Spec:
        if self.spec is not None:
            raise ValueError(
                f"{type(self).__name__} is described by its own fields; give spec= to Dense."
            )
        fields = dataclasses.fields(self.spec_type)
        return self.spec_type(**{f.name: getattr(self, f.name) for f in fields})


class DopedKron(_Named):
    """``nn.Dense`` with a Kronecker product plus a sparse co-matrix as its kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.DopedKron`.
    Compressed 10 times if no size is given.
    """

    spec_type = specs.DopedKron

    compression: float | None = None
    density: float | None = None
    block: tuple[int, int] = (1, 1)
    shapes: Shapes | None = None
    anneal: bool = False


class Kron(_Named):
    """``nn.Dense`` with a Kronecker product, or a sum of several, as its kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.Kron`. The
    smallest product of full rank if no size is given.
    """

    spec_type = specs.Kron

    compression: float | None = None
    factors: int = 2
    shapes: Shapes | None = None
    terms: int = 1


class HMD(_Named):
    """``nn.Dense`` with dense columns beside rank-one blocks as its kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.HMD`, of which
    ``dense_columns`` or ``compression`` is needed.
    """

    spec_type = specs.HMD

    dense_columns: int | None = None
    compression: float | None = None
    rank_blocks: int = 1
    columns: str = "first"


class LowRank(_Named):
    """``nn.Dense`` with a low-rank kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.LowRank`, of
    which one is needed.
    """

    spec_type = specs.LowRank

    rank: int | None = None
    compression: float | None = None


class BlockLowRank(_Named):
    """``nn.Dense`` with groups of neighbouring inputs, each of low rank, as its kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.BlockLowRank`,
    of which ``groups`` and one of ``ranks`` and ``compression`` are needed.
    """

    spec_type = specs.BlockLowRank

    groups: int | tuple[int, ...] = dataclasses.field(kw_only=True)
    ranks: int | tuple[int, ...] | None = None
    compression: float | None = None


class BlockDiagonal(_Named):
    """``nn.Dense`` with a block diagonal kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.BlockDiagonal`,
    of which one is needed.
    """

    spec_type = specs.BlockDiagonal

    blocks: int | None = None
    compression: float | None = None


class Monarch(_Named):
    """``nn.Dense`` with a Monarch matrix as its kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.Monarch`. About
    as many blocks as the square root of each side if no size is given.
    """

    spec_type = specs.Monarch

    blocks: int | tuple[int, int] | None = None
    compression: float | None = None
    rank: int = 1


class Sparse(_Named):
    """``nn.Dense`` with a sparse kernel.

    The fields of ``nn.Dense`` come first; the others are those of `structlin.specs.Sparse`.
    Compressed 10 times if no size is given.
    """

    spec_type = specs.Sparse

    density: float | None = None
    compression: float | None = None
    block: tuple[int, int] = (1, 1)
    pattern: str | None = None
    anneal: bool = False


class Circulant(_Named):
    """``nn.Dense`` with a circulant kernel: as many features as inputs."""

    spec_type = specs.Circulant


class Toeplitz(_Named):
    """``nn.Dense`` with a Toeplitz kernel."""

    spec_type = specs.Toeplitz
