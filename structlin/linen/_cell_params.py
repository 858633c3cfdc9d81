"""How a recurrent Linen cell comes by the weights of its two sides."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from structlin.linen._param import KernelParams, default, has_matrix, joined

__all__ = ["is_plain", "side_params", "structured_step"]

Inits = Mapping[str, Callable[..., Any]]


def is_plain(module: Any) -> bool:
    """Whether Flax's own arithmetic will do: no spec, and arrays by gate in the parameters."""
    fused = any(module.has_variable("params", side) for side in ("i", "h"))
    if module.input is not None or module.recurrent is not None:
        return False
    return not (fused and len(module.arithmetic().gates) > 1) and not has_matrix(module)


def structured_step(
    module: Any, carry: Any, inputs: Any, input_biases: Inits, recurrent_biases: Inits
) -> tuple[Any, Any]:
    """One step of a cell with the fields of one of Flax's, whatever its kernels are.

    Args:
        module: The cell, inside its compact method.
        carry: The carry before.
        inputs: ``(..., in)``.
        input_biases: How the bias of each gate that has one on the inputs' side starts.
        recurrent_biases: The same for the hidden state's side.
    """
    cell = module.arithmetic()
    hidden = cell.state(carry).shape[-1]
    sides = {"by_gate": True, "features": hidden}
    params = side_params(module, "i", inputs.shape[-1], input_biases, **sides)
    params |= side_params(module, "h", hidden, recurrent_biases, **sides)
    return cell.step(cell.weights(params), carry, inputs, dtype=module.dtype)


def side_params(
    module: Any,
    side: str,
    rows: int,
    biases: Inits,
    *,
    features: int,
    by_gate: bool = False,
    gates: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """The parameters of one side of a cell: fused over its gates, or by gate.

    What is held decides, so that a structured cell also runs the dense kernels of Flax's.

    Args:
        module: The cell, with ``arithmetic``, ``input``, ``recurrent`` and Flax's fields.
        side: ``"i"`` or ``"h"``.
        rows: Of the kernel.
        biases: How the bias of each gate that has one on this side starts.
        features: Columns of each gate.
        by_gate: Whether a side without a spec has a kernel for each gate, as Flax's cells do.
        gates: The gates that have columns; all of the cell by default.

    Returns:
        ``{"i": {"kernel": ..., "bias": ...}}``, or the same with a name for each gate.
    """
    names: tuple[str, ...] = module.arithmetic().gates if gates is None else gates
    name, spec = ("kernel_init", module.input)
    if side == "h":
        name, spec = ("recurrent_kernel_init", module.recurrent)
    init, original = getattr(module, name), default(type(module), name)
    by_spec = spec is not None and inspect.unwrap(init) is original
    held_by_gate = any(module.has_variable("params", side + g) for g in names if g)
    wanted = (spec is not None or not by_gate) and not held_by_gate
    fused = wanted or module.has_variable("params", side)
    made = {}
    for group in [names] if fused else [(g,) for g in names]:
        inits = [biases[g] for g in group if g in biases]
        part = side if fused else side + group[0]
        made[part] = KernelParams(
            features=features * len(group),
            bias_features=features * len(inits),
            param_dtype=module.param_dtype,
            kernel_init=init if by_spec else joined([init] * len(group), [features] * len(group)),
            default_init=original,
            bias_init=joined(inits, [features] * len(inits)),
            spec=spec,
            name=part,
        )(rows)
    return made
