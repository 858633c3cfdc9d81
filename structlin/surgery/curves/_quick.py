"""What structures make of an array, in NumPy: as their fits do, with nothing to compile.

A plan tries some sixty structures and sizes on each weight, and compiling the fits of that many
shapes takes far longer than the fits. Only errors are wanted here: each function returns the dense
array that a fit would stand for, or ``None`` where it does not know the spec, which is then fitted
as usual.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from structlin import decompose, specs

__all__ = ["Starts", "approximation"]

SHORT = 64
"""The longest side of a Gram matrix that is decomposed rather than approached by powers."""

SPARE, POWERS, PRECISION = 7, 10, 1e-3
"""Vectors beside those wanted, most steps of the power iteration, and the share of the error that a
step must take off for another one to follow."""

TURNS = 2
"""How often a doped structure's parts are fitted to each other."""


Starts = dict[Any, np.ndarray]
"""Where iterations begin: what one size of a structure leads to is near that of the next."""


def approximation(
    spec: Any, dense: np.ndarray, shares: np.ndarray | None, starts: Starts | None = None
) -> np.ndarray | None:
    """The array that a fit of ``spec`` stands for, or nearly so.

    Args:
        spec: A spec that was sized for the array.
        dense: ``(m, n)``, real.
        shares: Importance of each entry, ``(m, n)`` or ``(m, 1)``; ``None`` weighs all alike.
        starts: What calls for the same array leave for each other, at first an empty dictionary.

    Returns:
        ``(m, n)``, or ``None`` where this function has no way.
    """
    make = _KNOWN.get(type(spec))
    if make is None or np.iscomplexobj(dense):
        return None
    return make(spec, dense, shares, {} if starts is None else starts)


def _dense(
    spec: specs.Dense, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray:
    del spec, shares, starts
    return dense


def _sparse(
    spec: Any, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray | None:
    del starts
    if spec.pattern is not None or spec.block != (1, 1) or spec.anneal or not spec.density:
        return None
    return np.where(_largest(dense, shares, spec.density), dense, 0)


def _largest(dense: np.ndarray, shares: np.ndarray | None, density: float) -> np.ndarray:
    """Marks the largest entries of each column."""
    rows = dense.shape[0]
    score = dense**2 if shares is None else dense**2 * shares
    count = max(1, round(density * rows))
    if count >= rows:
        return np.ones(dense.shape, bool)
    kept = np.zeros(dense.shape, bool)
    places = np.argpartition(score, rows - count, axis=0)[rows - count :]
    np.put_along_axis(kept, places, True, axis=0)
    return kept


def _kron(
    spec: specs.Kron, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray | None:
    del shares  # entries and rows alike: the fit itself knows better
    if spec.terms != 1 or spec.shapes is None or len(spec.shapes) != 2:
        return None
    return _nearest_kron(dense, spec.shapes, starts)


def _nearest_kron(dense: np.ndarray, shapes: Any, starts: Starts) -> np.ndarray:
    (a, b), (c, d) = shapes
    mixed = dense.reshape(a, c, b, d).transpose(0, 2, 1, 3).reshape(a * b, c * d)
    right = _leading(mixed, starts, shapes)
    return (
        ((mixed @ right) @ right.T).reshape(a, b, c, d).transpose(0, 2, 1, 3).reshape(dense.shape)
    )


def _doped_kron(
    spec: specs.DopedKron, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray | None:
    shapes = spec.shapes
    if spec.block != (1, 1) or spec.anneal or shapes is None or len(shapes) != 2:
        return None
    best, least = dense, np.inf
    sparse = np.zeros_like(dense)
    for _ in range(1 + TURNS):
        host = _nearest_kron(dense - sparse, shapes, starts)
        rest = dense - host
        sparse = np.where(_largest(rest, shares, spec.density or 1.0), rest, 0)
        missed = (rest - sparse) ** 2
        error = float(np.sum(missed if shares is None else missed * shares))
        if error >= least:
            break
        best, least = host + sparse, error
    return best


def _hmd(
    spec: specs.HMD, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray | None:
    if spec.rank_blocks != 1 or spec.columns != "first" or spec.dense_columns is None:
        return None
    rest = dense[:, spec.dense_columns :]
    right = _leading(_scaled(rest, shares), starts, "hmd")
    return np.concatenate([dense[:, : spec.dense_columns], (rest @ right) @ right.T], axis=1)


def _monarch(
    spec: specs.Monarch, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray | None:
    del starts
    if not isinstance(spec.blocks, tuple):
        return None
    (m, n), (k, j) = dense.shape, spec.blocks

    def cut(x: np.ndarray) -> np.ndarray:
        return x.reshape(k, m // k, n // j, j).transpose(0, 3, 1, 2)

    blocks = cut(dense)
    scaled = cut(_scaled(dense, shares))
    if scaled.shape[-2] < scaled.shape[-1]:
        left = np.linalg.eigh(scaled @ scaled.mT)[1][..., -spec.rank :]
        right = np.linalg.qr(scaled.mT @ left)[0]
    else:
        right = np.linalg.eigh(scaled.mT @ scaled)[1][..., -spec.rank :]
    found = (blocks @ right) @ right.mT
    return found.transpose(0, 2, 3, 1).reshape(m, n)


def _quantized(
    spec: specs.Quantized, dense: np.ndarray, shares: np.ndarray | None, starts: Starts
) -> np.ndarray | None:
    del shares, starts
    if not isinstance(spec.inner, specs.Dense) or spec.codebook == "symmetric":
        return None
    if (spec.per, spec.clip) != ("tensor", None):
        return None
    if spec.codebook != "uniform":
        table = np.asarray(decompose.table_of(jnp.asarray(dense), spec.bits, spec.codebook))
        return table[np.searchsorted((table[1:] + table[:-1]) / 2, dense)]
    low, steps = dense.min(), 2**spec.bits - 1
    step = (dense.max() - low) / steps
    return low + step * np.round((dense - low) / step) if step else dense


def _scaled(dense: np.ndarray, shares: np.ndarray | None) -> np.ndarray:
    """The array whose plain errors are those weighted by the mean share of each row."""
    if shares is None:
        return dense
    return np.sqrt(np.mean(shares, axis=1, keepdims=True)) * dense


def _leading(array: np.ndarray, starts: Starts, key: Any) -> np.ndarray:
    """The first right singular vector, ``(columns, 1)``, as near as the error of rank one asks."""
    wide = array if array.shape[0] <= array.shape[1] else array.T
    if len(wide) <= SHORT:
        block = np.linalg.eigh(wide @ wide.T)[1][:, -1:]  # on the short side
    else:
        block = _powers(wide, starts.get((key, len(wide))))
        starts[key, len(wide)] = block
        block = block[:, -1:]
    if wide is not array:
        return block
    across = wide.T @ block
    return across / max(float(np.linalg.norm(across)), 1e-30)


def _powers(wide: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """Nearly the leading left singular vectors, the first one last."""
    if start is None:
        start = np.random.default_rng(0).standard_normal((len(wide), 1 + SPARE))
    across = wide.T @ np.linalg.qr(start.astype(wide.dtype))[0]
    whole, most = float(np.vdot(wide, wide)), 0.0
    for _ in range(POWERS):
        block = np.linalg.qr(wide @ across)[0]
        across = wide.T @ block
        sizes, turn = np.linalg.eigh(across.T @ across)
        before, most = most, float(sizes[-1])
        start = block @ turn
        if most - before <= PRECISION * (whole - most):
            break
    return start


_KNOWN: dict[type, Callable[..., np.ndarray | None]] = {
    specs.Dense: _dense,
    specs.Sparse: _sparse,
    specs.Kron: _kron,
    specs.DopedKron: _doped_kron,
    specs.HMD: _hmd,
    specs.Monarch: _monarch,
    specs.Quantized: _quantized,
}
