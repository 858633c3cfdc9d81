"""NNX's recurrent cells on structured kernels."""

from typing import Any

from flax import nnx

from structlin.matrices import is_matrix
from structlin.nnx._convert import put
from structlin.nnx._fields import check_fields, drawn_by, takes_fields_of
from structlin.specs import Spec

__all__ = ["GRUCell", "LSTMCell", "SimpleCell"]


class LSTMCell(nnx.OptimizedLSTMCell):
    """``nnx.OptimizedLSTMCell`` with kernels of any structure.

    Every field and every number is that of Flax's cell; ``dense_i`` and ``dense_h`` are its two
    layers, `structlin.nnx.Linear` where there is a spec. A kernel is one matrix over all four
    gates, in the order i, f, g, o; wrap the spec in `structlin.specs.PerGate` for a matrix for each
    gate.

    Attributes:
        input: How the kernel of ``dense_i``, ``(in, 4 hidden)``, was drawn; ``None`` for a dense
            one.
        recurrent: How the kernel of ``dense_h``, ``(hidden, 4 hidden)``, was drawn.

    Raises:
        ValueError: When made, if ``promote_dtype`` is set beside a spec.
    """

    @takes_fields_of(nnx.OptimizedLSTMCell)
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rngs: nnx.Rngs,
        input: Spec | None = None,
        recurrent: Spec | None = None,
        **fields: Any,
    ):
        drawn = _drawn(nnx.OptimizedLSTMCell, input, recurrent, fields)
        super().__init__(in_features, hidden_features, rngs=rngs, **drawn)
        self.input, self.recurrent = input, recurrent
        _hold(self)


class GRUCell(nnx.GRUCell):
    """``nnx.GRUCell`` with kernels of any structure.

    Every field and every number is that of Flax's cell; ``dense_i`` and ``dense_h`` are its two
    layers, `structlin.nnx.Linear` where there is a spec. A kernel is one matrix over all three
    gates, in the order r, z, n.

    Attributes:
        input: How the kernel of ``dense_i``, ``(in, 3 hidden)``, was drawn; ``None`` for a dense
            one.
        recurrent: How the kernel of ``dense_h``, ``(hidden, 3 hidden)``, was drawn.

    Raises:
        ValueError: When made, if ``promote_dtype`` is set beside a spec.
    """

    @takes_fields_of(nnx.GRUCell)
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rngs: nnx.Rngs,
        input: Spec | None = None,
        recurrent: Spec | None = None,
        **fields: Any,
    ):
        drawn = _drawn(nnx.GRUCell, input, recurrent, fields)
        super().__init__(in_features, hidden_features, rngs=rngs, **drawn)
        self.input, self.recurrent = input, recurrent
        _hold(self)


class SimpleCell(nnx.SimpleCell):
    """``nnx.SimpleCell`` with kernels of any structure.

    Every field and every number is that of Flax's cell; ``dense_i`` and ``dense_h`` are its two
    layers, `structlin.nnx.Linear` where there is a spec.

    Attributes:
        input: How the kernel of ``dense_i``, ``(in, hidden)``, was drawn; ``None`` for a dense one.
        recurrent: How the kernel of ``dense_h``, ``(hidden, hidden)``, was drawn.

    Raises:
        ValueError: When made, if ``promote_dtype`` is set beside a spec.
    """

    @takes_fields_of(nnx.SimpleCell)
    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        rngs: nnx.Rngs,
        input: Spec | None = None,
        recurrent: Spec | None = None,
        **fields: Any,
    ):
        drawn = _drawn(nnx.SimpleCell, input, recurrent, fields)
        super().__init__(in_features, hidden_features, rngs=rngs, **drawn)
        self.input, self.recurrent = input, recurrent
        _hold(self)


def _drawn(
    base: type[nnx.Module], input: Spec | None, recurrent: Spec | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """The fields of a cell, with the initializers that draw its matrices."""
    specs = {"kernel_init": input, "recurrent_kernel_init": recurrent}
    inits = {n: drawn_by(s, base, fields, n) for n, s in specs.items() if s is not None}
    return {**fields, **inits}


def _hold(cell: Any) -> None:
    """Makes structured layers of those whose kernel was drawn as a matrix."""
    for dense, spec in ((cell.dense_i, cell.input), (cell.dense_h, cell.recurrent)):
        drawn = dense.kernel.get_value()
        if is_matrix(drawn):
            metadata = dense.kernel.get_metadata(exclude_required=True)
            put(dense, drawn, metadata=metadata)
            dense.spec = spec
            check_fields(dense, nnx.Linear)
