"""What matrices say they cost: numbers, bytes and operations."""

import math

import jax
import numpy as np
import pytest
from cases import ALL, LARGE, make

from structlin import matrices as ms


@pytest.mark.parametrize(("name", "index"), ALL)
def test_cost_counts_the_leaves(name, index):
    matrix = make(name, index, np.float32)
    (m, n), leaves = matrix.shape, [np.asarray(leaf) for leaf in jax.tree.leaves(matrix)]
    cost = matrix.cost()
    assert cost.bytes == sum(leaf.nbytes for leaf in leaves)
    # What is kept in codes counts as the numbers that the codes stand for, beside the levels.
    counted = [matrix.decode(), *matrix.tables] if isinstance(matrix, ms.Quantized) else matrix
    sizes = [leaf.size for leaf in jax.tree.leaves(counted) if np.asarray(leaf).dtype.kind == "f"]
    assert cost.params == sum(sizes)
    assert (cost.dense_params, cost.dense_bytes) == (m * n, 4 * m * n)
    assert cost.flops == matrix.flops() >= bool(leaves)  # a product with the identity is free
    assert math.isclose(cost.compression, 4 * m * n / max(cost.bytes, 1))
    assert math.isclose(cost.compression_params, m * n / max(cost.params, 1))


def holds(matrix, kind):
    """Whether a matrix of ``kind`` is in ``matrix``."""
    children = jax.tree.leaves(matrix, is_leaf=lambda t: ms.is_matrix(t) and t is not matrix)
    inner = [c for c in children if ms.is_matrix(c)]
    return isinstance(matrix, kind) or any(holds(c, kind) for c in inner)


@pytest.mark.parametrize(("name", "index"), LARGE)
def test_flops_agree_with_xla(name, index):
    matrix = make(name, index, np.float32)
    row = np.ones(matrix.shape[0], np.float32)
    compiled = jax.jit(lambda w, x: x @ w).lower(matrix, row).compile()
    counted = compiled.cost_analysis().get("flops", 0)
    if holds(matrix, ms.Sparse) or holds(matrix, ms.Projection):
        # A loop over slots or parts: XLA counts its body once, and with it the counter, the index
        # arithmetic and the hash.
        assert 0 < counted < 4 * matrix.flops()
    else:
        assert counted / 1.5 <= matrix.flops() <= counted * 1.5


def test_flops_of_packed_sparse_are_its_entries():
    matrix = make("Sparse", -1, np.float32)
    assert matrix.flops() == 2 * np.asarray(matrix.values).size
