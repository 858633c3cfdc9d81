"""Which structure stands for a matrix best."""

import jax.numpy as jnp
import numpy as np
import pytest

from structlin import matrices as ms
from structlin import specs
from structlin.matrices import best_structure

FEW = (
    specs.Kron(shapes=((4, 6), (6, 4))),
    specs.LowRank(compression=4),
    specs.Sparse(compression=4),
)


def kronecker(rng):
    return np.kron(rng.normal(size=(4, 6)), rng.normal(size=(6, 4)))


def low_rank(rng):
    return rng.normal(size=(24, 2)) @ rng.normal(size=(2, 24))


def sparse(rng):
    dense = np.zeros((24, 24))
    for column in range(24):
        dense[rng.permutation(24)[:3], column] = rng.normal(size=3)
    return dense


@pytest.mark.parametrize(
    ("build", "name"), [(kronecker, "Kron"), (low_rank, "LowRank"), (sparse, "Sparse")]
)
def test_a_matrix_of_a_structure_is_found(build, name, rng):
    dense = build(rng).astype(np.float32)
    found = best_structure(dense, compression=4, candidates=FEW)
    assert found.spec.spec_name() == name
    assert found.rows[0].error < 1e-3
    np.testing.assert_allclose(found.best.to_dense(), dense, atol=1e-4)
    errors = [row.error for row in found.rows]
    assert errors == sorted(errors)
    assert all(row.cost.bytes <= found.budget for row in found.rows)


def test_every_structure_that_takes_compression_is_tried(rng):
    dense = kronecker(rng).astype(np.float32)
    found = best_structure(dense, compression=3)
    names = {row.spec.spec_name() for row in found.rows}
    assert {"Kron", "LowRank", "HMD", "Sparse", "DopedKron"} <= names
    assert all(row.reason or row.cost.bytes <= found.budget for row in found.rows)
    same = best_structure(dense, max_bytes=dense.nbytes // 3, candidates=[specs.Kron()])
    assert same.budget == found.budget


def test_the_table_the_figure_and_what_cannot(rng, tmp_path):
    dense = kronecker(rng).astype(np.float32)
    found = best_structure(
        dense, 4, candidates=[*FEW, specs.Dense(), specs.LowRank(rank=99)], weights=np.ones(24)
    )
    text = str(found)
    assert "more than the 576 allowed" in text
    assert "rank 24 at most" in text
    assert "Kron(shapes=" in text
    assert [bool(row.reason) for row in found.rows] == [False] * 3 + [True] * 2
    assert found.rich().row_count == 5
    found.plot(tmp_path / "errors.png")
    assert (tmp_path / "errors.png").stat().st_size > 1000
    with pytest.raises(ValueError, match="No structure fits in 4 bytes"):
        _ = best_structure(dense, max_bytes=4, candidates=FEW[:2]).best


def test_errors_are_weighted_and_zero_is_no_trouble(rng):
    dense = low_rank(rng).astype(np.float32)
    weights = specs.Rows(jnp.asarray([1.0] + [0.0] * 23, jnp.float32))
    found = best_structure(dense, 10, candidates=[specs.LowRank(rank=1)], weights=weights)
    assert found.rows[0].error < 1e-3
    assert isinstance(found.best, ms.LowRank)
    zero = best_structure(np.zeros((6, 4), np.float32), 2, candidates=[specs.LowRank(rank=1)])
    assert zero.rows[0].error == 0


@pytest.mark.parametrize("sizes", [{}, {"compression": 2, "max_bytes": 9}, {"compression": -1}])
def test_a_budget_that_makes_no_sense(sizes, rng):
    with pytest.raises(ValueError, match="best_structure"):
        best_structure(kronecker(rng), **sizes)
