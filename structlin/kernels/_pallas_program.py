"""The program that one step of an LSTM with a doped Kronecker kernel is on a GPU, in Pallas.

The parts of Pallas are those that Triton compiles. A program computes some units of one row: all
four gates of them, so that nothing but the new state is written.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

__all__ = ["lstm_gates", "run_step"]

UNITS, CHUNK = 32, 32
"""The units of a program, and the rows of a factor that it takes at a time. Triton wants powers of
two; what is beyond the end is masked. Chosen by size, not by measurement."""


def run_step(interpret: bool, *arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The new ``c`` and ``h``, ``(batch, H)``.

    Args:
        interpret: Whether JAX interprets the program.
        *arrays: ``h``, ``c``, ``z``, two factors, ``values`` and ``indices``, as
            `structlin.kernels.doped_lstm_step` has them.
    """
    h, left, right, values = arrays[0], *arrays[3:6]
    sizes = (h.shape[1], *left.shape, *right.shape, len(values))
    like = jax.ShapeDtypeStruct((h.size,), h.dtype)
    call = pl.pallas_call(
        functools.partial(_kernel, sizes),
        out_shape=(like, like),
        grid=(h.shape[0], pl.cdiv(h.shape[1], UNITS)),
        compiler_params=triton.CompilerParams(num_warps=4),
        interpret=interpret,
    )
    c, h = (x.reshape(h.shape) for x in call(*(x.reshape(-1) for x in arrays)))
    return c, h


def lstm_gates(c: jax.Array, *gates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The new ``c`` and ``h`` of the old ``c`` and the gates i, f, g, o, all of one shape."""
    i, f, g, o = gates
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def _kernel(sizes: tuple[int, ...], *refs: Any) -> None:
    """The step for `UNITS` units of one row; every array is flat."""
    h, c, z, left, right, values, indices, c_out, h_out = refs
    hidden, row = sizes[0], pl.program_id(0)
    first, gate = pl.program_id(1) * UNITS, _range(4)[:, None]
    units = first + _range(UNITS)
    columns = gate * hidden + units
    inside = units < hidden
    whole = jnp.broadcast_to(inside, columns.shape)
    y = _load(z, row * 4 * hidden + columns, whole)
    y += _kronecker(sizes, first, columns, whole, row, h, left, right)
    y += _slots(sizes, columns, whole, row, h, values, indices)
    # Sums that pick a row: Triton has no slices of what is in registers.
    gates = (jnp.sum(jnp.where(gate == g, y, 0), axis=0) for g in range(4))
    own = row * hidden + units
    for out, new in zip((c_out, h_out), lstm_gates(_load(c, own, inside), *gates), strict=True):
        triton.store(out.at[own], new, mask=inside)


def _kronecker(sizes: tuple[int, ...], first: Any, columns: jax.Array, *rest: Any) -> jax.Array:
    """One row's product with the factors for the units from ``first`` on, ``(4, UNITS)``.

    Gates need not begin where a column of the first factor does. So the columns of that factor that
    a program touches are taken one by one, each for those of its units that are of it.
    """
    hidden, m1, n1, m2, n2, _ = sizes
    whole, row, h, left, right = rest
    of_left, of_right = _divide(columns, n2)
    start, _ = _divide(_range(4) * hidden + first, n2)

    def add_column(p: Any, y: jax.Array) -> jax.Array:
        j = (start + p)[:, None]
        here = whole & (of_left == j)

        def add_rows(q: Any, y: jax.Array) -> jax.Array:
            i2 = q * CHUNK + _range(CHUNK)

            def fold(r: Any, t: jax.Array) -> jax.Array:
                i1 = r * CHUNK + _range(CHUNK)
                a = _load(left, i1 * n1 + j, (i1 < m1) & (j < n1))
                both = (i1 < m1)[:, None] & (i2 < m2)
                x = _load(h, row * hidden + i1[:, None] * m2 + i2, both)
                return t + _dot(a, x[None])

            t = _loop(pl.cdiv(m1, CHUNK), fold, jnp.zeros((4, CHUNK), jnp.float32))
            place = i2[:, None] * n2 + of_right[:, None, :]
            both = (i2 < m2)[:, None] & here[:, None, :]
            return y + _dot(t, _load(right, place, both))

        return _loop(pl.cdiv(m2, CHUNK), add_rows, y)

    most = (min(UNITS, hidden) + n2 - 2) // n2 + 1
    return _loop(most, add_column, jnp.zeros((4, UNITS), jnp.float32))


def _slots(sizes: tuple[int, ...], columns: jax.Array, *rest: Any) -> jax.Array:
    """One row's product with the sparse matrix, ``(4, UNITS)``."""
    hidden, slots = sizes[0], sizes[-1]
    whole, row, h, values, indices = rest

    def add_slot(s: Any, y: jax.Array) -> jax.Array:
        place = s * 4 * hidden + columns
        index = _load(indices, place, whole).astype(jnp.int32)
        return y + _load(values, place, whole) * _load(h, row * hidden + index, whole)

    return _loop(slots, add_slot, jnp.zeros((4, UNITS), jnp.float32))


def _range(size: int) -> jax.Array:
    return jax.lax.iota(jnp.int32, size)


def _divide(x: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
    # Nothing is negative: quotient and remainder of the hardware, which jnp's correct for signs.
    return jax.lax.div(x, np.int32(n)), jax.lax.rem(x, np.int32(n))


def _load(ref: Any, place: jax.Array, mask: jax.Array) -> jax.Array:
    return triton.load(ref.at[place], mask=mask, other=0)


def _dot(x: jax.Array, matrix: jax.Array) -> jax.Array:
    # No product of matrices, which would round to fewer bits and wants sixteen rows.
    return jnp.sum(x[:, :, None] * matrix, axis=1)


def _loop(count: int, body: Callable[[Any, jax.Array], jax.Array], start: jax.Array) -> jax.Array:
    return jax.lax.fori_loop(0, count, lambda i, y: body(jnp.int32(i), y), start)
