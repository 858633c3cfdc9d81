"""Linear layers named by the structure of their kernel."""

import dataclasses
from typing import Any, ClassVar

from flax import nnx

from structlin import specs
from structlin.nnx._fields import takes_fields_of
from structlin.nnx._linear import Linear

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


class _Named(Linear):
    """A `Linear` whose spec's fields are its own."""

    spec_type: ClassVar[type[specs.Spec]]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "spec_type" in vars(cls):
            cls.__init__ = _init(cls.spec_type)


def _init(spec_type: type[specs.Spec]) -> Any:
    names = [f.name for f in dataclasses.fields(spec_type)]

    @takes_fields_of(nnx.Linear, spec_type)
    def __init__(self: _Named, in_features: int, out_features: int, *, rngs: nnx.Rngs, **fields):  # noqa: N807
        if "spec" in fields:
            raise TypeError(
                f"{type(self).__name__} is described by its own fields; give spec= to Linear."
            )
        own = {n: fields.pop(n) for n in names if n in fields}
        Linear.__init__(self, in_features, out_features, rngs=rngs, spec=spec_type(**own), **fields)

    return __init__


class DopedKron(_Named):
    """``nnx.Linear`` with a Kronecker product plus a sparse co-matrix as its kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.DopedKron`; compressed
    10 times if no size is given.
    """

    spec_type = specs.DopedKron


class Kron(_Named):
    """``nnx.Linear`` with a Kronecker product, or a sum of them, as its kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.Kron`; the smallest
    product of full rank if no size is given.
    """

    spec_type = specs.Kron


class HMD(_Named):
    """``nnx.Linear`` with dense columns beside rank-one blocks as its kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.HMD`; ``dense_columns``
    or ``compression`` is needed.
    """

    spec_type = specs.HMD


class LowRank(_Named):
    """``nnx.Linear`` with a low-rank kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.LowRank`; one of them is
    needed.
    """

    spec_type = specs.LowRank


class Sparse(_Named):
    """``nnx.Linear`` with a sparse kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.Sparse`; compressed 10
    times if no size is given.
    """

    spec_type = specs.Sparse


class Monarch(_Named):
    """``nnx.Linear`` with a product of two permuted block-diagonal matrices as its kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.Monarch`.
    """

    spec_type = specs.Monarch


class BlockDiagonal(_Named):
    """``nnx.Linear`` with blocks along the diagonal as its kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.BlockDiagonal`.
    """

    spec_type = specs.BlockDiagonal


class BlockLowRank(_Named):
    """``nnx.Linear`` with a low-rank block for each group of inputs as its kernel.

    Beside the fields of ``nnx.Linear`` it takes those of `structlin.specs.BlockLowRank`.
    """

    spec_type = specs.BlockLowRank


class Circulant(_Named):
    """``nnx.Linear`` with a circulant kernel, whose products go by Fourier transforms.

    It takes the fields of ``nnx.Linear``; the kernel must be square.
    """

    spec_type = specs.Circulant


class Toeplitz(_Named):
    """``nnx.Linear`` with a kernel that is constant along its diagonals.

    It takes the fields of ``nnx.Linear``.
    """

    spec_type = specs.Toeplitz
