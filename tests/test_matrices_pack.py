"""Packing: trained values with exact zeros become values and row numbers."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import make, masked
from numpy.testing import assert_allclose, assert_array_equal

from structlin import matrices as ms


def uneven(m=6, density=0.5):
    """Columns with 3, 1 and no nonzero entries."""
    values = np.zeros((m, 3), np.float32)
    values[[0, 2, 5], 0] = [1.0, -2.0, 3.0]
    values[4, 1] = 5.0
    return ms.Masked(jnp.asarray(values), density)


@pytest.mark.parametrize("index", range(3))
def test_packed_equals_unpacked(index, dtype):
    matrix = make("Masked", index, dtype)
    packed = matrix.pack()
    assert isinstance(packed, ms.Sparse)
    assert packed.shape == matrix.shape
    assert packed.dtype == dtype
    assert_array_equal(packed.to_dense(), matrix.to_dense())
    assert packed.values.shape[0] == max(1, np.count_nonzero(matrix.values, axis=0).max())


def test_padding_is_zero_and_names_unused_rows():
    packed = uneven().pack()
    values, indices = np.asarray(packed.values), np.asarray(packed.indices)
    assert values.shape == (3, 3)
    assert (values == 0).sum(axis=0).tolist() == [0, 2, 3]
    assert (indices < 6).all()
    for column in indices.T:
        assert len(set(column.tolist())) == len(column)
    assert_array_equal(packed.to_dense(), uneven().values)


def test_padding_can_be_trained():
    weights, fixed = ms.partition(uneven().pack())
    gradient = jax.grad(lambda w: jnp.sum(ms.combine(w, fixed).to_dense()))(weights)
    assert_array_equal(gradient.values, 1.0)


def test_a_matrix_of_zeros_packs_into_one_slot():
    packed = ms.Masked(jnp.zeros((4, 2)), 0.25).pack()
    assert packed.values.shape == (1, 2)
    assert_array_equal(packed.to_dense(), 0.0)


@pytest.mark.parametrize(
    ("rows", "kind"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65_537, "uint32")]
)
def test_row_numbers_take_the_smallest_type(rows, kind):
    values = np.zeros((rows, 1), np.float32)
    values[-1] = 7.0
    packed = ms.Masked(values, 1 / rows).pack()
    assert packed.indices.dtype == kind
    assert int(packed.indices[0, 0]) == rows - 1
    assert_array_equal(packed.rmatmul(jnp.eye(1, rows, rows - 1)), [[7.0]])


def test_denser_than_asked_for_warns():
    with pytest.warns(UserWarning, match="3 nonzero entries where 1 were asked for"):
        uneven(density=0.2).pack()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uneven(density=0.5).pack()


def test_traced_and_stacked_values_are_refused():
    matrix = make("Masked", 0, np.float32)
    with pytest.raises(TypeError, match="outside jit"):
        jax.jit(lambda w: w.pack())(matrix)
    with pytest.raises(ValueError, match="one matrix at a time"):
        jax.tree.map(lambda a: a[None], matrix).pack()


def test_parts_of_other_matrices_are_packed_where_they_are():
    co = masked(4, 6, 2)(jax.random.key(1), np.float32)
    kron = make("Kronecker", 2, np.float32).T @ ms.Dense(jnp.ones((6, 6)))
    host = ms.LowRank(jnp.ones((4, 1)), jnp.ones((1, 6)))
    whole = ms.ColumnBlocks((2 * (host + co), host + co @ kron, co.T.T))
    packed = whole.pack()
    assert_allclose(packed.to_dense(), whole.to_dense(), rtol=1e-6)
    kinds = [type(t).__name__ for t in flat(packed)]
    assert kinds.count("Sparse") == 3
    assert "Masked" not in kinds


def flat(matrix):
    """``matrix`` and every matrix in it."""
    yield matrix
    for child in jax.tree.leaves(matrix, is_leaf=lambda t: ms.is_matrix(t) and t is not matrix):
        if ms.is_matrix(child):
            yield from flat(child)


def test_packing_twice_and_packing_what_holds_no_mask_changes_nothing():
    packed = uneven().pack()
    assert_array_equal(packed.pack().to_dense(), packed.to_dense())
    kron = make("Kronecker", 0, np.float32)
    assert jax.tree.structure(kron.pack()) == jax.tree.structure(kron)
