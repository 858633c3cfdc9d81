"""What the tests of the file format share: one tree with everything in it, and exact comparison."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels, specs
from structlin import matrices as ms


def same(a: Any, b: Any) -> bool:
    """Whether two trees agree in every type, key, static field and bit; JAX or NumPy is as one."""
    if isinstance(a, jax.Array | np.ndarray) and isinstance(b, jax.Array | np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if type(a) is not type(b):
        return False
    if isinstance(a, ms.Matrix):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    if isinstance(a, dict):
        # repr tells 1 from "1" and from True.
        return list(map(repr, a)) == list(map(repr, b)) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b) if isinstance(a, float) else a == b


def grid(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    """0, 1/4, 2/4 ... in ``shape``."""
    return (np.arange(np.prod(shape)).reshape(shape) / 4).astype(dtype)


def doped() -> ms.Sum:
    """A packed doped matrix, ``(4, 3)``."""
    sparse = ms.Sparse(grid(2, 3), np.array([[0, 1, 2], [3, 3, 3]], np.uint8), 4)
    return ms.Sum((ms.Kronecker((grid(2, 3), grid(2, 1))), sparse))


def golden_tree() -> Any:
    """The tree in ``golden_v1.json``; it never changes."""
    return {
        "params": {
            "rnn": {"kernel": doped(), "bias": grid(3, dtype=jnp.bfloat16)},
            "out": ms.Scaled(ms.LowRank(grid(2, 1), grid(1, 2)), np.array(2, np.float32)),
            "gate": ms.Masked(grid(2, 2, dtype=np.float16), 0.1),
            "hmd": ms.Transposed(ms.HMD(grid(2, 1), grid(2, 2), grid(3))),
        },
        "layers": {0: grid(0, 3), 12: [None, True, -7, 2**70, 0.1]},
        "odd/key%": (float("inf"), "naïve ☃", {"$": []}, ()),
        "complex": grid(2, dtype=np.complex64),
        "bits": np.array([True, False]),
        "spec": specs.Doped(specs.LowRank(rank=2), density=0.25),
    }


def golden_coded_tree() -> Any:
    """The tree in the coded files of ``golden_v2.json``; it never changes."""
    codes = np.arange(256) ** 2 % 7 % 5
    stream = np.asarray(kernels.pack_bits(codes, 3))
    table = np.array([[-1.0, 0.5], [2.0, 0.25]], np.float32)
    quantised = ms.Quantized(ms.Dense(stream), (table,), ((16, 16),), 3, "uniform", 128)
    indices = (np.arange(8)[:, None] * 5 + np.arange(12) % 3).astype(np.uint8)
    return {"w": quantised, "s": ms.Sparse(grid(8, 12), indices, 40)}


GOLDEN_METADATA = {"steps": 1200, "recipe": {".*/kernel": specs.DopedKron(compression=20.0)}}
