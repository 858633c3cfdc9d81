"""What the recurrent cells share: the step, and the hoisted sequence.

A cell is three things: the projection of its inputs, the product of its hidden state with the
recurrent kernel, and a rule that makes the new carry of both, entry by entry. The sequence projects
all inputs in one product before the scan, `_recurrence.py`.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from structlin.functional._cell_params import Gated, read
from structlin.functional._dense import Kernel, dense, promote, side_by_side
from structlin.functional._native import runs_natively
from structlin.functional._recurrence import affine, recurrence
from structlin.kernels import carry_beside
from structlin.matrices import Dense, Matrix

__all__ = ["Cell", "CellWeights"]


class CellWeights(NamedTuple):
    """The weights of a recurrent layer; the columns of its gates stand side by side.

    Attributes:
        input: ``(in, gates h)``.
        recurrent: ``(h, gates h)``, or ``None`` for a cell without one.
        bias: Of the inputs' projection, ``(gates h,)``.
        recurrent_bias: Of the hidden state's product; of the columns of the last gates if it is
            shorter than a row of ``recurrent``.
        extra: Whatever else the cell has, such as peepholes, as it defines.
    """

    input: Kernel
    recurrent: Kernel | None
    bias: jax.Array | None = None
    recurrent_bias: jax.Array | None = None
    extra: Any = ()


@dataclasses.dataclass(frozen=True)
class Cell(Gated):
    """A recurrent cell without its weights: hashable, equal if its settings are.

    Attributes:
        gates: The gates, in the order of their columns.
        input_biases: The gates with a bias on the side of the inputs.
        recurrent_biases: The gates with a bias on the side of the hidden state.
        recurrent: Whether there is a recurrent kernel.
        summed: Whether `apply` reads no more of its ``projected`` and ``hidden`` than their sum; of
            a subclass with an `apply` of its own, only if that says so.
    """

    recurrent: ClassVar[bool] = True
    summed: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "apply" in cls.__dict__ and "summed" not in cls.__dict__:
            cls.summed = False

    @property
    def native(self) -> str:
        """The name of its native code; empty if there is none for its settings."""
        return ""

    @abc.abstractmethod
    def apply(
        self, extra: Any, projected: jax.Array, hidden: jax.Array, carry: Any
    ) -> tuple[Any, jax.Array]:
        """The new carry and the output, of arrays with any leading axes.

        Args:
            extra: The cell's own parameters.
            projected: The inputs' projection, ``(..., gates h)``.
            hidden: The hidden state's product, ``(..., gates h)``.
            carry: The carry before.
        """

    def state(self, carry: Any) -> jax.Array:
        """The hidden state in ``carry``, which the recurrent kernel multiplies, ``(..., h)``."""
        return carry

    def project(self, weights: CellWeights, inputs: jax.Array, dtype: Any = None) -> jax.Array:
        """What `apply` needs of the inputs, ``(..., in)`` to ``(..., gates h)``."""
        return dense(inputs, weights.input, weights.bias, dtype=dtype)

    def step(
        self, weights: CellWeights, carry: Any, inputs: jax.Array, *, dtype: Any = None
    ) -> tuple[Any, jax.Array]:
        """One step.

        Args:
            weights: The layer's weights.
            carry: The carry before, of arrays ``(..., h)``.
            inputs: ``(..., in)``.
            dtype: The dtype of the products; by default what their operands promote to.

        Returns:
            The new carry, and the output ``(..., h)``.
        """
        projected = self.project(weights, inputs, dtype)
        parts = recurrent, bias, extra = _promoted(self, weights, carry, dtype)
        if runs_natively(self.native, parts, projected[None], carry):
            last, outputs = recurrence((self, 1, False), parts, projected[None], carry)
            return last, outputs[0]
        return self.apply(extra, projected, affine(self.state(carry), recurrent, bias), carry)

    def sequence(
        self,
        weights: CellWeights,
        carry: Any,
        inputs: jax.Array,
        *,
        dtype: Any = None,
        unroll: int = 1,
        history: bool = False,
    ) -> tuple[Any, Any]:
        """A whole sequence: equal to `step` scanned, and faster.

        Args:
            weights: The layer's weights.
            carry: The carry before the first step, of arrays ``(..., h)``.
            inputs: Time first, ``(time, ..., in)``.
            dtype: The dtype of the products; by default what their operands promote to.
            unroll: Steps for each iteration of the loop.
            history: Whether to return the carry after every step too.

        Returns:
            The last carry, and the outputs ``(time, ..., h)``; with ``history`` the pair of the
            carries, time first, and the outputs in their place.
        """
        projected = self.project(weights, inputs, dtype)
        carry = carry_beside(carry, projected)
        parts = _promoted(self, weights, carry, dtype)
        return recurrence((self, unroll, history), parts, projected, carry)

    def weights(self, params: Mapping[str, Any], *, split: bool = False) -> CellWeights:
        """Reads the parameters of a Linen cell, Flax's or this library's.

        Args:
            params: Each side fused (``i/kernel``, ``i/bias``; ``h/kernel``, ``h/bias``) or by gate
                (``ir/kernel``, ``hr/kernel``, ...). A fused bias has the columns of those gates
                that have one.
            split: Whether input kernels by gate stay apart: their products are then set side by
                side, which saves a copy of the kernels. A recurrent kernel is one, whose product
                XLA spreads over cores, as it does not those of single gates.

        Raises:
            KeyError: A weight is missing; the message names it and what is there.
        """
        biases = [read(self, params, s, "bias") for s in ("i", "h")]
        bias, recurrent_bias = (jnp.concatenate(b, axis=-1) if b else None for b in biases)
        kernels = read(self, params, "i", "kernel")
        apart = split and len(kernels) > 1
        kernel = side_by_side([*map(_matrix, kernels)] if apart else kernels)
        recurrent = side_by_side(read(self, params, "h", "kernel")) if self.recurrent else None
        return CellWeights(kernel, recurrent, bias, recurrent_bias, self.extra(params))

    def extra(self, params: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """The cell's own parameters in ``params``."""
        return ()

    def shapes(
        self,
        params: Mapping[str, Any],  # noqa: ARG002
        carry: Any,
        inputs: jax.Array,
    ) -> dict[str, tuple[int, ...]]:
        h = jax.tree.leaves(carry)[0].shape[-1]
        found = {"i/kernel": (inputs.shape[-1], len(self.gates) * h)}
        if self.recurrent:
            found["h/kernel"] = (self.state(carry).shape[-1], len(self.gates) * h)
        biases = {"i/bias": self.input_biases, "h/bias": self.recurrent_biases}
        return found | {path: (len(gates) * h,) for path, gates in biases.items() if gates}


def _matrix(kernel: Kernel) -> Matrix:
    return kernel if isinstance(kernel, Matrix) else Dense(kernel)


def _promoted(cell: Cell, weights: CellWeights, carry: Any, dtype: Any) -> tuple[Any, Any, Any]:
    parts = weights.recurrent, weights.recurrent_bias, weights.extra
    return promote((cell.state(carry), *parts), dtype)[1:]
