"""Random projections of arrays and of hashed features: signs, ternary numbers, or as they are."""

from typing import Any

import jax
import jax.numpy as jnp

from structlin import kernels
from structlin.matrices import Projection

__all__ = [
    "pack_signs",
    "project",
    "project_features",
    "projected_columns",
    "signs",
    "unpack_signs",
]

OUTPUTS = {"real": 1, "sign": 1, "ternary": 2}
"""What comes out -> how many random columns each number of it takes."""


def projected_columns(features: int, output: str = "sign") -> int:
    """The random columns that ``features`` numbers of an output take.

    Raises:
        ValueError: There is no such output.
    """
    if output not in OUTPUTS:
        raise ValueError(f"A projection gives {', '.join(OUTPUTS)}; given output={output!r}.")
    return features * OUTPUTS[output]


@jax.custom_jvp
def signs(x: jax.Array) -> jax.Array:
    """1, or -1 where ``x`` is negative; the derivative is that of ``x``.

    Reference:
        Bengio et al. (2013), "Estimating or propagating gradients through stochastic neurons", the
        straight-through estimator.
    """
    return jnp.where(x < 0, -1, 1).astype(x.dtype)


@signs.defjvp
def _signs_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> Any:
    return signs(*primals), tangents[0]


def project(
    inputs: jax.Array, features: int, *, seed: int = 0, kind: str = "sign", output: str = "sign"
) -> jax.Array:
    """Inputs times a random matrix that is never stored.

    Args:
        inputs: ``(..., in)``.
        features: How many numbers come out; T functions of d bits give ``T d``.
        seed: Which of the random matrices.
        kind: Its entries, as in `structlin.matrices.Projection`.
        output: ``"real"`` for the products; ``"sign"`` for their signs, 1 or -1; ``"ternary"`` for
            half the difference of the signs of two products: 0 half of the time, else 1 or -1.

    Returns:
        ``(..., features)`` in the dtype of the inputs, float32 for integers. Gradients pass a
        sign as if it were not there.

    Raises:
        ValueError: There is no such kind or output.

    Reference:
        Ravi (2017), "ProjectionNet", for signs. Kaliamoorthi et al. (2019), "PRADO", for ternary
        numbers from pairs of bits.
    """
    inputs = jnp.asarray(inputs)
    dtype = inputs.dtype if jnp.issubdtype(inputs.dtype, jnp.floating) else jnp.float32
    shape = inputs.shape[-1], projected_columns(features, output)
    return _outputs(inputs.astype(dtype) @ Projection.of(shape, seed, kind, dtype), output)


def project_features(
    ids: jax.Array,
    weights: jax.Array | None,
    features: int,
    *,
    seed: int = 0,
    kind: str = "sign",
    output: str = "sign",
) -> jax.Array:
    """The mean of the random rows of hashed features, of which there may be ``2**32``.

    The entry of a feature in a column is the hash of both, so there is no vocabulary. With integer
    weights that sum to less than ``2**23``, and any kind but ``"normal"``, sums are exact: the
    results are the same bits in any order and wherever a division rounds to the nearest number.

    Args:
        ids: The features of each example, integers below ``2**32``, ``(..., count)``.
        weights: What each counts, ``(..., count)``, at least 0; 0 for padding. All count
            1 if ``None``.
        features: How many numbers come out.
        seed: Which of the random matrices.
        kind: Its entries: ``"sign"``; ``"ternary"``, which is 0 half of the time, else 1 or -1;
            ``"uniform"`` between -1 and 1; or ``"normal"``.
        output: As for `project`.

    Returns:
        ``(..., features)``, float32: the mean, 0 where nothing counts, its signs, or half the
        difference of two of them.

    Raises:
        ValueError: There is no such kind or output.

    Reference:
        Ravi and Kozareva (2018), "Self-governing neural networks for on-device short text
        classification". Their code takes means of uniform numbers without a sign, as ``"uniform"``
        with ``"real"`` does here; the hashes differ.
    """
    if kind not in kernels.HASH_ENTRIES:
        kinds = ", ".join(kernels.HASH_ENTRIES)
        raise ValueError(f"A projection is of kind {kinds}; given {kind!r}.")
    entries = kernels.HASH_ENTRIES[kind]
    counts = jnp.ones(ids.shape, jnp.int32) if weights is None else weights
    columns = jnp.arange(projected_columns(features, output), dtype=jnp.int32)
    exact = kind != "normal" and not jnp.issubdtype(counts.dtype, jnp.inexact)
    scale, dtype = (256, jnp.int32) if exact else (1, jnp.float32)
    counts = counts.astype(dtype)

    def add(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        words = kernels.hash_words(part[0][..., None], columns, seed)
        rows = part[1][..., None] * (scale * entries(words)).astype(dtype)
        return total + jnp.sum(rows, axis=-2, dtype=dtype), None

    # A few features at a time, as in a product with `Projection`: the entries are never all there.
    few = min(max(1, 65536 // columns.size), ids.shape[-1])
    zero = jnp.zeros((*ids.shape[:-1], columns.size), dtype)
    total = jax.lax.scan(add, zero, (_parts(ids, few), _parts(counts, few)))[0] if few else zero
    sums = scale * jnp.sum(counts, axis=-1, keepdims=True, dtype=dtype)
    # XLA divides by multiplying with the reciprocal, or not, as it sees fit: so do it always.
    inverse = 1 / jnp.where(sums == 0, 1, sums).astype(jnp.float32)
    return _outputs(total.astype(jnp.float32) * inverse, output)


def pack_signs(x: jax.Array, output: str = "sign") -> jax.Array:
    """Signs in a bit each, 1 for -1, or ternary numbers in two, 2 for -1.

    Args:
        x: ``(..., features)``.
        output: ``"sign"`` or ``"ternary"``.

    Returns:
        ``(..., ceil(features / 8))`` bytes, or ``(..., ceil(features / 4))``.

    Raises:
        ValueError: The output is neither.
    """
    if output not in ("sign", "ternary"):
        raise ValueError(f"Signs and ternary numbers can be packed; given output={output!r}.")
    codes = x < 0 if output == "sign" else jnp.where(x < 0, 2, x > 0)
    return kernels.pack_bits(codes, projected_columns(1, output))


def unpack_signs(stream: jax.Array, features: int, output: str = "sign") -> jax.Array:
    """The inverse of `pack_signs`: ``(..., features)``, float32."""
    codes = kernels.unpack_bits(stream, projected_columns(1, output), features)
    if output == "sign":
        return 1 - 2 * codes.astype(jnp.float32)
    return (codes == 1).astype(jnp.float32) - (codes == 2).astype(jnp.float32)


def _outputs(x: jax.Array, output: str) -> jax.Array:
    if output == "real":
        return x
    bits = signs(x)
    return bits if output == "sign" else (bits[..., ::2] - bits[..., 1::2]) / 2


def _parts(x: jax.Array, few: int) -> jax.Array:
    """``(..., count)`` as ``(parts, ..., few)``, filled up with zeros."""
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % few)])
    return jnp.moveaxis(padded.reshape(*x.shape[:-1], -1, few), -2, 0)
