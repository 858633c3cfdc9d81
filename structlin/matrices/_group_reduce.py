"""Low rank for groups of words that their frequencies and the fit itself decide."""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from structlin import decompose, kernels
from structlin.matrices._base import Matrix
from structlin.matrices._dense import Dense, DenseSpec
from structlin.matrices._low_rank import LowRank, LowRankSpec, low_rank_factors, whole_number
from structlin.matrices._majorize import majorized
from structlin.matrices._quantized import Quantized, check_codes
from structlin.matrices._row_groups import RowGroups, label_bytes
from structlin.matrices._spec import Spec, budget, check_size, too_small
from structlin.matrices._weights import Covariance, Fisher, Rows

__all__ = ["GroupReduceSpec"]

WAYS = {"grouping": ("kmeans", "equal"), "ranks": ("spectrum", "frequency")}


class GroupReduceSpec(Spec):
    """Asks for groups of words, each of low rank or dense, by what the words are worth.

    Words are rows; inside `Transposed` they are columns. Without weights nothing says what to
    choose: groups of neighbours, as equal in size as can be, have one rank, as `init` draws them.
    Under weights groups start from the frequency of each word (its weight, the mean of its `Fisher`
    weights, its entry on the diagonal of a `Covariance`), have ranks of their own and are refined;
    equal weights group words by their vectors alone. Shapes then follow from values, so that fit
    runs outside ``jit``.

    Attributes:
        compression: Dense bytes over stored bytes to reach, labels and tables of levels counted.
        groups: How many groups at most, 1 to 256.
        bytes: In place of ``compression``, the bytes to stay within.
        grouping: ``"kmeans"`` or ``"equal"``, as `structlin.decompose.frequency_groups` has them.
        ranks: ``"spectrum"`` or ``"frequency"``, as `structlin.decompose.group_reduce` has them.
        rounds: How many rounds of refinement at most; without any, words keep their first groups.
        bits: The bits of each number, 1 to 8, or those of each group, the most frequent first;
            ``None`` leaves numbers as they are. Codes do not train.
        codebook: The levels of the codes, as `structlin.decompose.table_of` has them.

    Raises:
        ValueError: Not exactly one of ``compression`` and ``bytes`` is given, or a field makes no
            sense.

    Reference:
        Chen et al. (2018), "GroupReduce: block-wise low-rank approximation for neural language
        model shrinking": ``grouping="equal", ranks="frequency"``. The defaults are not theirs.
    """

    weighs = (Rows, Fisher, Covariance)
    size_field = "bytes"

    compression: float | None = None
    groups: int = 5
    bytes: int | None = None
    grouping: str = "kmeans"
    ranks: str = "spectrum"
    rounds: int = 30
    bits: int | tuple[int, ...] | None = None
    codebook: str = "kmeans"

    def __post_init__(self) -> None:
        check_size(self, required=True)
        for field, least in (("bytes", 1), ("groups", 1), ("rounds", 0)):
            whole_number(self, field, least)
        for field, known in WAYS.items():
            if getattr(self, field) not in known:
                raise ValueError(f"GroupReduce has {field} {' or '.join(known)}; given {self}.")
        if self.groups > 256:
            raise ValueError(f"GroupReduce has 256 groups at most; given {self}.")
        if isinstance(self.bits, tuple | list):
            object.__setattr__(self, "bits", tuple(self.bits))
        if len(self._bits) != self.groups:
            raise ValueError(f"GroupReduce needs one number of bits for each group; given {self}.")
        for bits in filter(None, self._bits):
            check_codes(bits, self.codebook)

    @property
    def _bits(self) -> tuple[int | None, ...]:
        return self.bits if isinstance(self.bits, tuple) else (self.bits,) * self.groups

    def sized(self, shape: tuple[int, int], dtype: Any = jnp.float32) -> "GroupReduceSpec":
        if self.compression is None:
            return self
        size = max(budget(self, shape, dtype), 1)
        return dataclasses.replace(self, compression=None, bytes=size)

    def init(self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> RowGroups:
        (sizes, ranks), (m, n), made = self._equal(shape, dtype), shape, []
        keys = jax.random.split(key, self.groups)
        for k, g, r, bits in zip(keys, sizes, ranks, self._bits, strict=True):
            spec = DenseSpec() if r == n else LowRankSpec(rank=r)
            drawn: Any = spec.init(k, (g, n), dtype)
            drawn = drawn._times_scalar(jnp.asarray((g / m) ** 0.5, dtype))
            made.append(self._coded(drawn, bits))
        return RowGroups(tuple(made))

    def _fit(self, dense: jax.Array, weights: Any) -> RowGroups:
        m, n = dense.shape
        sizes, ranks = self._equal((m, n), dense.dtype)
        if weights is None:
            return self._made(dense, np.repeat(np.arange(self.groups), sizes), ranks)
        if isinstance(dense, Tracer) or isinstance(weights.values, Tracer):
            raise ValueError("GroupReduce chooses groups by values: fit it outside jit.")
        values = weights.values.astype(decompose.wide_dtype(dense.dtype))
        if isinstance(weights, Covariance):
            shares = jnp.diagonal(values).real
        else:
            # Zeros would leave a group without a basis; this is next to nothing.
            values = jnp.maximum(values.real, jnp.finfo(values.dtype).eps * jnp.max(values.real))
            if isinstance(weights, Fisher) and bool(jnp.all(values == values[:, :1])):
                weights, values = Rows(values[:, 0]), values[:, 0]
            weights = type(weights)(values)
            shares = values if isinstance(weights, Rows) else jnp.mean(values, axis=1)
        found = self._chosen(dense, shares)
        if isinstance(weights, Rows):
            return self._made(dense, found.labels, found.ranks, bases=found.bases)
        if isinstance(weights, Fisher):
            return self._made(dense, found.labels, found.ranks, weights)
        start = self._made(dense, found.labels, found.ranks, bases=found.bases)

        def refit(target: jax.Array) -> RowGroups:
            return self._made(target, found.labels, found.ranks)

        return majorized(dense, weights, start, refit)

    def _equal(self, shape: tuple[int, int], dtype: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The sizes of equal groups, and their ranks: the largest for all within the budget."""
        m, n = shape
        if self.groups > m:
            raise ValueError(f"{self} needs a row for each group; the matrix has {m}.")
        sizes, most = decompose.rank_block_sizes(m, self.groups), self._budget(shape, dtype)

        def ranks(rank: int) -> tuple[int, ...]:
            return tuple(decompose.group_rank(rank, g, n) for g in sizes)

        def fits(rank: int) -> bool:
            return self._stored(ranks(rank), sizes, n, dtype) <= most

        if not fits(1):
            raise self._too_small(shape, dtype, self._stored(ranks(1), sizes, n, dtype))
        low, high = 1, min(m, n)
        while low < high:  # what is stored grows with the rank: halve the interval
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        return sizes, ranks(low)

    def _chosen(self, dense: jax.Array, shares: jax.Array) -> decompose.Groups:
        """The better of the first groups, where they need no labels, and the refined ones."""
        (m, n), dtype = dense.shape, dense.dtype
        rows = np.asarray(dense.astype(decompose.wide_dtype(dtype)))
        labels = decompose.frequency_groups(shares, self.groups, self.grouping)
        plain = bool(np.all(labels[1:] >= labels[:-1]))
        tries = [(0, 0)] if plain else []
        tries += [(self.rounds, label_bytes(m, self.groups))] if self.rounds or not plain else []
        found, most, stored = [], self._budget((m, n), dtype), 0
        for (rounds, taken), (units, tables) in itertools.product(tries, self._units(most, dtype)):
            left = most - tables - taken
            if left <= 0:
                continue
            made = decompose.group_reduce(
                rows, shares, labels, left, units, ranks=self.ranks, rounds=rounds
            )
            sizes = np.bincount(made.labels, minlength=self.groups).tolist()
            stored = self._stored(made.ranks, sizes, n, dtype) + taken
            found += [made] if stored <= most else []
        if not found:
            raise self._too_small((m, n), dtype, max(stored, most + 1))
        return min(found, key=lambda made: made.error)

    def _units(self, most: int, dtype: Any) -> Iterator[tuple[list[float], int]]:
        """The bytes of a number in each group, and of all tables of levels.

        With codes, for which a small matrix may have no room, and then without.
        """
        tables = sum(2 * (_table_bytes(dtype, bits, self.codebook) + 1) for bits in self._bits)
        yield [_number_bytes(dtype, bits) for bits in self._bits], tables
        if any(self._bits) and 2 * tables > most:
            yield [_number_bytes(dtype, None)] * self.groups, 0

    def _made(
        self,
        dense: jax.Array,
        labels: np.ndarray,
        ranks: tuple[int, ...],
        weights: Fisher | None = None,
        bases: tuple[np.ndarray, ...] | None = None,
    ) -> RowGroups:
        """Groups and ranks that are given, on their bases or with the best factors there are."""
        rows: Any = dense if isinstance(dense, Tracer) else np.asarray(dense)
        made, kept = [], np.unique(labels)
        for p in kept:
            index, rank = np.flatnonzero(labels == p), ranks[p]
            part = rows[index]
            if rank == dense.shape[1]:
                group: Matrix = Dense(jnp.asarray(part))
            elif bases is not None:
                pair = decompose.on_basis(part, bases[p])
                group = LowRank(*map(jnp.asarray, pair))
            else:
                share = weights and Fisher(weights.values[index])
                group = LowRank(*low_rank_factors(jnp.asarray(part), rank, share))
            made.append(self._coded(group, self._bits[p]))
        return RowGroups.of(made, np.searchsorted(kept, labels))

    def _coded(self, group: Matrix, bits: int | None) -> Matrix:
        if bits is None:
            return group
        group = _spread(group) if isinstance(group, LowRank) else group
        return Quantized.of(group, bits, self.codebook)

    def _budget(self, shape: tuple[int, int], dtype: Any) -> int:
        return self.sized(shape, dtype).bytes or 0

    def _stored(self, ranks: Any, sizes: Any, n: int, dtype: Any) -> int:
        """The bytes of groups of these sizes and ranks."""
        total = 0
        for rank, size, bits in zip(ranks, sizes, self._bits, strict=True):
            counts = [size * n] if rank == n else [size * rank, rank * n]
            total += sum(_array_bytes(count, dtype, bits, self.codebook) for count in counts)
        return total

    def _too_small(self, shape: tuple[int, int], dtype: Any, least: int) -> ValueError:
        dense = math.prod(shape) * jnp.dtype(dtype).itemsize
        asked = dataclasses.replace(
            self, bytes=None, compression=dense / self._budget(shape, dtype)
        )
        return too_small(asked, shape, dtype, least, "rank 1 for each group")


def _spread(matrix: LowRank) -> LowRank:
    """The same matrix with factors whose entries are of one size, as a table of levels needs.

    The right factor becomes orthonormal; a rotation between the two then gives each column of the
    left one the same share of the whole.
    """
    xp = jnp if isinstance(matrix.left, Tracer) else np
    left, right = xp.asarray(matrix.left), xp.asarray(matrix.right)
    rank, kind = right.shape[0], decompose.wide_dtype(right.dtype)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(rank, rank)))[0].astype(kind)
    base, rest = xp.linalg.qr(right.astype(kind).conj().T)
    pair = left.astype(kind) @ rest.conj().T @ turn, turn.T @ base.conj().T
    return LowRank(*(jnp.asarray(x, matrix.dtype) for x in pair))


def _number_bytes(dtype: Any, bits: int | None) -> float:
    return jnp.dtype(dtype).itemsize if bits is None else bits / 8 * _parts(dtype)


def _table_bytes(dtype: Any, bits: int | None, codebook: str) -> int:
    if bits is None:
        return 0
    levels = {"uniform": 2, "symmetric": 1}.get(codebook) or 2**bits
    return levels * jnp.dtype(dtype).itemsize


def _array_bytes(count: int, dtype: Any, bits: int | None, codebook: str) -> int:
    """The bytes of ``count`` numbers: coded, or as they are where that takes no more."""
    plain = count * jnp.dtype(dtype).itemsize
    if bits is None:
        return plain
    coded = kernels.stream_bytes(count * _parts(dtype), bits)
    return min(plain, coded + _table_bytes(dtype, bits, codebook))


def _parts(dtype: Any) -> int:
    """The real numbers of a number."""
    return 2 if jnp.issubdtype(jnp.dtype(dtype), jnp.complexfloating) else 1
