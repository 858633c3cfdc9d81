"""Whole trees in few bits: codes and half precision by patterns of paths."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from structlin.matrices import Dense, Quantized, is_matrix
from structlin.surgery._model import is_nnx, weights_of, with_weights
from structlin.surgery._paths import replace

__all__ = ["quantize"]

HALVES = ("float16", "bfloat16")


def quantize(
    tree: Any,
    bits: Mapping[str, int | str],
    codebook: str = "uniform",
    per: int | str = "tensor",
    clip: str | None = None,
    feedback: bool = False,
) -> Any:
    """A tree or model with its weights in few bits: trained, packed, and now small.

    Codes take the place of dense weights of two axes and of matrices of any structure; a model runs
    on them as it is. Half precision suits every leaf. Integers stay as they are, and so do vectors
    where codes are asked for.

    Args:
        tree: Any tree of arrays and matrices, or an NNX model, of which a new one is made.
        bits: Patterns that match a weight's whole path (``".*/kernel"``) to the bits of its codes,
            1 to 8, or ``"float16"`` or ``"bfloat16"``; the first match counts.
        codebook: As in `structlin.matrices.Quantized.of`, like the rest.
        per: What has levels of its own.
        clip: Where evenly spaced levels end.
        feedback: Whether later terms of a sum take up what earlier ones lose.

    Raises:
        ValueError: A pattern matches nothing, there are no such codes, or a weight has more than
            two axes or is in codes already.

    Examples:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.eye(64), "bias": jnp.zeros(64)}
        >>> small = quantize(params, {"kernel": 2, "bias": "float16"}, codebook="symmetric")
        >>> small["kernel"].cost().bytes, small["bias"].dtype
        (1028, dtype('float16'))
    """
    leaves, _ = weights_of(tree)
    for pattern in bits:
        if not any(re.fullmatch(pattern, path) for path in leaves):
            raise ValueError(f"Pattern {pattern!r} matches no weight; there are: {list(leaves)}.")
    values = {}
    for path, leaf in leaves.items():
        asked = next((b for pattern, b in bits.items() if re.fullmatch(pattern, path)), None)
        if asked is None or not (is_matrix(leaf) or jnp.issubdtype(leaf.dtype, jnp.inexact)):
            continue
        if isinstance(asked, str):
            values[path] = _halved(asked, leaf)
        elif is_matrix(leaf) or leaf.ndim > 1:
            matrix = _as_matrix(path, leaf)
            values[path] = Quantized.of(matrix, asked, codebook, per, clip, feedback)
    return with_weights(tree, values) if is_nnx(tree) else replace(tree, values)


def _halved(dtype: str, leaf: Any) -> Any:
    if dtype not in HALVES:
        raise ValueError(f"bits are 1 to 8, 'float16' or 'bfloat16'; given {dtype!r}.")
    return leaf.astype(dtype) if is_matrix(leaf) else jnp.asarray(leaf, dtype)


def _as_matrix(path: str, leaf: Any) -> Any:
    if any(isinstance(part, Quantized) for part in jax.tree.leaves(leaf, is_leaf=_is_coded)):
        raise ValueError(f"{path} is in codes already: quantise what it was made of.")
    if is_matrix(leaf):
        return leaf.pack()
    if leaf.ndim != 2:
        raise ValueError(
            f"{path} has the shape {leaf.shape}, and codes are for matrices (m, n): give it "
            "'float16' or 'bfloat16', or reshape it."
        )
    return Dense(jnp.asarray(leaf))


def _is_coded(node: Any) -> bool:
    return isinstance(node, Quantized)
