"""How a recurrent Linen cell comes by the weights of its two sides."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from structlin import functional, specs
from structlin.linen._param import KernelParams, has_matrix, joined

__all__ = ["default", "is_plain", "recurrent_side", "side_params"]


def default(module: type[nn.Module], name: str) -> Any:
    """The default of a field of ``module``."""
    return next(f.default for f in dataclasses.fields(module) if f.name == name)


def is_plain(module: Any) -> bool:
    """Whether Flax's own arithmetic will do: no spec, and only arrays in the parameters."""
    fused = module.has_variable("params", "i") or module.has_variable("params", "h")
    many = len(module.arithmetic().gates) > 1
    return (
        module.input is None
        and module.recurrent is None
        and not (fused and many)
        and not has_matrix(module)
    )


def side_params(
    module: Any,
    side: str,
    rows: int,
    hidden: int,
    *,
    biases: Mapping[str, Callable[..., jax.Array]],
    by_gate: bool = False,
    gates: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """The parameters of one side of a cell: fused over its gates, or by gate.

    Args:
        module: The cell, with ``arithmetic``, ``input``, ``recurrent`` and Flax's fields.
        side: ``"i"`` or ``"h"``.
        rows: Of the kernel.
        hidden: Columns of each gate.
        biases: How the bias of each gate that has one on this side starts.
        by_gate: Whether a side without a spec has a kernel for each gate, as Flax's cells do.
        gates: The gates that have columns; all of the cell by default.

    Returns:
        ``{"i": {"kernel": ..., "bias": ...}}``, or the same with a name for each gate.
    """
    gates = module.arithmetic().gates if gates is None else gates
    name = "recurrent_kernel_init" if side == "h" else "kernel_init"
    spec: specs.Spec | None = module.recurrent if side == "h" else module.input
    fused = spec is not None or not by_gate or module.has_variable("params", side)
    made = {}
    for group in [gates] if fused else [(g,) for g in gates]:
        inits = [biases[g] for g in group if g in biases]
        part = side if fused else side + group[0]
        kernel_init = getattr(module, name)
        original = default(type(module), name)
        plain = kernel_init is original and spec is not None
        made[part] = KernelParams(
            features=hidden * len(group),
            bias_features=hidden * len(inits),
            param_dtype=module.param_dtype,
            kernel_init=kernel_init if plain else _over(kernel_init, len(group), hidden),
            default_init=original,
            bias_init=joined(inits, [hidden] * len(inits)) if inits else module.carry_init,
            spec=spec,
            name=part,
        )(rows)
    return made


def recurrent_side(module: Any, cell: functional.Cell, carry: Any, **settings: Any) -> Any:
    """`side_params` of the hidden state in ``carry``."""
    return side_params(module, "h", cell.state(carry).shape[-1], **settings)


def _over(init: Callable[..., Any], gates: int, hidden: int) -> Callable[..., Any]:
    return joined([init] * gates, [hidden] * gates)
