"""Quantisation-aware training: the loss sees the numbers that codes will name."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin import decompose
from structlin.matrices import Masked
from structlin.matrices._quantized import check_codes, is_coded, run_of
from structlin.train._paths import check_patterns, first_match
from structlin.train._supports import leaf_path

__all__ = ["codebooks", "fake_quantize"]


def fake_quantize(
    params: Any,
    bits: Mapping[str, int],
    codebook: str = "uniform",
    tables: Mapping[str, jax.Array] | None = None,
    per: int | str = "tensor",
    clip: str | None = None,
) -> Any:
    """The parameters as they will be once quantised, for the loss; gradients pass straight through.

    What is trained stays in full precision. Quantised afterwards by ``specs.Quantized`` of the same
    arguments, without feedback, a weight has the numbers that a call with fresh tables gives:
    exactly those outside ``jit``, and but for rounding inside. Arrays that it would keep as they
    are, because codes take no less, are kept here as well. The pruned entries of a `Masked` matrix
    stay zero and have no part in its levels, as when it is packed; in the state of an NNX model
    nothing tells that it is one, so give the model.

    Args:
        params: A tree of arrays and matrices, or an NNX model.
        bits: Patterns that match a leaf's whole path (``".*/kernel(/.*)?"``) to the bits of its
            codes; the first match counts.
        codebook: ``"uniform"``, ``"symmetric"``, ``"kmeans"`` or ``"quantile"``.
        tables: What `codebooks` returned, some steps ago at most; if not given, tables follow the
            values of this call. Those by k-means take long and, under ``jit``, fewer digits.
        per: What has levels of its own, ``"tensor"``, ``"row"`` or so many numbers. A `Masked`
            matrix has one table, since packing moves its entries to other rows.
        clip: Where evenly spaced levels end; both are as in `structlin.matrices.Quantized.of`.

    Returns:
        ``params`` with the level that is nearest in place of each number. With ``tables``, numbers
        beyond the outermost levels by more than half a step there get no gradient.

    Raises:
        ValueError: A pattern matches nothing, a complex array, or a `Masked` matrix that is to have
            several tables; or there are no such codes.

    Reference:
        Bengio et al. (2013), "Estimating or propagating gradients through stochastic neurons",
        for the gradient.
    """

    def one(path: str, leaf: jax.Array, count: int, pruned: jax.Array | None) -> jax.Array:
        fixed, run = jax.lax.stop_gradient(leaf), run_of(leaf.shape, per)
        if tables is None:
            table = _table(fixed, pruned, count, codebook, clip, run)
        else:
            table = tables[path].astype(leaf.dtype)
        codes = decompose.codes_of(fixed, table, count, codebook, run)
        level = decompose.levels(codes, table, count, codebook, run)
        if tables is None:
            inside = jnp.ones((), bool)
        else:
            inside = _inside(fixed, table, count, codebook, run)
        through = jnp.where(inside, leaf, fixed)
        # The sum is exactly the level: what is added to it is an exact zero.
        found = level + (through - fixed)
        return found if pruned is None else jnp.where(pruned, leaf, found)

    return _map_coded(one, params, bits, codebook, per, clip)


def codebooks(
    params: Any,
    bits: Mapping[str, int],
    codebook: str = "uniform",
    per: int | str = "tensor",
    clip: str | None = None,
) -> dict[str, jax.Array]:
    """The tables of levels of the parameters as they are, outside ``jit``.

    Args:
        params: As in `fake_quantize`.
        bits: As there.
        codebook: As there, like the rest.
        per: What has levels of its own.
        clip: Where evenly spaced levels end.

    Returns:
        The leaf's path to its table, as `structlin.decompose.table_of` makes it.

    Raises:
        ValueError: As there.
    """
    found: dict[str, jax.Array] = {}

    def one(path: str, leaf: jax.Array, count: int, pruned: jax.Array | None) -> jax.Array:
        run = run_of(leaf.shape, per)
        found[path] = _table(leaf, pruned, count, codebook, clip, run)
        return leaf

    _map_coded(one, params, bits, codebook, per, clip)
    return found


def _table(
    values: jax.Array, pruned: jax.Array | None, bits: int, codebook: str, *rest: Any
) -> jax.Array:
    """The table of what is not pruned; ``rest`` is as `structlin.decompose.table_of` takes it."""
    if pruned is None:
        return decompose.table_of(values, bits, codebook, *rest)
    if not isinstance(values, Tracer):
        values = jnp.asarray(np.asarray(values)[~np.asarray(pruned)])
    elif (
        codebook in ("uniform", "symmetric") and rest[0] is None
    ):  # only the ends count: pruned ones stand aside
        values = jnp.where(pruned, values.reshape(-1)[jnp.argmax(jnp.abs(values))], values)
    else:
        raise ValueError(
            f"Under jit the {codebook} table of a pruned matrix is out of reach: give tables=, "
            "from codebooks(params, ...) outside jit."
        )
    return decompose.table_of(values, bits, codebook, *rest)


def _inside(
    values: jax.Array, table: jax.Array, bits: int, codebook: str, run: int | None
) -> jax.Array:
    """Which numbers are within half a step of the range of their levels."""
    last = 2**bits - 1 - (codebook == "symmetric")

    def level(code: int) -> jax.Array:
        codes = jnp.full(values.shape, code, jnp.uint8)
        return decompose.levels(codes, table, bits, codebook, run)

    low, high = level(0), level(last)
    low, high = low - (level(1) - low) / 2, high + (high - level(last - 1)) / 2
    return (low <= values) & (values <= high)


def _map_coded(
    function: Any,
    params: Any,
    bits: Mapping[str, int],
    codebook: str,
    per: int | str,
    clip: str | None,
) -> Any:
    """``params`` with ``function(path, leaf, bits, pruned)`` where codes are worth it."""
    check_patterns(bits, params)
    for count in bits.values():
        check_codes(count, codebook, per, clip)

    def leaf_of(path: Any, leaf: Any, node: Any) -> Any:
        name, sparse = leaf_path(path), isinstance(node, Masked)
        count = first_match(bits, name)
        if count is None or not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise ValueError(f"fake_quantize takes real numbers; {name} is {leaf.dtype}.")
        if sparse and per != "tensor":
            raise ValueError(
                f"{name} is pruned, and packing moves its entries to other rows: per={per!r} would "
                "not be what is stored. Leave per at 'tensor' for it, in a call of its own."
            )
        shape = (round(leaf.size * node.density),) if sparse else leaf.shape
        if not is_coded(shape, leaf.dtype, count, codebook, per):
            return leaf
        return function(name, leaf, count, leaf == 0 if sparse else None)

    def node_of(path: Any, node: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda below, leaf: leaf_of((*path, *below), leaf, node), node
        )

    return jax.tree_util.tree_map_with_path(
        node_of, params, is_leaf=lambda x: isinstance(x, Masked)
    )
