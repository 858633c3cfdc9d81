"""Sparse matrices with a pattern: whole blocks, and N of every M neighbouring rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import make
from numpy.testing import assert_allclose, assert_array_equal

from structlin import decompose, kernels, specs
from structlin import matrices as ms


def by_blocks(dense, kept, r, c):
    """``dense`` with the ``kept`` largest blocks of each block column, one by one."""
    (m, n), out = dense.shape, np.zeros_like(dense)
    for q in range(0, n, c):
        starts = range(0, m, r)
        score = [-np.sum(np.abs(dense[p : p + r, q : q + c]) ** 2) for p in starts]
        for i in np.argsort(score, kind="stable")[:kept]:
            rows = slice(i * r, (i + 1) * r)
            out[rows, q : q + c] = dense[rows, q : q + c]
    return out


def by_groups(dense, kept, group):
    """``dense`` with the ``kept`` largest of each group of rows of each column, one by one."""
    out = np.zeros_like(dense)
    for g in range(0, dense.shape[0], group):
        for j in range(dense.shape[1]):
            for i in np.argsort(-np.abs(dense[g : g + group, j]), kind="stable")[:kept]:
                out[g + i, j] = dense[g + i, j]
    return out


@pytest.mark.parametrize("block", [(2, 3), (1, 6), (4, 1), (8, 6)])
def test_block_fits_keep_the_largest_blocks(block, rng):
    dense = rng.normal(size=(8, 6)).astype("f")
    fit = specs.Sparse(density=0.5, block=block).fit(dense)
    want = by_blocks(dense, max(1, round(0.5 * (8 // block[0]))), *block)
    assert_array_equal(fit.to_dense(), want)
    packed = fit.pack()
    assert isinstance(packed, ms.BlockSparse)
    assert_array_equal(packed.to_dense(), want)
    assert packed.indices.dtype == np.uint8
    assert packed.cost() == specs.Sparse(density=0.5, block=block).cost((8, 6))


@pytest.mark.parametrize(("kept", "group"), [(2, 4), (1, 2), (3, 4), (4, 4), (1, 12), (5, 6)])
def test_pattern_fits_keep_the_largest_of_each_group(kept, group, rng):
    dense = rng.normal(size=(12, 5)).astype("f")
    spec = specs.Sparse(pattern=f"{kept}:{group}")
    want = by_groups(dense, kept, group)
    fit = spec.fit(dense)
    assert_array_equal(fit.to_dense(), want)
    packed = fit.pack()
    assert isinstance(packed, ms.NMSparse)
    assert packed.values.shape == (12 // group, kept, 5)
    assert_array_equal(packed.to_dense(), want)
    assert packed.cost() == spec.cost((12, 5))
    assert fit.density == kept / group


def test_bytes_of_packed_patterns():
    two_of_four = specs.Sparse(pattern="2:4").cost((64, 32))
    assert two_of_four.bytes == 64 * 32 // 2 * 4 + 64 * 32 // 2 * 2 // 8
    blocks = specs.Sparse(density=0.25, block=(1, 16)).cost((64, 32))
    assert blocks.bytes == 16 * 32 * 4 + 16 * 2
    tight = specs.Sparse(compression=8.0, block=(2, 8)).cost((64, 32))
    assert tight.compression >= 8
    assert tight.bytes + 4 * (2 * 8 * 4 + 1) > 64 * 32 * 4 / 8


@pytest.mark.parametrize(
    "spec", [specs.Sparse(density=0.5, block=(2, 3)), specs.Sparse(pattern="2:4")]
)
@pytest.mark.parametrize("kind", [specs.Rows, specs.Fisher])
def test_weighted_fits_are_the_best_of_all_masks(spec, kind, rng):
    if spec.block != (1, 1):
        spec = specs.Sparse(density=0.5, block=(2, 1))
    dense = rng.normal(size=(4, 1)).astype("f")
    weights = rng.uniform(0.1, 4, size=4).astype("f")
    given = kind(weights if kind is specs.Rows else weights[:, None])
    fit = np.asarray(spec.fit(dense, given).to_dense())
    masks = [m for m in np.ndindex(2, 2, 2, 2) if sum(m) == 2]
    if spec.block != (1, 1):
        masks = [m for m in masks if m[0] == m[1] and m[2] == m[3]]
    errors = [np.sum(weights * (dense[:, 0] * (1 - np.array(m))) ** 2) for m in masks]
    assert_allclose(np.sum(weights * (dense - fit)[:, 0] ** 2), min(errors), rtol=1e-5)


def test_unstructured_fits_under_fisher_weights_are_exact(rng):
    dense, weights = rng.normal(size=(6, 4)).astype("f"), rng.uniform(size=(6, 4)).astype("f")
    fit = specs.Sparse(density=0.5).fit(dense, specs.Fisher(weights)).to_dense()
    score = weights * dense**2
    for j in range(4):
        kept = np.flatnonzero(fit[:, j])
        assert_array_equal(np.sort(kept), np.sort(np.argsort(-score[:, j])[:3]))


@pytest.mark.parametrize("index", [2, 3])
@pytest.mark.parametrize("name", ["BlockSparse", "NMSparse", "Sparse", "BlockLowRank"])
def test_sums_over_entries_equal_dense(name, index, rng):
    matrix = make(name, index, np.float32)
    dense = np.asarray(matrix.to_dense())
    diagonal, trace, norm, scaled = jax.jit(
        lambda w: (w.diagonal(), w.trace(), w.norm(), (2 * w).to_dense())
    )(matrix)
    assert_allclose(diagonal, np.diagonal(dense), rtol=1e-5, atol=1e-6)
    assert_allclose(trace, np.trace(dense), rtol=1e-4, atol=1e-5)
    assert_allclose(norm, np.linalg.norm(dense), rtol=1e-5)
    assert_allclose(scaled, 2 * dense, rtol=1e-6)
    assert type(2 * matrix) is type(matrix)


@pytest.mark.parametrize("name", ["BlockSparse", "NMSparse"])
def test_forward_and_reverse_derivatives_agree(name, x64, rng):
    matrix = make(name, -1, np.float64)
    weights, fixed = ms.partition(matrix)
    x = rng.normal(size=(2, 24))
    along = jax.tree.map(jnp.ones_like, weights)

    def loss(weights):
        return jnp.sum(jnp.sin(x @ ms.combine(weights, fixed)))

    forward = jax.jvp(loss, (weights,), (along,))[1]
    back = sum(jnp.sum(g) for g in jax.tree.leaves(jax.grad(loss)(weights)))
    assert_allclose(forward, back, rtol=1e-10)


def test_products_of_many_slots_scan(rng):
    """Few and many slots go different ways; both are the dense product."""
    for slots in (1, 40):
        values = rng.normal(size=(slots, 20, 4, 1)).astype("f")
        indices = np.stack([rng.permutation(40)[:slots] for _ in range(20)], 1).astype(np.uint8)
        w = ms.BlockSparse(jnp.asarray(values), jnp.asarray(indices), 160)
        dense, x = np.asarray(w.to_dense()), rng.normal(size=(3, 160)).astype("f")
        assert_allclose(x @ w, x @ dense, rtol=1e-4, atol=1e-5)
        y = rng.normal(size=(3, 20)).astype("f")
        assert_allclose(y @ w.T, y @ dense.T, rtol=1e-4, atol=1e-5)


def test_uneven_blocks_and_groups_are_padded_and_warn():
    values = np.zeros((4, 4), np.float32)
    values[0, 0] = values[2, 1] = values[3, 3] = 1.0
    blocks = ms.Masked(jnp.asarray(values), 0.5, (2, 2)).pack
    with pytest.warns(UserWarning, match="block column .* has 2 nonzero blocks where 1 were"):
        packed = blocks()
    assert_array_equal(packed.to_dense(), values)
    assert_array_equal(np.sort(np.asarray(packed.indices), axis=0), [[0, 0], [1, 1]])
    values[:3, 2] = 1.0
    with pytest.warns(UserWarning, match="group of rows .* has 3 nonzero entries where 2 were"):
        packed = ms.Masked(jnp.asarray(values), 0.5, pattern="2:4").pack()
    assert_array_equal(packed.to_dense(), values)


def test_doped_with_blocks_keeps_the_path_and_packs_to_blocks(rng):
    dense = rng.normal(size=(16, 24)).astype("f")
    spec = specs.DopedKron(compression=3.0, block=(1, 4))
    fitted = spec.fit(dense)
    packed = fitted.pack()
    assert isinstance(packed.terms[1], ms.BlockSparse)
    for tree in (fitted, packed):
        paths = [
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, _ in jax.tree_util.tree_leaves_with_path(tree)
        ]
        assert "sparse/values" in paths
    assert packed.cost().compression >= 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: specs.Sparse(pattern="2:4", density=0.5), "sets the size"),
        (lambda: specs.Sparse(pattern="2:4", compression=2), "sets the size"),
        (lambda: specs.Sparse(pattern="4:2"), "N of M rows kept"),
        (lambda: specs.Sparse(pattern="two of four"), "N of M rows kept"),
        (lambda: specs.Sparse(pattern="0:4"), "N of M rows kept"),
        (lambda: specs.Sparse(pattern="2:4", block=(2, 2)), "not both"),
        (lambda: specs.Sparse(density=0.5, block=(0, 2)), "two positive integers"),
        (lambda: specs.Sparse(density=0.5, block=4), "two positive integers"),
        (lambda: specs.DopedKron(density=0.5, block=(2,)), "two positive integers"),
        (lambda: specs.Sparse(density=0.5, block=(3, 2)).cost((8, 6)), "3 must divide its 8 rows"),
        (lambda: specs.Sparse(block=(2, 4)).fit(np.ones((8, 6), "f")), "4 its 6 columns"),
        (lambda: specs.Doped(specs.Kron(), block=(3, 1)).cost((8, 6)), "3 must divide its 8 rows"),
        (lambda: specs.Sparse(pattern="2:4").cost((6, 6)), "needs rows that M divides"),
        (lambda: specs.Sparse(compression=99, block=(4, 6)).cost((8, 6)), "one block in each"),
        (lambda: decompose.block_magnitude_mask(np.ones((3, 3)), 1, (2, 1)), "do not tile"),
        (lambda: decompose.nm_mask(np.ones((3, 3)), 1, 2), "do not divide"),
    ],
)
def test_sizes_that_make_no_sense(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("bits", range(1, 9))
def test_streams_of_bits(bits, rng):
    for count in (1, 7, 8, 19):
        codes = rng.integers(0, 2**bits, size=(2, count)).astype(np.uint8)
        stream, back, some = jax.jit(
            lambda c, count=count: (
                s := kernels.pack_bits(c, bits),
                kernels.unpack_bits(s, bits, count),
                kernels.unpack_bits_at(s[1], bits, np.array([[count - 1, 0]])),
            )
        )(codes)
        assert stream.shape == (2, -(-count * bits // 8))
        assert stream.dtype == np.uint8
        written = np.packbits(
            np.unpackbits(codes[0][:, None], axis=1, bitorder="little")[:, :bits].reshape(-1),
            bitorder="little",
        )
        assert_array_equal(stream[0], written)
        assert_array_equal(back, codes)
        assert_array_equal(some, codes[1][[[count - 1, 0]]])
