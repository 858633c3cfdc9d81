"""Arrays as the tensors of a safetensors file, and back."""

import math
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

__all__ = ["from_tensor", "is_array", "tensor_form", "to_host", "to_jax", "to_tensor"]

_NATIVE = {
    "bool": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""Our name of a dtype to the name that safetensors has for it in all versions that we support."""

_BYTES = frozenset(
    {
        "int2",
        "int4",
        "uint2",
        "uint4",
        "float4_e2m1fn",
        "float8_e3m4",
        "float8_e4m3",
        "float8_e4m3b11fnuz",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
    }
)
"""Types of one byte in memory that have no such name: stored as ``U8``."""

_COMPLEX = {"complex64": "F32", "complex128": "F64"}
"""Stored as their real and imaginary parts on one more axis."""


def is_array(value: Any) -> bool:
    """Whether ``value`` is a JAX array, a NumPy array (mapped or not) or a NumPy scalar."""
    # Other subclasses of ndarray, such as masked arrays, hold more than their numbers.
    return isinstance(value, jax.Array | np.generic) or type(value) in (np.ndarray, np.memmap)


def to_host(value: Any, where: str) -> np.ndarray:
    """``value`` as a NumPy array of a dtype that can be stored.

    Args:
        value: An array, as `is_array` has it.
        where: Its path in the tree, for errors.

    Raises:
        TypeError: ``value`` has no numbers to store, or they are of a type that has no form here.
    """
    if isinstance(value, jax.core.Tracer):
        raise TypeError(f"{where} is traced and has no numbers yet: save outside jit.")
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"{where} is a typed random key: save jax.random.key_data(key), and restore it with "
            "jax.random.wrap_key_data."
        )
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        raise TypeError(f"{where} is spread over several hosts: gather it on one before saving.")
    if not any(value.dtype.name in kind for kind in (_NATIVE, _BYTES, _COMPLEX)):
        raise TypeError(
            f"{where} is an array of {value.dtype}: a file holds booleans, integers, floating and "
            "complex numbers."
        )
    host = np.asarray(value, order="C")
    return host.astype(host.dtype.newbyteorder("=")) if host.dtype.byteorder == ">" else host


def to_tensor(host: np.ndarray) -> np.ndarray:
    """The array that safetensors is given for ``host``: itself, or a view of its bytes."""
    form, shape = tensor_form(host.dtype.name, host.shape)
    if host.dtype.name in _NATIVE:
        return host
    real = {"U8": np.uint8, "F32": np.float32, "F64": np.float64}[form]
    return host.reshape(-1).view(real).reshape(shape)


def tensor_form(dtype: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The dtype, by safetensors' name, and the shape under which an array is stored.

    Raises:
        KeyError: No array of this ``dtype`` is ever stored.
    """
    if dtype in _COMPLEX:
        return _COMPLEX[dtype], (*shape, 2)
    return ("U8" if dtype in _BYTES else _NATIVE[dtype]), shape


def from_tensor(data: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of ``dtype`` and ``shape`` whose bytes are ``data``; both were checked."""
    if math.prod(shape) == 0:
        return np.zeros(shape, jnp.dtype(dtype))
    return data.view(jnp.dtype(dtype)).reshape(shape)


def to_jax(host: np.ndarray) -> jax.Array | np.ndarray:
    """``host`` as a JAX array, unless JAX would narrow it: then as it is."""
    if jax.dtypes.canonicalize_dtype(host.dtype) != host.dtype:
        return host
    return jnp.asarray(host)
