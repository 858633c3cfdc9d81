"""What a library that was just loaded must get right before it is used."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin.kernels._bits import pack_bits
from structlin.kernels.native._program import (
    Program,
    block_program,
    call,
    chain_program,
    code_program,
    column_program,
    dense_program,
    kronecker_program,
    slot_program,
    spread_program,
    sum_program,
)

__all__ = ["wrong_results"]

H, ROWS, STEPS = 21, 5, 3
CLOSE = 1e-4


def wrong_results(names: Mapping[str, str]) -> str:
    """Compares a product, an LSTM and a GRU with what NumPy makes of the dense matrix.

    Args:
        names: The library's functions to their names in XLA.

    Returns:
        What is wrong; empty if nothing is.
    """
    rng = np.random.default_rng(0)
    draw = functools.partial(_draw, rng)
    x, bias = draw(ROWS, H), draw(H)
    gates = {4: _matrix(rng, 4), 3: _matrix(rng, 3)}
    projected = {n: draw(STEPS, ROWS, n * H) for n in gates}

    def run(arrays: Any, x: jax.Array, projected: Any, bias: jax.Array) -> Any:
        wide, narrow = (gates[n][0]._replace(arrays=arrays[n]) for n in (4, 3))
        steps, rows = _like(STEPS, ROWS, H), _like(ROWS, H)
        return (
            call(names["structlin_product"], _like(ROWS, 4 * H), wide, x),
            *call(names["structlin_lstm"], [steps, rows], wide, projected[4], x, x),
            call(names["structlin_gru"], steps, narrow, projected[3], x, bias),
        )

    arrays = {n: program.arrays for n, (program, _) in gates.items()}
    got = jax.jit(run)(arrays, x, projected, bias)
    wide, narrow = (dense for _, dense in gates.values())
    want = x @ wide, *_lstm(wide, projected[4], x), _gru(narrow, projected[3], x, bias)
    for name, g, w in zip(("product", "LSTM", "memory", "GRU"), got, want, strict=True):
        error = float(np.max(np.abs(np.asarray(g) - w)))
        if not error <= CLOSE * max(1.0, float(np.abs(w).max())):
            return f"{name} is off by {error:.1e}"
    return ""


def _like(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(scale=0.3, size=shape).astype(np.float32)


def _matrix(rng: np.random.Generator, gates: int) -> tuple[Program, np.ndarray]:
    """A matrix of everything that a program can say, ``(H, gates H)``, and its dense form."""
    draw, n = functools.partial(_draw, rng), gates * H
    left, right = draw(7, gates * 3), draw(3, 7)
    rows = np.argsort(rng.random((H, n)), axis=0)[:5]
    slots = draw(5, n)
    places = np.argsort(rng.random((H // 3, n // 7)), axis=0)[:2]
    blocks = draw(2, n // 7, 3, 7)
    tall, per_column = draw(H, 2), draw(n - 20)
    table = np.array([-0.2, 0.02], np.float32)
    coded = [rng.integers(0, 2**bits, (H, 10)) for bits in (4, 8)]
    dense = np.kron(left, right)
    np.add.at(dense, (rows, np.arange(n)), slots)
    for s, b in np.ndindex(places.shape):
        at = 3 * places[s, b], 7 * b
        dense[at[0] : at[0] + 3, at[1] : at[1] + 7] += blocks[s, b]
    first = (n - 20 + 1) // 2
    dense[:, : n - 20] += np.repeat(tall, [first, n - 20 - first], axis=1) * per_column
    dense[:, n - 20 :] += table[0] + table[1] * np.concatenate(coded, axis=1, dtype=np.float32)
    thin = chain_program([dense_program(_jax(tall)), spread_program(_jax(per_column), 2)])
    streams = [
        pack_bits(jnp.asarray(c.reshape(-1)), bits) for c, bits in zip(coded, (4, 8), strict=True)
    ]
    codes = [code_program(s, _jax(table), (H, 10), b) for s, b in zip(streams, (4, 8), strict=True)]
    program = sum_program(
        [
            kronecker_program([_jax(left), _jax(right)]),
            slot_program(_jax(slots), _jax(rows.astype(np.uint16)), H),
            block_program(_jax(blocks), _jax(places.astype(np.uint8)), H),
            column_program([thin, *codes]),
        ]
    )
    assert program is not None  # every part has one
    return program, dense


def _jax(x: np.ndarray) -> jax.Array:
    return jnp.asarray(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _lstm(w: np.ndarray, projected: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c = h = start
    outputs = []
    for x in projected:
        i, f, g, o = np.split(x + h @ w, 4, axis=-1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), c


def _gru(w: np.ndarray, projected: np.ndarray, h: np.ndarray, bias: np.ndarray) -> np.ndarray:
    outputs = []
    for x in projected:
        (rx, zx, nx), (rh, zh, nh) = np.split(x, 3, axis=-1), np.split(h @ w, 3, axis=-1)
        z = _sigmoid(zx + zh)
        h = (1 - z) * np.tanh(nx + _sigmoid(rx + rh) * (nh + bias)) + z * h
        outputs.append(h)
    return np.stack(outputs)
