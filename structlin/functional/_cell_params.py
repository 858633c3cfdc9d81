"""How a recurrent cell reads its parameters, and what it says of those that do not fit."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import jax

from structlin.matrices import Matrix

__all__ = ["Gated", "check_params", "described", "read"]


class Gated(abc.ABC):
    """What a cell says of its parameters.

    Attributes:
        gates: The gates, in the order of their columns.
        input_biases: The gates with a bias on the side of the inputs.
        recurrent_biases: The gates with a bias on the side of the hidden state.
    """

    gates: ClassVar[tuple[str, ...]]
    input_biases: ClassVar[tuple[str, ...]] = ()
    recurrent_biases: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def shapes(
        self, params: Mapping[str, Any], carry: Any, inputs: jax.Array
    ) -> dict[str, tuple[int, ...]]:
        """The shape that each parameter needs, by path, both sides fused.

        Args:
            params: The parameters; what is optional counts if they have it.
            carry: Of arrays ``(..., h)``.
            inputs: ``(..., in)``.
        """


def read(cell: Gated, params: Mapping[str, Any], side: str, name: str) -> list[Any]:
    """The kernels or the biases of one side of a cell: a fused one, or that of each gate.

    Args:
        cell: The cell.
        params: Its parameters.
        side: ``"i"`` or ``"h"``.
        name: ``"kernel"`` or ``"bias"``.

    Raises:
        KeyError: One is missing.
    """
    return [_at(cell, params, path, "") for path in _paths(cell, params, side, name)]


def check_params(
    cell: Gated, params: Mapping[str, Any], carry: Any, inputs: Any, owner: str = ""
) -> None:
    """Raises unless the parameters of a cell fit its carry and inputs.

    Args:
        cell: The cell.
        params: Its parameters, each side fused or by gate.
        carry: Of arrays ``(..., h)``.
        inputs: ``(..., in)``.
        owner: The path of the cell, for the message.

    Raises:
        KeyError: One is missing.
        ValueError: One has another shape.
    """
    for path, shape in cell.shapes(params, carry, inputs).items():
        side, _, name = path.partition("/")
        paths = _paths(cell, params, side, name) if side in ("i", "h") else [path]
        for place in paths:
            held = _at(cell, params, place, owner)
            needed = (*shape[:-1], shape[-1] // len(paths)) if shape else shape
            if tuple(held.shape) != needed:
                features = jax.tree.leaves(carry)[0].shape[-1]
                raise ValueError(
                    f"{owner + '/' if owner else ''}{place} holds {described(held)}; "
                    f"{type(cell).__name__} needs {needed} for inputs of {inputs.shape[-1]} "
                    f"features and a carry of {features}."
                )


def _paths(cell: Gated, params: Mapping[str, Any], side: str, name: str) -> list[str]:
    gates = cell.gates
    if name == "bias":
        gates = cell.input_biases if side == "i" else cell.recurrent_biases
    by_gate = side not in params and any(side + gate in params for gate in cell.gates)
    names = gates if by_gate else ("",) if gates else ()
    return [f"{side + gate}/{name}" for gate in names]


def _at(cell: Gated, params: Mapping[str, Any], path: str, owner: str) -> Any:
    found: Any = params
    for key in path.split("/"):
        if not isinstance(found, Mapping) or key not in found:
            raise KeyError(
                f"{owner + ': ' if owner else ''}{type(cell).__name__} needs '{path}'; its "
                f"parameters are {sorted(params)}."
            )
        found = found[key]
    return found


def described(held: Any) -> str:
    """A weight in a message: the structure of a matrix, and never the numbers."""
    kind = repr(held) if isinstance(held, Matrix) else "an array"
    return f"{kind} of shape {tuple(held.shape)}"
