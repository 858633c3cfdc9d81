"""One step of an LSTM with a doped Kronecker kernel, for GPUs: what it takes and what it means."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin.kernels._kronecker import kronecker_rmatmul
from structlin.kernels._pallas_program import lstm_gates, run_step
from structlin.kernels._sparse import slot_rmatmul

__all__ = ["doped_lstm_step"]


def doped_lstm_step(
    h: jax.Array,
    c: jax.Array,
    z: jax.Array,
    factors: Sequence[jax.Array],
    values: jax.Array,
    indices: jax.Array,
    *,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """One step of an LSTM whose recurrent kernel is ``kron(*factors)`` plus a sparse matrix.

    Nothing in the library uses it; it is there to be tried on a GPU. It is tested interpreted, on a
    CPU; on an H200 it took less time than XLA's loop over the slots, and more than a dense product
    (``benchmarks/results/speed_gpu.json``). ``kronecker, sparse = matrix.terms`` of a packed doped
    matrix hold the arguments. Derivatives are those of the same step in XLA, which they compute
    instead.

    Args:
        h: The state, ``(batch, H)``.
        c: The memory, ``(batch, H)``.
        z: The projection of the inputs with all biases, ``(batch, 4 H)``, gates in the order i, f,
            g, o; sigmoid is the activation of the gates and tanh that of the rest.
        factors: Two, ``(m_1, n_1)`` and ``(m_2, n_2)``, with ``m_1 m_2 = H`` and
            ``n_1 n_2 = 4 H``; those of `structlin.matrices.Kronecker`.
        values: ``(k, 4 H)``, ``k`` slots a column; those of `structlin.matrices.Sparse`.
        indices: The row of each slot, ``(k, 4 H)``, integers below ``H``.
        interpret: Whether JAX interprets the kernel, on any device and slowly.

    Returns:
        The new ``c`` and ``h``, ``(batch, H)``.

    Raises:
        ValueError: Shapes do not fit, or the step is compiled for a CPU and not interpreted.
        TypeError: An array is not of single precision, or the indices are no integers.
    """
    arrays = [jnp.asarray(x) for x in (h, c, z, *factors, values, indices)]
    _check(len(factors), *arrays)
    return _step(interpret, *arrays)


def _check(count: int, h: jax.Array, c: jax.Array, z: jax.Array, *kernel: jax.Array) -> None:
    if count != 2:
        raise ValueError(f"{count} factors were given, but the step is made for two")
    left, right, values, indices = kernel
    if h.ndim != 2 or not h.size:
        raise ValueError(f"h has shape {h.shape}, but (batch, H) is needed, neither of them 0")
    if left.ndim != 2 or right.ndim != 2:
        raise ValueError(f"factors have shapes {left.shape} and {right.shape}: two axes are needed")
    (batch, hidden), slots = h.shape, max(len(values) if values.ndim else 0, 1)
    product = (left.shape[0] * right.shape[0], left.shape[1] * right.shape[1])
    wanted = {
        "c": (c.shape, (batch, hidden)),
        "z": (z.shape, (batch, 4 * hidden)),
        "the product of the factors": (product, (hidden, 4 * hidden)),
        "values": (values.shape, (slots, 4 * hidden)),
        "indices": (indices.shape, (slots, 4 * hidden)),
    }
    for name, (given, needed) in wanted.items():
        if given != needed:
            raise ValueError(f"{name} has shape {given}, but h {h.shape} needs {needed}")
    kinds = [x.dtype for x in (h, c, z, left, right, values)]
    if any(kind != np.float32 for kind in kinds) or not jnp.issubdtype(indices.dtype, np.integer):
        given = ", ".join(map(str, (*kinds, indices.dtype)))
        raise TypeError(f"dtypes are {given}, but float32 and at last an integer type are needed")


# A derivative is that of the definition, and never sees the kernel.
@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _step(interpret: bool, *arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
    return run_step(interpret, *arrays)


@_step.defjvp
def _step_jvp(interpret: bool, primals: Any, tangents: Any) -> Any:
    del interpret
    return jax.jvp(_definition, primals, tangents)


def _definition(
    h: jax.Array, c: jax.Array, z: jax.Array, left: jax.Array, right: jax.Array, *slots: jax.Array
) -> tuple[jax.Array, jax.Array]:
    z = z + kronecker_rmatmul(h, (left, right)) + slot_rmatmul(h, *slots)
    return lstm_gates(c, *jnp.split(z, 4, axis=-1))
