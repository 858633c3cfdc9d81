"""Rows to be stored, from whatever holds them, some at a time."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin.matrices import Matrix
from structlin.storage.store._rows import AT_ONCE

__all__ = ["Source"]

_SAMPLE = 2**20  # numbers of which a table of levels is made


@dataclasses.dataclass
class Source:
    """Rows that come in blocks.

    Attributes:
        dim: The numbers in a row.
        count: How many rows there are, if that is known.
        sample: Gives some of the rows, from all over where that can be had.
        blocks: All rows in order, float32 arrays ``(k, dim)``.
    """

    dim: int
    count: int | None
    sample: Callable[[], np.ndarray]
    blocks: Iterator[np.ndarray]

    @classmethod
    def of(cls, rows: Any) -> "Source":
        """The rows of an array, of a structured matrix, or of an iterable of arrays.

        Raises:
            TypeError: It is none of these, or its numbers are not real.
            ValueError: It has no rows, or rows without numbers.
        """
        if isinstance(rows, Matrix):
            return _of_matrix(rows)
        if hasattr(rows, "shape"):
            if len(rows.shape) != 2 or 0 in rows.shape:
                raise ValueError(
                    f"Rows are an array (n, dim) with n and dim at least 1; given {rows.shape}."
                )
            # One array of JAX's is copied once, since each of its slices would be compiled.
            return _of_array(np.asarray(rows) if isinstance(rows, jax.Array) else rows)
        if isinstance(rows, str | bytes | dict) or not isinstance(rows, Iterable):
            raise TypeError(
                "Rows are an array, a structured matrix or an iterable of arrays; given a "
                f"{type(rows).__name__}."
            )
        return _of_iterable(rows)


def _of_array(rows: Any) -> Source:
    count, dim = rows.shape
    return Source(
        dim,
        count,
        lambda: _real(rows[:: _apart(count, dim)]),
        (_real(rows[start:stop]) for start, stop in _ends(count, dim)),
    )


def _of_matrix(matrix: Matrix) -> Source:
    count, dim = matrix.shape
    return Source(
        dim,
        count,
        lambda: _real(matrix.take(jnp.arange(0, count, _apart(count, dim)))),
        (_real(matrix.take(jnp.arange(*ends))) for ends in _ends(count, dim)),
    )


def _of_iterable(blocks: Iterable[Any]) -> Source:
    given = map(_real, blocks)
    first = next(given, np.zeros((0, 0)))
    if 0 in first.shape:
        raise ValueError(f"The first block of rows is {first.shape}: give some rows.")
    dim = first.shape[1]

    def pieces() -> Iterator[np.ndarray]:
        for block in itertools.chain([first], given):
            if block.shape[1] != dim:
                raise ValueError(f"Rows of {dim} numbers are followed by rows of {block.shape[1]}.")
            for start, stop in _ends(len(block), dim):
                yield block[start:stop]

    return Source(dim, None, lambda: first[:: _apart(*first.shape)], pieces())


def _real(block: Any) -> np.ndarray:
    """Rows ``(k, dim)``, float32."""
    block = np.asarray(block)
    if block.ndim != 2:
        raise ValueError(
            f"A block of rows is an array (k, dim); given {block.shape}. Rows that are a list need "
            "np.asarray."
        )
    if not any(jnp.issubdtype(block.dtype, kind) for kind in (jnp.floating, jnp.integer)):
        raise TypeError(f"Rows are real numbers; given {block.dtype}.")
    with np.errstate(over="ignore"):  # what becomes infinite is refused with its place
        return block.astype(np.float32, copy=False)


def _ends(count: int, dim: int) -> Iterator[tuple[int, int]]:
    step = max(1, AT_ONCE // dim)
    return ((start, min(start + step, count)) for start in range(0, count, step))


def _apart(count: int, dim: int) -> int:
    """How far apart the rows of a sample are."""
    return max(1, count * dim // _SAMPLE)
