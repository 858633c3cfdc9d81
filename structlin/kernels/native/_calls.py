"""The calls of the library on arrays of JAX: what they take, and what comes back."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from structlin.kernels._gather import explicit_mesh
from structlin.kernels.native._library import ready, target
from structlin.kernels.native._program import Program, call

__all__ = ["fits", "gru", "lstm", "product"]

UNSIGNED = (np.uint8, np.uint16, np.uint32)


def fits(program: Program | None, rows: int, *arrays: jax.Array) -> bool:
    """Whether native code is there, is fast for so many rows, and knows the dtypes.

    What it returns has no sharding and varies over no axis of a mesh: under one with explicit axes,
    and in ``shard_map`` unless ``check_vma=False``, it is not for use.

    Args:
        program: Of the matrix, if it has one.
        rows: The rows that are multiplied at a time.
        *arrays: What else takes part: single precision, and not empty.
    """
    if program is None or not 0 < rows <= program.rows or explicit_mesh():
        return False
    if any(_varies(x) for x in (*program.arrays, *arrays)):
        return False
    kinds = [np.dtype(x.dtype) for x in program.arrays]
    known = all(kind == np.float32 or kind in UNSIGNED for kind in kinds)
    whole = all(x.size for x in (*program.arrays, *arrays))
    return known and whole and all(x.dtype == np.float32 for x in arrays) and ready()


def product(program: Program, x: jax.Array) -> jax.Array:
    """``x @ matrix`` for rows ``x`` ``(..., m)``, ``(..., n)``; only where `fits` says so."""
    n = program.columns
    flat = x.reshape(-1, x.shape[-1])
    like = jax.ShapeDtypeStruct((flat.shape[0], n), np.float32)
    y = call(target("structlin_product"), like, program, flat)
    return y.reshape(*x.shape[:-1], n)


def lstm(
    program: Program, projected: jax.Array, memory: jax.Array, state: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A whole sequence of an LSTM, the activations being sigmoid and tanh.

    Args:
        program: The recurrent matrix, ``(h, 4 h)``.
        projected: The inputs' projection, ``(time, ..., 4 h)``, gates in the order i, f, g, o.
        memory: ``c`` before the first step, ``(..., h)``.
        state: ``h`` before it, ``(..., h)``.

    Returns:
        The states ``(time, ..., h)``, and the last ``c`` ``(..., h)``.
    """
    flat, h = _side_by_side(projected), state.shape[-1]
    like = [
        jax.ShapeDtypeStruct((*flat.shape[:2], h), np.float32),
        jax.ShapeDtypeStruct((flat.shape[1], h), np.float32),
    ]
    rows = (x.reshape(-1, h) for x in (memory, state))
    outputs, last = call(target("structlin_lstm"), like, program, flat, *rows)
    return outputs.reshape(*projected.shape[:-1], h), last.reshape(memory.shape)


def gru(
    program: Program, projected: jax.Array, state: jax.Array, bias: jax.Array | None
) -> jax.Array:
    """A whole sequence of a GRU, the activations being sigmoid and tanh.

    Args:
        program: The recurrent matrix, ``(h, 3 h)``.
        projected: The inputs' projection, ``(time, ..., 3 h)``, gates in the order r, z, n.
        state: ``h`` before the first step, ``(..., h)``.
        bias: Of the candidate's hidden product, ``(h,)``.

    Returns:
        The states ``(time, ..., h)``.
    """
    flat, h = _side_by_side(projected), state.shape[-1]
    bias = jnp.zeros(h, np.float32) if bias is None else bias
    like = jax.ShapeDtypeStruct((*flat.shape[:2], h), np.float32)
    outputs = call(target("structlin_gru"), like, program, flat, state.reshape(-1, h), bias)
    return outputs.reshape(*projected.shape[:-1], h)


def _varies(x: jax.Array) -> bool:
    """Whether `shard_map` follows how the values of ``x`` vary over devices."""
    kind = getattr(jax.typeof(x), "manual_axis_type", None)
    return kind is not None and bool(kind.varying)


def _side_by_side(projected: jax.Array) -> jax.Array:
    time, *batch, width = projected.shape
    return projected.reshape(time, math.prod(batch), width)
