"""Small instances of every structure and every spec, for the tests that run over all of them.

A new structure adds one line to ``CASES`` and its spec one to ``SPEC_CASES``. The last case of a
structure is the large one: big enough for a test to tell a dense intermediate from its own numbers.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import kernels, specs
from structlin import matrices as ms

Factory = Callable[[jax.Array, Any], ms.Matrix]


class Draw:
    """Normal numbers of a dtype from a random key, without compiling anything."""

    def __init__(self, key: jax.Array, dtype: Any) -> None:
        self.rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        self.dtype = jnp.dtype(dtype)

    def __call__(self, *shape: int) -> jax.Array:
        """Normal numbers of ``shape``."""
        values = self.rng.normal(size=shape)
        if jnp.issubdtype(self.dtype, jnp.complexfloating):
            values = values + 1j * self.rng.normal(size=shape)
        return jnp.asarray(values.astype(self.dtype))

    def rows(self, slots: int, m: int, n: int) -> jax.Array:
        """For each of ``n`` columns ``slots`` different rows below ``m``, ``(slots, n)``."""
        order = np.argsort(self.rng.random((m, n)), axis=0)[:slots]
        return jnp.asarray(order.astype(np.min_scalar_type(m - 1)))

    def codes(self, groups: int, kept: int, group: int, n: int) -> jax.Array:
        """For each column of each group ``kept`` different rows of it, as streams of bits."""
        places = np.argsort(self.rng.random((groups, group, n)), axis=1)[:, :kept]
        return kernels.pack_bits(jnp.asarray(places), (group - 1).bit_length())

    def support(self, m: int, n: int, slots: int) -> jax.Array:
        """Values ``(m, n)`` with ``slots`` nonzeros in each column."""
        order = np.argsort(np.argsort(self.rng.random((m, n)), axis=0), axis=0)
        return jnp.asarray(np.where(order < slots, self(m, n), 0).astype(self.dtype))


def drawn(build: Callable[..., ms.Matrix]) -> Callable[..., Factory]:
    """From ``build(draw, *sizes)`` a function of the sizes that returns a factory."""
    return lambda *sizes: lambda key, dtype: build(Draw(key, dtype), *sizes)


dense = drawn(lambda d, m, n: ms.Dense(d(m, n)))
diagonal = drawn(lambda d, n: ms.Diagonal(d(n)))
kronecker = drawn(lambda d, *shapes: ms.Kronecker(tuple(d(*s) for s in shapes)))
low_rank = drawn(lambda d, m, r, n: ms.LowRank(d(m, r), d(r, n)))
hmd = drawn(lambda d, m, n, j, k: ms.HMD(d(m, j), d(m, k), d(n - j)))
masked = drawn(lambda d, m, n, slots: ms.Masked(d.support(m, n, slots), slots / m))
block_sparse = drawn(
    lambda d, m, n, slots, r, c: ms.BlockSparse(
        d(slots, n // c, r, c), d.rows(slots, m // r, n // c), m
    )
)
nm_sparse = drawn(
    lambda d, groups, n, kept, group: ms.NMSparse(
        d(groups, kept, n), d.codes(groups, kept, group, n), group
    )
)
block_low_rank = drawn(
    lambda d, n, *groups: ms.BlockLowRank(
        tuple(d(g, r) if r else None for g, r in groups),
        tuple(d(r or g, n) for g, r in groups),
        jnp.asarray(d.rng.permutation(sum(g for g, _ in groups)).astype(np.uint8)),
    )
)
sparse = drawn(lambda d, m, n, slots: ms.Sparse(d(slots, n), d.rows(slots, m, n), m))
identity = drawn(lambda d, n: ms.Identity(n, d.dtype.name))
block_stack = drawn(lambda d, k, r, c: ms.BlockDiagonal(d(k, r, c)))
circulant = drawn(lambda d, n: ms.Circulant(d(n)))
toeplitz = drawn(lambda d, m, n: ms.Toeplitz(d(m + n - 1), m))
fourier = drawn(lambda d, n: ms.Fourier.of(n, d.dtype))
projection = drawn(lambda d, m, n, kind: ms.Projection.of((m, n), 3, kind, d.dtype))
monarch = drawn(
    lambda d, k, i, j, width, r, order: ms.Monarch(d(k, i, j * r), d(j, k * r, width), order)
)


def of(combine: Callable[..., ms.Matrix], *parts: Factory) -> Factory:
    """A combinator over what the factories ``parts`` make."""

    def factory(key: jax.Array, dtype: Any) -> ms.Matrix:
        keys = (jax.random.fold_in(key, i) for i in range(len(parts)))
        return combine(*(part(k, dtype) for part, k in zip(parts, keys, strict=True)))

    return factory


def blocks(*parts: Factory) -> Factory:
    """The parts side by side."""
    return of(lambda *made: ms.ColumnBlocks(made), *parts)


def block_diagonal(*parts: Factory) -> Factory:
    """The parts along the diagonal."""
    return of(lambda *made: ms.BlockDiagonal(made), *parts)


def scaled(part: Factory, scalar: float) -> Factory:
    """The part times a number."""
    return of(lambda made: ms.Scaled.of(made, scalar), part)


def quantized(
    part: Factory, bits: int, codebook: str = "uniform", per: int | str = "tensor"
) -> Factory:
    """The part with its numbers in few bits."""
    return of(lambda made: ms.Quantized.of(made, bits, codebook, per), part)


def grouped(*parts: Factory, labels: tuple[int, ...] | None = None) -> Factory:
    """The parts one above the other, their rows in the order of labels."""
    return of(lambda *made: ms.RowGroups.of(made, labels), *parts)


def shuffled(part: Factory, *, rows: bool = True, columns: bool = True) -> Factory:
    """The part with its rows and columns in another order."""

    def factory(key: jax.Array, dtype: Any) -> ms.Matrix:
        inner, rng = part(key, dtype), Draw(key, dtype).rng
        orders = [jnp.asarray(rng.permutation(size).astype(np.int32)) for size in inner.shape]
        return ms.Permuted(inner, orders[0] if rows else None, orders[1] if columns else None)

    return factory


CASES: dict[str, list[Factory]] = {
    "Dense": [dense(1, 4), dense(4, 1), dense(24, 36)],
    "Diagonal": [diagonal(1), diagonal(5), diagonal(30)],
    "Kronecker": [
        kronecker((1, 5)),
        kronecker((3, 1), (2, 1)),
        kronecker((2, 3), (3, 2)),
        kronecker((2, 1), (1, 3), (2, 2)),
        of(ms.Kronecker.of, diagonal(3), kronecker((2, 1)), low_rank(2, 1, 3)),
        kronecker((4, 6), (6, 6)),
    ],
    "KroneckerSum": [
        of(ms.kronecker_sum, dense(1, 1), dense(1, 1)),
        of(ms.kronecker_sum, dense(2, 2), diagonal(3)),
        of(ms.kronecker_sum, dense(4, 4), dense(2, 2), dense(4, 4)),
    ],
    "LowRank": [low_rank(1, 1, 5), low_rank(5, 1, 1), low_rank(24, 3, 36)],
    "HMD": [hmd(1, 4, 1, 1), hmd(4, 1, 0, 1), hmd(4, 7, 0, 3), hmd(24, 36, 5, 2)],
    "Masked": [masked(1, 4, 1), masked(4, 1, 2), masked(24, 36, 3)],
    "Sparse": [sparse(1, 4, 1), sparse(4, 1, 2), sparse(300, 2, 3), sparse(24, 36, 3)],
    "BlockSparse": [
        block_sparse(1, 4, 1, 1, 2),
        block_sparse(4, 1, 2, 2, 1),
        block_sparse(600, 2, 3, 2, 1),
        block_sparse(24, 36, 2, 2, 4),
    ],
    "NMSparse": [
        nm_sparse(1, 1, 1, 2),
        nm_sparse(2, 1, 2, 4),
        nm_sparse(2, 5, 3, 5),
        nm_sparse(6, 36, 2, 4),
    ],
    "BlockLowRank": [
        block_low_rank(5, (1, 1)),
        block_low_rank(1, (2, 1), (3, 1)),
        block_low_rank(7, (2, 0), (3, 2), (1, 1)),
        block_low_rank(36, (4, 0), (8, 3), (12, 1)),
    ],
    "Quantized": [
        quantized(dense(1, 8), 4),
        quantized(dense(20, 1), 3, "symmetric"),
        quantized(dense(9, 7), 2, "kmeans"),
        quantized(dense(5, 13), 4, per="row"),
        quantized(sparse(12, 10, 3), 5),
        quantized(kronecker((4, 6), (6, 6)), 6),
        quantized(low_rank(24, 3, 36), 8, per=10),
    ],
    "ColumnBlocks": [
        blocks(dense(3, 1)),
        blocks(dense(4, 1), diagonal(4), kronecker((2, 1), (2, 2))),
        blocks(low_rank(24, 2, 12), hmd(24, 12, 2, 1), sparse(24, 12, 2)),
    ],
    "Sum": [
        of(ms.Sum.of, dense(1, 1), diagonal(1)),
        of(ms.Sum.of, kronecker((2, 3), (2, 1)), masked(4, 3, 1)),
        of(ms.Sum.of, sparse(3, 5, 1), sparse(3, 5, 2), low_rank(3, 1, 5)),
        of(ms.Sum.of, kronecker((4, 6), (6, 6)), sparse(24, 36, 2)),
    ],
    "Product": [
        of(ms.Product.of, dense(1, 3), low_rank(3, 1, 1)),
        of(ms.Product.of, diagonal(4), kronecker((2, 2), (2, 2)), dense(4, 4)),
        of(ms.Product.of, sparse(3, 4, 1), hmd(4, 5, 1, 2)),
        of(ms.Product.of, low_rank(24, 2, 36), diagonal(36)),
    ],
    "Permuted": [
        shuffled(dense(1, 3)),
        shuffled(kronecker((3, 1), (2, 1)), columns=False),
        shuffled(hmd(4, 7, 2, 1), rows=False),
        shuffled(kronecker((4, 6), (6, 6))),
    ],
    "RowGroups": [
        grouped(dense(1, 3)),
        grouped(low_rank(2, 1, 1), dense(1, 1), labels=(0, 1, 0)),
        grouped(dense(2, 5), low_rank(3, 1, 5), diagonal(5)),
        grouped(
            dense(4, 300), low_rank(12, 3, 300), low_rank(8, 2, 300), labels=(2, 0, 1, 1, 2, 1) * 4
        ),
    ],
    "Scaled": [
        scaled(dense(1, 3), 2.0),
        scaled(diagonal(3), -0.5),
        scaled(sparse(4, 3, 2), 3.0),
        scaled(kronecker((4, 6), (6, 6)), 2.5),
    ],
    "Transposed": [
        of(ms.Transposed, hmd(3, 5, 2, 2)),
        of(ms.Transposed, sparse(5, 3, 2)),
        of(ms.Transposed, blocks(diagonal(3), dense(3, 2))),
        of(ms.Transposed, hmd(36, 24, 3, 2)),
    ],
    "Native": [
        of(ms.Native, dense(1, 4)),
        of(ms.Native, kronecker((3, 1), (2, 1))),
        of(ms.Native, of(ms.Sum.of, low_rank(5, 2, 7), sparse(5, 7, 2))),
        of(ms.Native, kronecker((4, 6), (6, 6))),
    ],
    "Identity": [identity(1), identity(5), identity(30)],
    "BlockDiagonal": [
        block_stack(1, 1, 4),
        block_diagonal(dense(4, 1)),
        block_stack(3, 2, 2),
        block_diagonal(dense(1, 3), diagonal(2), kronecker((3, 1), (1, 2)), dense(2, 1)),
        block_stack(6, 4, 6),
    ],
    "Circulant": [circulant(1), circulant(5), circulant(6), circulant(30)],
    "Toeplitz": [toeplitz(1, 4), toeplitz(4, 1), toeplitz(3, 3), toeplitz(24, 36)],
    "Fourier": [fourier(1), fourier(5), fourier(6), fourier(30)],
    "Projection": [
        projection(1, 4, "sign"),
        projection(4, 1, "normal"),
        projection(7, 5, "ternary"),
        projection(5, 5, "normal"),
        projection(24, 36, "sign"),
    ],
    "Monarch": [
        monarch(1, 1, 2, 3, 1, "columns"),
        monarch(2, 3, 1, 1, 1, "columns"),
        monarch(2, 2, 3, 2, 2, "rows"),
        monarch(4, 6, 6, 6, 1, "columns"),
    ],
}
"""Structure name -> factories ``(key, dtype) -> Matrix``, the large one last."""

SQUARE: dict[str, Factory] = {
    "Dense": dense(4, 4),
    "Diagonal": diagonal(5),
    "Kronecker": kronecker((2, 2), (3, 3)),
    "KroneckerSum": lambda key, dtype: POSITIVE["KroneckerSum"](key, dtype),
    "Product": of(ms.Product.of, diagonal(4), kronecker((2, 2), (2, 2)), dense(4, 4)),
    "Scaled": scaled(dense(3, 3), -2.0),
    "LowRank": low_rank(3, 2, 3),
    "HMD": hmd(3, 3, 1, 1),
    "Masked": masked(3, 3, 2),
    "Sparse": sparse(3, 3, 2),
    "BlockSparse": block_sparse(4, 4, 1, 2, 2),
    "NMSparse": nm_sparse(2, 4, 1, 2),
    "BlockLowRank": block_low_rank(4, (2, 1), (2, 1)),
    "Quantized": quantized(dense(4, 4), 8),
    "RowGroups": grouped(dense(1, 4), low_rank(3, 1, 4), labels=(1, 0, 1, 1)),
    "ColumnBlocks": blocks(dense(3, 1), dense(3, 2)),
    "Identity": identity(5),
    "Native": of(ms.Native, dense(4, 4)),
    "BlockDiagonal": block_stack(3, 2, 2),
    "Permuted": shuffled(dense(4, 4)),
    "Transposed": of(ms.Transposed, dense(4, 4)),
    "Sum": drawn(lambda d: ms.Diagonal(d(5) / 8 + 2) + ms.LowRank(d(5, 2) / 4, d(2, 5)))(),
    "Circulant": drawn(lambda d: ms.Circulant(d(5) / 8 + jnp.eye(1, 5, dtype=d.dtype)[0]))(),
    "Fourier": fourier(5),
    "Monarch": drawn(
        lambda d: ms.Monarch(
            d(2, 3, 3) / 4 + jnp.eye(3, dtype=d.dtype), d(3, 2, 2) / 4 + jnp.eye(2, dtype=d.dtype)
        )
    )(),
}
"""Structure name -> a square matrix, far from singular if it has solve, inverse or slogdet."""


def positive(build: Callable[[Callable[[int], jax.Array]], ms.Matrix]) -> Factory:
    """From ``build(draw)``, ``draw(n)`` being a positive definite Hermitian array, a factory."""

    def factory(key: jax.Array, dtype: Any) -> ms.Matrix:
        d = Draw(key, dtype)

        def array(n: int) -> jax.Array:
            half = np.asarray(d(n, n))
            return jnp.asarray(half @ half.conj().T / n + np.eye(n), d.dtype)

        return build(array)

    return factory


def damped(half: jax.Array) -> ms.Matrix:
    """``1 + half @ half.H``."""
    return ms.Identity(len(half), half.dtype.name) + ms.LowRank(half, half.conj().T)


ORDER = np.array([2, 0, 3, 1])

POSITIVE: dict[str, Factory] = {
    "Dense": positive(lambda array: ms.Dense(array(4))),
    "Diagonal": positive(lambda array: ms.Diagonal(jnp.diagonal(array(5)))),
    "Kronecker": positive(lambda array: ms.Kronecker((-array(2), -array(3)))),
    "KroneckerSum": positive(lambda array: ms.kronecker_sum(array(2), array(3))),
    "Identity": identity(4),
    "Native": positive(lambda array: ms.Native(ms.Dense(array(4)))),
    "BlockDiagonal": positive(lambda array: ms.BlockDiagonal.of(array(2), array(2), array(2))),
    "Permuted": positive(lambda array: ms.Permuted.of(ms.Dense(array(4)), ORDER, ORDER)),
    "Transposed": positive(lambda array: ms.Transposed(ms.Dense(array(4)))),
    "Scaled": positive(lambda array: ms.Scaled.of(ms.Dense(array(4)), 0.5)),
    "Sum": drawn(lambda d: damped(d(4, 2) / 2))(),
    "Circulant": positive(lambda array: specs.Circulant().fit(array(5))),
}
"""Structure name -> a positive definite matrix, of what has eigh, cholesky or functions."""


SPEC_CASES: dict[str, list[tuple[specs.Spec, tuple[int, int]]]] = {
    "Dense": [(specs.Dense(), (4, 6)), (specs.Dense(), (1, 3))],
    "Kron": [
        (specs.Kron(), (6, 10)),
        (specs.Kron(), (7, 5)),
        (specs.Kron(factors=3), (8, 12)),
        (specs.Kron(compression=2.0), (12, 8)),
        (specs.Kron(shapes=((2, 1), (3, 4))), (6, 4)),
        (specs.Kron(compression=2.0, terms=2), (12, 16)),
    ],
    "LowRank": [
        (specs.LowRank(rank=2), (5, 7)),
        (specs.LowRank(rank=1), (1, 4)),
        (specs.LowRank(compression=2.0), (12, 8)),
    ],
    "HMD": [
        (specs.HMD(dense_columns=2), (4, 6)),
        (specs.HMD(dense_columns=0, rank_blocks=3), (6, 5)),
        (specs.HMD(compression=2.0, rank_blocks=2), (12, 16)),
    ],
    "Sparse": [
        (specs.Sparse(density=0.5), (4, 6)),
        (specs.Sparse(compression=4.0), (16, 5)),
        (specs.Sparse(density=0.25, anneal=True), (8, 3)),
        (specs.Sparse(density=0.5, block=(2, 3)), (8, 6)),
        (specs.Sparse(pattern="2:4"), (8, 5)),
    ],
    "Doped": [
        (specs.Doped(specs.LowRank(rank=2), density=0.25), (8, 6)),
        (specs.Doped(specs.HMD(dense_columns=1), compression=2.0), (16, 12)),
        (specs.Doped(specs.Kron(), density=0.2, anneal=True), (6, 10)),
    ],
    "BlockLowRank": [
        (specs.BlockLowRank(2, 1), (6, 5)),
        (specs.BlockLowRank((2, 5, 3), (1, 3, 2)), (10, 6)),
        (specs.BlockLowRank(3, compression=2.0), (24, 20)),
    ],
    "GroupReduce": [
        (specs.GroupReduce(compression=2.0, groups=3), (24, 20)),
        (specs.GroupReduce(groups=2, bytes=130), (6, 5)),
        (specs.GroupReduce(compression=1.0, groups=1, ranks="frequency"), (1, 4)),
    ],
    "Transposed": [
        (specs.Transposed(specs.LowRank(rank=2)), (5, 7)),
        (specs.Transposed(specs.GroupReduce(compression=2.0, groups=2)), (16, 24)),
    ],
    "Quantized": [
        (specs.Quantized(specs.Dense(), 4), (9, 6)),
        (specs.Quantized(specs.LowRank(rank=2), 8), (12, 10)),
        (specs.Quantized(specs.Dense(), 2, "kmeans"), (8, 8)),
        (specs.Quantized(specs.Dense(), 4, per=8, clip="error", feedback=True), (12, 7)),
    ],
    "DopedKron": [
        (specs.DopedKron(density=0.2), (6, 10)),
        (specs.DopedKron(compression=3.0), (16, 24)),
        (specs.DopedKron(density=0.5, shapes=((2, 2), (3, 2))), (6, 4)),
        (specs.DopedKron(compression=3.0, block=(1, 4)), (16, 24)),
    ],
    "PerGate": [
        (specs.PerGate(specs.LowRank(rank=2)), (5, 12)),
        (specs.PerGate(specs.DopedKron(density=0.5), gates=3), (4, 12)),
        (specs.PerGate(specs.HMD(compression=1.5)), (12, 32)),
    ],
    "BlockDiagonal": [
        (specs.BlockDiagonal(blocks=2), (4, 6)),
        (specs.BlockDiagonal(blocks=1), (1, 3)),
        (specs.BlockDiagonal(compression=2.5), (12, 8)),
    ],
    "Circulant": [(specs.Circulant(), (5, 5)), (specs.Circulant(), (1, 1))],
    "Toeplitz": [(specs.Toeplitz(), (4, 6)), (specs.Toeplitz(), (3, 1))],
    "Monarch": [
        (specs.Monarch(), (6, 9)),
        (specs.Monarch(blocks=(2, 3), rank=2), (8, 6)),
        (specs.Monarch(compression=2.0), (12, 16)),
    ],
}
"""Spec name -> pairs of a spec and a shape that it can make."""


def make(name: str, index: int, dtype: Any, seed: int = 0) -> ms.Matrix:
    """The case ``CASES[name][index]``."""
    return CASES[name][index](jax.random.key(seed), dtype)


ALL = [(name, i) for name, cases in CASES.items() for i in range(len(cases))]
"""Every case as ``(name, index)``."""

LARGE = [(name, len(cases) - 1) for name, cases in CASES.items()]
"""The large case of each structure as ``(name, index)``."""

SPECS = [(spec, shape) for cases in SPEC_CASES.values() for spec, shape in cases]
"""Every spec with its shape."""
