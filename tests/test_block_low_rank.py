"""Groups of rows of low rank: the fit is the optimum of each, and rows cost what they need."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from structlin import decompose, specs
from structlin import matrices as ms


def optimum(dense, rank, weights=None):
    """The best matrix of ``rank`` under row weights, from NumPy's decomposition."""
    q = np.ones(len(dense)) if weights is None else np.sqrt(weights)
    u, s, vt = np.linalg.svd(q[:, None] * dense, full_matrices=False)
    return (u[:, :rank] * s[:rank] @ vt[:rank]) / q[:, None]


@pytest.mark.parametrize("weighted", [False, True])
def test_each_group_is_its_optimum(weighted, x64, rng):
    dense = rng.normal(size=(12, 7))
    weights = rng.uniform(0.1, 3, size=12) if weighted else None
    fit = specs.BlockLowRank((3, 5, 4), (1, 2, 1)).fit(dense, weights)
    start = 0
    for size, rank in ((3, 1), (5, 2), (4, 1)):
        rows = slice(start, start + size)
        share = None if weights is None else weights[rows]
        assert_allclose(fit.to_dense()[rows], optimum(dense[rows], rank, share), atol=1e-10)
        start += size
    assert [left.shape for left in fit.lefts] == [(3, 1), (5, 2), (4, 1)]


def test_groups_for_which_low_rank_saves_nothing_are_dense(rng):
    dense = rng.normal(size=(9, 6)).astype("f")
    fit = specs.BlockLowRank((3, 6), (3, 1)).fit(dense)
    assert fit.lefts[0] is None
    assert_allclose(fit.to_dense()[:3], dense[:3])
    assert fit.cost().params == 3 * 6 + 6 + 6


def test_rows_in_another_order(rng):
    sizes, ranks = (4, 3, 5), (2, 0, 1)
    lefts = tuple(
        jnp.asarray(rng.normal(size=(g, r)).astype("f")) if r else None
        for g, r in zip(sizes, ranks, strict=True)
    )
    rights = tuple(
        jnp.asarray(rng.normal(size=(r or g, 6)).astype("f"))
        for g, r in zip(sizes, ranks, strict=True)
    )
    order = rng.permutation(12).astype(np.uint8)
    w = ms.BlockLowRank(lefts, rights, jnp.asarray(order))
    rows = np.concatenate([r if a is None else a @ r for a, r in zip(lefts, rights, strict=True)])
    dense = np.stack([rows[order[i]] for i in range(12)])
    x, v, ids = rng.normal(size=(2, 12)), rng.normal(size=(2, 6)), np.array([[11, 0, 5]])
    left, right, taken, formed, diagonal = jax.jit(
        lambda w, x, v: (x @ w, v @ w.T, w.take(ids), w.to_dense(), w.diagonal())
    )(w, x.astype("f"), v.astype("f"))
    assert_allclose(formed, dense, rtol=1e-5, atol=1e-6)
    assert_allclose(left, x @ dense, rtol=1e-4, atol=1e-5)
    assert_allclose(right, v @ dense.T, rtol=1e-4, atol=1e-5)
    assert_allclose(taken, dense[ids], rtol=1e-5, atol=1e-6)
    assert_allclose(diagonal, np.diagonal(dense), rtol=1e-5, atol=1e-6)


def test_compression_is_met_with_the_largest_rank():
    spec = specs.BlockLowRank(4, compression=3.0)
    cost = spec.cost((100, 30))
    assert cost.compression >= 3
    sized = spec.sized((100, 30))
    assert sized.groups == (25, 25, 25, 25)
    assert isinstance(sized.ranks, tuple)
    more = specs.BlockLowRank(sized.groups, tuple(r + 1 for r in sized.ranks))
    assert more.cost((100, 30)).compression < 3


def test_rows_of_a_large_table_are_taken_without_forming_it():
    groups = ((2_000, 16), (48_000, 4))
    lefts = tuple(jnp.ones((g, r)) for g, r in groups)
    w = ms.BlockLowRank(lefts, tuple(jnp.ones((r, 64)) for _, r in groups))
    taken = jax.make_jaxpr(lambda w: w.take(np.arange(8)))(w)
    sizes = [v.aval.size for e in taken.jaxpr.eqns for v in e.outvars]
    assert max(sizes) <= 8 * 64
    assert_allclose(w[[0, 2_000]], np.array([[16.0], [4.0]]) * np.ones((1, 64)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: specs.BlockLowRank(2), "give ranks= or compression="),
        (lambda: specs.BlockLowRank(2, 1, 2.0), "not both"),
        (lambda: specs.BlockLowRank(0, 1), "groups of 1 or more"),
        (lambda: specs.BlockLowRank((), 1), "groups of 1 or more"),
        (lambda: specs.BlockLowRank(2, (1, 0)), "ranks of 1 or more"),
        (lambda: specs.BlockLowRank((2, 2), (1, 1, 1)), "one rank for each group"),
        (lambda: specs.BlockLowRank((2, 2), 1).cost((5, 4)), "the matrix has 5"),
        (lambda: specs.BlockLowRank(6, 1).cost((5, 4)), "a row for each group"),
        (lambda: specs.BlockLowRank(2, (3, 1)).cost((4, 4)), "has rank 2 at most"),
        (lambda: specs.BlockLowRank(2, (1, 1, 1)).cost((4, 4)), "3 ranks for 2 groups"),
        (lambda: specs.BlockLowRank(2, compression=99).cost((4, 4)), "rank 1 for each group"),
    ],
)
def test_sizes_that_make_no_sense(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_arrays_of_a_fit(rng):
    dense = rng.normal(size=(7, 5)).astype("f")
    lefts, rights = decompose.block_low_rank(dense, (4, 3), (2, 3))
    assert [a.shape for a in (*lefts, *rights)] == [(4, 2), (3, 3), (2, 5), (3, 5)]
    assert_allclose(lefts[1] @ rights[1], dense[4:], rtol=1e-4, atol=1e-5)
