"""Circulant matrices: products, systems, spectra and functions by fast Fourier transforms.

A circulant matrix is diagonal in the Fourier basis, so everything about it is arithmetic on the
transform of its first row. Sums, products and functions of circulant matrices are circulant.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from structlin import decompose, kernels
from structlin.matrices._base import Matrix
from structlin.matrices._fourier import Fourier
from structlin.matrices._permuted import Permuted
from structlin.matrices._product import Product
from structlin.matrices._reductions import wide_dtype
from structlin.matrices._spec import Spec
from structlin.matrices._weights import Fisher, Rows

__all__ = ["Circulant", "CirculantSpec"]


class Circulant(Matrix):
    """A square matrix each of whose rows is the one above it moved on by one.

    Every circulant matrix has functions (`exp`, `sqrt`, powers), Hermitian or not. Those of real
    ones are real: a function is taken of one eigenvalue of each conjugate pair, and where it is not
    real of the eigenvalue of a constant or an alternating vector, the result is not a number.

    Formula: ``W[i, j] = r_((j - i) mod n)``
    Storage: ``n`` numbers
    FLOPs: about ``15 n log2 n``: three transforms
    Rank: the number of Fourier coefficients of ``r`` that are not zero
    Suits: filters that treat all positions alike, and the strongest compression of a square matrix
    Reference: Davis (1979), "Circulant matrices".

    Attributes:
        row: The first row, ``(n,)``.
    """

    row: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        n = self.row.shape[-1]
        return n, n

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return kernels.circular_convolve(jnp.asarray(x), jnp.asarray(self.row), len(self))

    def rmatmul_transposed(self, x: jax.Array) -> jax.Array:
        return self.transpose().rmatmul(x)

    def _take(self, rows: jax.Array) -> jax.Array:
        rows = rows[..., None]
        columns = jnp.arange(len(self), dtype=rows.dtype)
        return kernels.gather_rows(self.row, (columns - rows) % len(self))

    def transpose(self) -> "Circulant":
        return Circulant(jnp.roll(jnp.flip(self.row, -1), 1, -1))

    def to_dense(self) -> jax.Array:
        return self._take(jnp.arange(len(self)))

    def flops(self) -> int:
        return kernels.convolve_flops(len(self))

    def diagonal(self) -> jax.Array:
        return jnp.broadcast_to(self.row[0], (len(self),))

    def trace(self) -> jax.Array:
        return self.row[0] * jnp.asarray(len(self), self.dtype)

    def frobenius_norm(self) -> jax.Array:
        wide = self.row.astype(wide_dtype(self.dtype))
        return (jnp.linalg.norm(wide) * len(self) ** 0.5).astype(jnp.finfo(self.dtype).dtype)

    def gram(self) -> "Circulant":
        values = kernels.spectrum(self.row)
        return self._of(values * values.conj())

    def _times(self, other: Matrix) -> "Circulant | None":
        return Circulant(self.rmatmul(other.row)) if isinstance(other, Circulant) else None

    def _plus(self, other: Matrix) -> "Circulant | None":
        return Circulant(self.row + other.row) if isinstance(other, Circulant) else None

    def _times_scalar(self, scalar: jax.Array) -> "Circulant":
        return Circulant(self.row * scalar)

    def _of(self, values: jax.Array) -> "Circulant":
        """The circulant matrix of this size and dtype with another spectrum."""
        return Circulant(kernels.from_spectrum(values, len(self), self.dtype))

    def _solve(self, b: jax.Array) -> jax.Array:
        return self._inverse().matmul(b)

    def _inverse(self) -> "Circulant":
        return self._of(1 / kernels.spectrum(self.row))

    def _pinv(self, rtol: float) -> "Circulant":
        values = kernels.spectrum(self.row)
        sizes = jnp.abs(values)
        large = sizes > rtol * jnp.max(sizes)
        return self._of(jnp.where(large, 1 / jnp.where(large, values, 1), 0))

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        values = kernels.spectrum(self.row)
        sizes = jnp.abs(values)
        if jnp.iscomplexobj(self.row):
            return jnp.prod(jnp.sign(values)), jnp.sum(jnp.log(sizes))
        alone = _unpaired(len(self))  # all others come with their conjugates
        signs = jnp.where(alone, jnp.sign(values.real), jnp.sign(sizes))
        return jnp.prod(signs), jnp.sum(jnp.where(alone, 1, 2).astype(sizes.dtype) * jnp.log(sizes))

    def _basis(self) -> Fourier:
        return Fourier.of(len(self), self.dtype)

    def _all_values(self, half: jax.Array) -> jax.Array:
        """Real values by frequency with the half that a real row leaves out, ``(n,)``."""
        if jnp.iscomplexobj(self.row):
            return half
        k = jnp.arange(len(self))
        return half[jnp.minimum(k, len(self) - k)]

    def _eigh(self) -> tuple[jax.Array, Matrix]:
        values = self._all_values(kernels.spectrum(self.row).real)
        order = jnp.argsort(values)
        return values[order], Permuted(self._basis(), None, order)

    def _svd(self) -> tuple[Matrix, jax.Array, Matrix]:
        """By the polar form: a unitary circulant matrix times a positive one."""
        half, basis = kernels.spectrum(self.row), self._basis()
        s = self._all_values(jnp.abs(half))
        phase = jnp.where(half == 0, 1, jnp.sign(half))
        order = jnp.argsort(-s)
        u = Permuted(Product.of(self._of(phase), basis), None, order)
        return u, s[order], Permuted(basis.H, order, None)

    def _function(self, f: Callable[[jax.Array], jax.Array], name: str) -> "Circulant":
        del name  # every circulant matrix has functions, Hermitian or not
        values = kernels.spectrum(self.row)
        if jnp.iscomplexobj(self.row):
            return self._of(f(values))
        alone = _unpaired(len(self))
        of_real = f(jnp.where(alone, values.real, 1)).astype(values.dtype)
        return self._of(jnp.where(alone, of_real, f(jnp.where(alone, 1, values))))

    def _power(self, exponent: int | float) -> "Circulant":
        return self._function(lambda values: values**exponent, "power")


class CirculantSpec(Spec):
    """Asks for a circulant matrix, which is square; the fit is the mean of each wrapped diagonal.

    Raises:
        ValueError: The shape is not square.
    """

    weighs = (Rows, Fisher)

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "CirculantSpec":
        del dtype
        _side(shape)
        return self

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Circulant:
        n = _side(shape)
        return Circulant(jax.random.normal(key, (n,), dtype) * jnp.asarray(n**-0.5, dtype))

    def _fit(self, dense: jax.Array, weights: Any) -> Circulant:
        _side(dense.shape)
        return Circulant(decompose.nearest_circulant(dense, entry_weights(weights)))


def entry_weights(weights: Any) -> jax.Array | None:
    """Weights of rows or entries as an array that broadcasts against ``(m, n)``."""
    return weights.values[:, None] if isinstance(weights, Rows) else weights and weights.values


def _side(shape: tuple[int, ...]) -> int:
    m, n = shape
    if m != n:
        raise ValueError(
            f"A circulant matrix is square; {m} x {n} is not. `Toeplitz` has the same diagonals in "
            "any shape."
        )
    return m


def _unpaired(n: int) -> jax.Array:
    """Which of the ``n // 2 + 1`` coefficients of ``n`` real numbers are real themselves."""
    k = jnp.arange(n // 2 + 1)
    return (k == 0) | (2 * k == n)
