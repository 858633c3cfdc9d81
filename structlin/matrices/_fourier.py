"""The Fourier basis, complex or real: the eigenvectors of every circulant matrix."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels
from structlin.matrices._base import Matrix, static
from structlin.matrices._reductions import wide_dtype

__all__ = ["Fourier"]


class Fourier(Matrix):
    """The unitary matrix of the discrete Fourier transform, or of Hartley's, its real relative.

    All three kinds are symmetric. Nothing is stored.

    Formula: ``W[j, k] = exp(-2 pi i j k / n) / sqrt(n)``; of the inverse kind, its conjugate; of
        the Hartley kind, ``(cos(2 pi j k / n) + sin(2 pi j k / n)) / sqrt(n)``
    Storage: none
    FLOPs: about ``5 n log2 n``: one transform
    Rank: ``n``
    Suits: mixing all positions for free, and the eigenvectors of circulant matrices
    Reference: Bracewell (1983), "Discrete Hartley transform".

    Attributes:
        size: ``n``.
        dtype_name: The dtype of its entries by name.
        kind: ``"fourier"``, ``"inverse"`` or ``"hartley"``.
    """

    size: int = static()
    dtype_name: str = static(default="float32")
    kind: str = static(default="hartley")

    @classmethod
    def of(cls, size: int, dtype: Any = jnp.float32) -> "Fourier":
        """The Fourier matrix of a complex dtype, the Hartley matrix of a real one."""
        dtype = jax.dtypes.canonicalize_dtype(dtype)
        kind = "fourier" if jnp.issubdtype(dtype, jnp.complexfloating) else "hartley"
        return cls(size, dtype.name, kind)

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def dtype(self) -> np.dtype:
        return jnp.dtype(self.dtype_name)

    def astype(self, dtype: Any) -> "Fourier":
        name = jax.dtypes.canonicalize_dtype(dtype).name
        return dataclasses.replace(self, dtype_name=name)

    def conj(self) -> "Fourier":
        other = {"fourier": "inverse", "inverse": "fourier"}.get(self.kind, self.kind)
        return dataclasses.replace(self, kind=other)

    def rmatmul(self, x: jax.Array) -> jax.Array:
        x = jnp.asarray(x)
        dtype = jnp.result_type(x, self.dtype)
        wide = x.astype(wide_dtype(dtype))
        if self.kind == "fourier":
            return jnp.fft.fft(wide, norm="ortho").astype(dtype)
        if self.kind == "inverse":
            return jnp.fft.ifft(wide, norm="ortho").astype(dtype)
        if jnp.iscomplexobj(wide):
            return _hartley(wide.real).astype(dtype) + 1j * _hartley(wide.imag).astype(dtype)
        return _hartley(wide).astype(dtype)

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.rmatmul(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        turns = _product_modulo(rows[..., None], jnp.arange(self.size), self.size)
        real = jnp.finfo(wide_dtype(self.dtype)).dtype
        angle = turns.astype(real) * (2 * np.pi / self.size)
        cos, sin = jnp.cos(angle) * self.size**-0.5, jnp.sin(angle) * self.size**-0.5
        if self.kind == "hartley":
            return (cos + sin).astype(self.dtype)
        return jax.lax.complex(cos, sin if self.kind == "inverse" else -sin).astype(self.dtype)

    def transpose(self) -> "Fourier":
        return self

    def to_dense(self) -> jax.Array:
        return self._take(jnp.arange(self.size))

    def flops(self) -> int:
        return kernels.convolve_flops(self.size) // 3

    def frobenius_norm(self) -> jax.Array:
        return jnp.asarray(self.size**0.5, jnp.finfo(self.dtype).dtype)

    def _solve(self, b: jax.Array) -> jax.Array:
        return self.conj().matmul(b)

    def _inverse(self) -> "Fourier":
        return self.conj()

    def _pinv(self, rtol: float) -> "Fourier":
        del rtol  # all singular values are one
        return self.conj()


def _hartley(x: jax.Array) -> jax.Array:
    """The orthogonal Hartley transform of real rows."""
    n = x.shape[-1]  # the real less the imaginary part of Fourier's; the second half by symmetry
    half = jnp.fft.rfft(x, norm="ortho")
    rest = jnp.flip(half[..., 1 : (n + 1) // 2], -1)
    return jnp.concatenate([half.real - half.imag, rest.real + rest.imag], axis=-1)


def _product_modulo(a: jax.Array, b: jax.Array, n: int) -> jax.Array:
    """``a b mod n`` for numbers below ``n``, a byte of ``b`` at a time; right up to a million."""
    a, b = a.astype(jnp.uint32), b.astype(jnp.uint32)
    size = jnp.uint32(n)
    return ((a * (b >> 8) % size << 8) + a * (b & 255)) % size
