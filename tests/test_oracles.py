"""Each structure against its definition: entries written out from the docstrings, loop by loop."""

import itertools

import jax
import numpy as np
import pytest
from cases import ALL, CASES, make
from numpy.testing import assert_allclose
from test_projection import entry

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


def identity(w):
    return [[1.0 if i == j else 0.0 for j in range(w.size)] for i in range(w.size)]


def block_diagonal(w):
    parts = [np.asarray(oracle(b) if isinstance(b, ms.Matrix) else b) for b in w.blocks]
    out = np.zeros((sum(len(p) for p in parts), sum(p.shape[1] for p in parts)))
    top = left = 0
    for p in parts:
        for i, j in itertools.product(range(p.shape[0]), range(p.shape[1])):
            out[top + i, left + j] = p[i, j]
        top, left = top + p.shape[0], left + p.shape[1]
    return out


def permuted(w):
    inner = oracle(w.inner)
    m, n = len(inner), len(inner[0])
    rows = range(m) if w.rows is None else [int(i) for i in w.rows]
    same = rows if w.symmetric else range(n)
    columns = same if w.columns is None else [int(j) for j in w.columns]
    return [[inner[i][j] for j in columns] for i in rows]


def circulant(w):
    n = len(w.row)
    return [[w.row[(j - i) % n] for j in range(n)] for i in range(n)]


def toeplitz(w):
    """The first diagonal stored is the lowest one, of the last row's first entry."""
    n = len(w.diagonals) - w.rows + 1
    return [[w.diagonals[j - i + w.rows - 1] for j in range(n)] for i in range(w.rows)]


def fourier(w):
    out = np.zeros((w.size, w.size))
    for j, k in itertools.product(range(w.size), repeat=2):
        angle = 2 * np.pi * j * k / w.size
        out[j, k] = (np.cos(angle) + np.sin(angle)) / w.size**0.5
    return out


def projection(w):
    m, n = (w.columns, w.rows) if w.flipped else (w.rows, w.columns)
    out = np.zeros((m, n))
    for i, j in itertools.product(range(m), range(n)):
        out[i, j] = entry(i, j, w.seed, w.kind) / w.rows**0.5
    return out.T if w.flipped else out


def monarch(w):
    (k_in, size_in, width), (j_out, inner, size_out) = w.left.shape, w.right.shape
    rank = width // j_out
    assert inner == k_in * rank
    out = np.zeros((k_in * size_in, j_out * size_out))
    for k, i in itertools.product(range(k_in), range(size_in)):
        for j, c in itertools.product(range(j_out), range(size_out)):
            by_rows = w.interleaved == "rows"
            place = i * k_in + k if by_rows else k * size_in + i
            column = j * size_out + c if by_rows else c * j_out + j
            for p in range(rank):
                out[place, column] += w.left[k, i, j * rank + p] * w.right[j, k * rank + p, c]
    return out


def block_low_rank(w):
    rows = []
    for left, right in zip(w.lefts, w.rights, strict=True):
        if left is None:
            rows += [list(row) for row in right]
            continue
        for row in left:
            rows.append(
                [sum(a * right[k][j] for k, a in enumerate(row)) for j in range(len(right[0]))]
            )
    return rows if w.order is None else [rows[int(i)] for i in w.order]


def block_sparse(w):
    slots, blocks, r, c = w.values.shape
    out = np.zeros((w.rows, blocks * c))
    for s, b, i, j in itertools.product(range(slots), range(blocks), range(r), range(c)):
        out[int(w.indices[s, b]) * r + i, b * c + j] += w.values[s, b, i, j]
    return out


def stream(code, bits, count):
    """The codes of a stream of bytes, the first in the lowest bits."""
    number = sum(int(byte) << (8 * i) for i, byte in enumerate(code))
    return [(number >> (bits * i)) % 2**bits for i in range(count)]


def nm_sparse(w):
    groups, slots, n = w.values.shape
    out = np.zeros((groups * w.group, n))
    for g, s in itertools.product(range(groups), range(slots)):
        for j, row in enumerate(stream(w.codes[g, s], (w.group - 1).bit_length(), n)):
            out[g * w.group + row, j] += w.values[g, s, j]
    return out


def quantized(w):
    """The oracle of the inner matrix, each of its arrays decoded number by number."""
    tables = iter(w.tables)

    def decoded(leaf, shape):
        if shape == "":
            return leaf
        table, count = next(tables), int(np.prod(shape))
        codes = stream(leaf, w.bits, count)
        run = {"tensor": count, "row": shape[-1]}.get(w.per, w.per)
        rows = table.reshape(-(-count // run), -1)
        level = {
            "uniform": lambda code, own: own[0] + own[1] * code,
            "symmetric": lambda code, own: own[0] * (code - (2 ** (w.bits - 1) - 1)),
        }.get(w.codebook, lambda code, own: own[code])
        found = [level(code, rows[i // run]) for i, code in enumerate(codes)]
        return np.array(found).reshape(shape)

    leaves, form = jax.tree.flatten(w.codes)
    pairs = zip(leaves, w.shapes, strict=True)
    return oracle(jax.tree.unflatten(form, [decoded(leaf, shape) for leaf, shape in pairs]))


def row_groups(w):
    """The next row of the group that each label names."""
    m, count = w.shape[0], len(w.groups)
    rows = [list(np.asarray(oracle(g))) for g in w.groups]
    if w.labels is None:
        return np.concatenate(rows)
    labels = stream(w.labels, max(1, (count - 1).bit_length()), m)
    return np.array([rows[label].pop(0) for label in labels])


ORACLES = {
    "Identity": identity,
    "BlockDiagonal": block_diagonal,
    "Permuted": permuted,
    "Circulant": circulant,
    "Toeplitz": toeplitz,
    "Fourier": fourier,
    "Projection": projection,
    "Monarch": monarch,
    "BlockLowRank": block_low_rank,
    "BlockSparse": block_sparse,
    "NMSparse": nm_sparse,
    "Quantized": quantized,
    "RowGroups": row_groups,
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
    "Native": lambda w: oracle(w.inner),
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
    # Normal numbers are made in single precision, whatever the dtype.
    close = 1e-6 if getattr(matrix, "kind", "") == "normal" else 1e-12
    assert_allclose(got, want, rtol=10 * close, atol=close)


def test_every_structure_has_an_oracle():
    missing = set(CASES) - set(ORACLES)
    assert not missing, f"write the entries of {sorted(missing)} from the definition in {__file__}"
    assert set(ORACLES) <= set(ms.REGISTRY)
