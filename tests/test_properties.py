"""Properties over drawn shapes, dtypes, batches and specs."""

import jax
import jax.numpy as jnp
import numpy as np
from cases import SPECS, make
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import close, wide
from numpy.testing import assert_allclose, assert_array_equal

from structlin import decompose, specs
from structlin import matrices as ms

few = settings(max_examples=8, derandomize=True, deadline=None, database=None)
many = settings(max_examples=40, derandomize=True, deadline=None, database=None)

sizes = st.one_of(st.sampled_from([1, 2, 7, 13, 31, 257]), st.integers(1, 60))
shapes = st.tuples(sizes, sizes)
compressions = st.floats(1, 40)
densities = st.floats(0.001, 1)
dtypes = st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16])

kron = st.builds(specs.Kron, factors=st.integers(1, 3))
low_rank = st.builds(specs.LowRank, rank=st.integers(1, 4))
hmd = st.builds(specs.HMD, dense_columns=st.integers(0, 4), rank_blocks=st.integers(1, 3))
by_compression = st.one_of(
    st.builds(specs.LowRank, compression=compressions),
    st.builds(specs.HMD, compression=compressions, rank_blocks=st.integers(1, 2)),
    st.builds(specs.Sparse, compression=compressions),
    st.builds(specs.Kron, compression=compressions),
    st.builds(specs.DopedKron, compression=compressions),
)
by_density = st.one_of(
    st.builds(specs.Sparse, density=densities, anneal=st.booleans()),
    st.builds(specs.DopedKron, density=densities),
)
hosts = st.one_of(kron, low_rank, hmd, by_compression, by_density)
every = st.recursive(
    hosts,
    lambda inner: st.one_of(
        st.builds(specs.Doped, inner, density=densities),
        st.builds(specs.PerGate, inner, gates=st.integers(1, 4)),
    ),
    max_leaves=3,
)


@many
@given(every)
def test_every_spec_survives_json(spec):
    assert specs.from_json(spec.to_json()) == spec


def cost_or_reason(spec, shape, dtype):
    """The cost of ``spec``, or what it says of a shape that it cannot make."""
    try:
        return spec.cost(shape, dtype)
    except ValueError as error:
        return str(error)


@many
@given(every, shapes, dtypes)
def test_a_spec_makes_what_it_says_or_says_why_not(spec, shape, dtype):
    cost = cost_or_reason(spec, shape, dtype)
    if isinstance(cost, str):
        assert len(cost) > 20
        return
    made = jax.eval_shape(lambda k: spec.init(k, shape, dtype), jax.random.key(0))
    assert made.shape == shape
    assert made.dtype == dtype
    assert spec.sized(shape, dtype).cost(shape, dtype) == cost
    assert cost.dense_params == shape[0] * shape[1]


@many
@given(by_compression, shapes, dtypes)
def test_asking_for_a_compression_gives_at_least_that(spec, shape, dtype):
    cost = cost_or_reason(spec, shape, dtype)
    if isinstance(cost, str):
        assert "Ask for compression=" in cost or "needs at least" in cost
        return
    assert cost.compression >= spec.compression


@many
@given(
    st.integers(1, 300).flatmap(lambda m: st.tuples(st.just(m), st.integers(1, 5))),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
)
def test_packing_keeps_every_entry(shape, seed, share):
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(shape) < share, rng.normal(size=shape), 0).astype("f")
    packed = ms.Masked(values).pack()
    slots, rows = np.asarray(packed.values), np.asarray(packed.indices)
    rebuilt = np.zeros(shape, "f")
    np.add.at(rebuilt, (rows.astype(int), np.arange(shape[1])), slots)
    assert_array_equal(rebuilt, values)
    assert slots.shape[0] == max(1, np.count_nonzero(values, axis=0).max())
    assert all(len(set(column)) == len(column) for column in rows.T.tolist())


@few
@given(
    st.sampled_from([spec for spec, _ in SPECS]),
    st.tuples(*[st.sampled_from([1, 2, 7, 12, 13])] * 2),
    dtypes,
    st.integers(0, 2),
)
def test_whatever_a_spec_makes_multiplies_like_its_dense_form(spec, shape, dtype, batch):
    try:
        matrix = spec.init(jax.random.key(0), shape, dtype)
    except ValueError:
        return
    x = np.random.default_rng(0).normal(size=(batch, shape[0]))
    v = np.random.default_rng(1).normal(size=(shape[1], batch))

    @jax.jit
    def results(w, x, v):
        return w.astype(np.float32).to_dense(), x @ w, w @ v, w[0]

    dense, *got = results(matrix, jnp.asarray(x, dtype), jnp.asarray(v, dtype))
    dense = wide(dense)
    for g, want in zip(got, (x @ dense, dense @ v, dense[0]), strict=True):
        close(g, want, dtype, what=f"{spec} {shape}")


@few
@given(st.lists(st.integers(0, 3), max_size=3), st.sampled_from(["Kronecker", "HMD", "Sparse"]))
def test_any_batch_of_rows_is_a_product(batch, name):
    matrix = make(name, 1, np.float32)
    x = np.random.default_rng(0).normal(size=(*batch, matrix.shape[0])).astype("f")
    got = x @ matrix
    assert got.shape == (*batch, matrix.shape[1])
    assert_allclose(got, x @ np.asarray(matrix.to_dense()), rtol=1e-4, atol=1e-5)


@few
@given(st.tuples(*[st.sampled_from([1, 2, 3, 5])] * 4), st.integers(0, 1000))
def test_any_kronecker_product_is_found_again(sides, seed):
    (a, b, c, d), rng = sides, np.random.default_rng(seed)
    dense = np.kron(rng.normal(size=(a, b)), rng.normal(size=(c, d))).astype("f")
    factors = decompose.nearest_kronecker(dense, ((a, b), (c, d)))
    assert_allclose(np.kron(*factors), dense, rtol=1e-3, atol=1e-4)
