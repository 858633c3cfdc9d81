"""Each structure against its definition: entries written out from the docstrings, loop by loop."""

import itertools

import jax
import numpy as np
import pytest
from cases import ALL, CASES, make
from numpy.testing import assert_allclose

from structlin import matrices as ms


def dense(w):
    return [[float(w.values[i, j]) for j in range(w.values.shape[1])] for i in range(len(w.values))]


def diagonal(w):
    n = len(w.values)
    return [[float(w.values[i]) if i == j else 0.0 for j in range(n)] for i in range(n)]


def digits(number, bases):
    """``number`` in mixed radix, most significant first."""
    out = []
    for base in reversed(bases):
        out.insert(0, number % base)
        number //= base
    return out


def kronecker(w):
    """Entry ``(i, j)``: the product of each factor's entry at the digits of ``i`` and ``j``."""
    factors = [np.asarray(oracle(f) if isinstance(f, ms.Matrix) else f) for f in w.factors]
    rows, cols = [f.shape[0] for f in factors], [f.shape[1] for f in factors]
    m, n = int(np.prod(rows)), int(np.prod(cols))
    out = np.ones((m, n))
    for i, j in itertools.product(range(m), range(n)):
        for f, a, b in zip(factors, digits(i, rows), digits(j, cols), strict=True):
            out[i, j] *= f[a, b]
    return out


def kronecker_sum(w):
    """Entry ``(i, j)``: a term's entry where all other digits of ``i`` and ``j`` are equal."""
    terms = [np.asarray(oracle(t) if isinstance(t, ms.Matrix) else t) for t in w.terms]
    sizes = [len(t) for t in terms]
    out = np.zeros((int(np.prod(sizes)),) * 2)
    for i, j in itertools.product(range(len(out)), repeat=2):
        pairs = list(zip(digits(i, sizes), digits(j, sizes), strict=True))
        for k, (a, b) in enumerate(pairs):
            if all(c == d for other, (c, d) in enumerate(pairs) if other != k):
                out[i, j] += terms[k][a, b]
    return out


def low_rank(w):
    (m, r), n = w.left.shape, w.right.shape[1]
    out = np.zeros((m, n))
    for i, j, k in itertools.product(range(m), range(n), range(r)):
        out[i, j] += w.left[i, k] * w.right[k, j]
    return out


def hmd(w):
    """Dense columns, then blocks of columns that are multiples of one; the larger blocks first."""
    (m, rich), blocks, rest = w.rich.shape, w.left.shape[1], len(w.right)
    block_of = []
    for k in range(blocks):
        block_of += [k] * (rest // blocks + (1 if k < rest % blocks else 0))
    out = np.zeros((m, rich + rest))
    for i, j in itertools.product(range(m), range(rich + rest)):
        c = j - rich
        out[i, j] = w.rich[i, j] if c < 0 else w.left[i, block_of[c]] * w.right[c]
    return out


def sparse(w):
    slots, n = w.values.shape
    out = np.zeros((w.rows, n))
    for s, j in itertools.product(range(slots), range(n)):
        out[int(w.indices[s, j]), j] += w.values[s, j]
    return out


def column_blocks(w):
    parts = [oracle(b) for b in w.blocks]
    return [[v for part in parts for v in part[i]] for i in range(len(parts[0]))]


def total(w):
    parts = [oracle(t) for t in w.terms]
    m, n = len(parts[0]), len(parts[0][0])
    return [[sum(p[i][j] for p in parts) for j in range(n)] for i in range(m)]


def product(w):
    out = oracle(w.factors[0])
    for factor in w.factors[1:]:
        right = oracle(factor)
        columns = range(len(right[0]))
        out = [[sum(a * right[k][j] for k, a in enumerate(row)) for j in columns] for row in out]
    return out


def scaled(w):
    return [[float(w.scalar) * v for v in row] for row in oracle(w.inner)]


def transposed(w):
    inner = oracle(w.inner)
    return [[inner[j][i] for j in range(len(inner))] for i in range(len(inner[0]))]


ORACLES = {
    "Dense": dense,
    "Diagonal": diagonal,
    "Kronecker": kronecker,
    "KroneckerSum": kronecker_sum,
    "LowRank": low_rank,
    "HMD": hmd,
    "Masked": dense,
    "Sparse": sparse,
    "ColumnBlocks": column_blocks,
    "Sum": total,
    "Product": product,
    "Scaled": scaled,
    "Transposed": transposed,
}


def oracle(matrix):
    """The entries of ``matrix`` from its definition, as nested lists or an array."""
    return ORACLES[type(matrix).__name__](jax.tree.map(np.asarray, matrix))


@pytest.mark.parametrize(("name", "index"), ALL)
def test_entries_follow_the_definition(name, index, x64):
    matrix = make(name, index, np.float64)
    want = np.asarray(oracle(matrix))
    got = jax.jit(lambda w: w.to_dense())(matrix)
    assert got.shape == want.shape == matrix.shape
    assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_every_structure_has_an_oracle():
    missing = set(CASES) - set(ORACLES)
    assert not missing, f"write the entries of {sorted(missing)} from the definition in {__file__}"
    assert set(ORACLES) <= set(ms.REGISTRY)
