"""Specs: what they make, what it costs, what they fit, and their JSON."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import SPEC_CASES, SPECS
from numpy.testing import assert_allclose, assert_array_equal

from structlin import matrices as ms
from structlin import specs

pytestmark = pytest.mark.usefixtures("strict_promotion")
every_spec = pytest.mark.parametrize(
    ("spec", "shape"), SPECS, ids=lambda s: str(s).replace(" ", "")
)


def key(seed=0):
    """A random key of the kind that takes XLA the least time to compile."""
    return jax.random.key(seed, impl="rbg")


def init(spec, shape):
    return jax.jit(lambda key: spec.init(key, shape))(key())


@every_spec
def test_init_has_the_shape_dtype_and_cost_that_it_says(spec, shape):
    matrix = init(spec, shape)
    assert matrix.shape == shape
    assert matrix.dtype == np.float32
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(matrix))
    if not getattr(spec, "anneal", False):  # an annealed one has all its entries until trained
        assert matrix.pack().cost() == spec.cost(shape)
    assert spec.cost(shape).dense_bytes == 4 * shape[0] * shape[1]
    half = jax.eval_shape(lambda key: spec.init(key, shape, jnp.bfloat16), key())
    assert half.dtype == jnp.bfloat16


@every_spec
def test_sized_is_settled_and_makes_the_same(spec, shape):
    sized = spec.sized(shape)
    assert sized.sized(shape) == sized
    assert sized.cost(shape) == spec.cost(shape)
    assert getattr(sized, "compression", None) is None
    made = [jax.eval_shape(lambda k, s=s: s.init(k, shape), key()) for s in (spec, sized)]
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])


@every_spec
def test_fit_is_a_near_matrix_of_the_same_kind(spec, shape, x64, rng):
    dense = rng.normal(size=shape)
    fitted = spec.fit(dense)
    made = jax.eval_shape(lambda k: spec.init(k, shape, jnp.float64), key())
    assert jax.tree.structure(fitted) == jax.tree.structure(made)
    assert [x.shape for x in jax.tree.leaves(fitted)] == [x.shape for x in jax.tree.leaves(made)]
    assert fitted.dtype == np.float64
    again = fitted.to_dense()
    assert np.linalg.norm(dense - again) <= np.linalg.norm(dense)  # no worse than zero
    if not getattr(spec, "anneal", False):
        assert fitted.pack().cost() == spec.cost(shape, jnp.float64)
    # What is exactly of the kind is found again; a sum with a sparse part nearly so.
    sums = ("Doped" in repr(spec) and "anneal" not in repr(spec)) or "Quantized" in repr(spec)
    error = np.linalg.norm(again - spec.fit(again).to_dense()) / np.linalg.norm(again)
    assert error < (0.1 if sums else 1e-10)


@every_spec
def test_json_round_trip(spec, shape):
    del shape
    text = spec.to_json()
    assert "\n" not in text
    assert specs.from_json(text) == spec
    assert hash(specs.from_json(text)) == hash(spec)
    assert isinstance(json.loads(text), dict)
    assert repr(spec).startswith(f"{spec.spec_name()}(")


def test_json_takes_numpy_sizes():
    spec = specs.LowRank(rank=np.int64(3))
    assert specs.from_json(spec.to_json()) == specs.LowRank(rank=3)
    spec = specs.Sparse(density=np.float32(0.5))
    assert specs.from_json(spec.to_json()) == specs.Sparse(density=0.5)


@pytest.mark.parametrize("name", SPEC_CASES)
def test_specs_are_frozen_and_found_by_name(name):
    spec = SPEC_CASES[name][0][0]
    assert getattr(specs, name) is type(spec) is specs.SPECS[name]
    assert spec in {spec}
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)


def slot(m, n, itemsize=4):
    """Bytes of one more entry in each column."""
    return n * (itemsize + (1 if m <= 256 else 2))


M, N = 48, 60
UNITS = [
    (lambda c: specs.LowRank(compression=c), 4 * (M + N)),
    (lambda c: specs.HMD(compression=c), 4 * (M - 1)),
    (lambda c: specs.HMD(compression=c, rank_blocks=2), 4 * (M - 1)),
    (lambda c: specs.Sparse(compression=c), slot(M, N)),
    (lambda c: specs.DopedKron(compression=c), slot(M, N)),
    (lambda c: specs.Doped(specs.LowRank(rank=1), compression=c), slot(M, N)),
    (lambda c: specs.Doped(specs.HMD(dense_columns=1), compression=c), slot(M, N)),
]


@pytest.mark.parametrize(
    ("spec", "unit"), UNITS, ids=lambda u: u(2).spec_name() if callable(u) else u
)
def test_compression_is_met_and_nearly_used_up(spec, unit):
    for compression in (2, 3.7, 5):
        budget, cost = 4 * M * N / compression, spec(compression).cost((M, N))
        assert budget - unit < cost.bytes <= budget
        assert cost.compression >= compression
    assert init(spec(compression), (M, N)).pack().cost() == cost


@pytest.mark.parametrize("compression", [2, 5, 17])
def test_kron_takes_the_largest_of_full_rank_within_the_budget(compression):
    stored = specs.Kron(compression=compression).cost((M, N))
    sizes = [
        4 * (a * b + (M // a) * (N // b))
        for a in range(1, M + 1)
        for b in range(1, N + 1)
        if M % a == 0 == N % b
        and min(a, b) * min(M // a, N // b) == M
        and (a, b) != (1, 1) != (M, N)
    ]
    assert stored.bytes == max(s for s in sizes if s <= 4 * M * N / compression)


IMPOSSIBLE = [
    specs.LowRank(compression=1000),
    specs.HMD(compression=1000, rank_blocks=2),
    specs.Sparse(compression=1000),
    specs.Kron(compression=1000),
    specs.DopedKron(compression=1000),
    specs.Doped(specs.LowRank(rank=1), compression=1000),
    specs.PerGate(specs.LowRank(compression=1000), gates=3),
]


@pytest.mark.parametrize("shape", [(48, 60), (31, 27), (7, 300), (300, 9)])
@pytest.mark.parametrize("spec", IMPOSSIBLE, ids=lambda s: s.spec_name())
def test_impossible_compression_names_the_reachable_one(spec, shape):
    with pytest.raises(ValueError, match="Ask for compression=") as raised:
        spec.cost(shape)
    named = float(re.search(r"compression=([\d.e+]+) or less", str(raised.value)).group(1))

    def ask(compression):
        if isinstance(spec, specs.PerGate):
            return specs.PerGate(ask_inner(spec.inner, compression), gates=3)
        return ask_inner(spec, compression)

    def ask_inner(inner, compression):
        return dataclasses.replace(inner, compression=compression)

    assert ask(named).cost(shape).compression >= named
    with pytest.raises(ValueError, match="Ask for"):
        ask(named * 1.01).cost(shape)


@pytest.mark.parametrize(
    "spec",
    [
        specs.Dense(),
        specs.Kron(),
        specs.Kron(factors=3),
        specs.LowRank(rank=4),
        specs.HMD(dense_columns=16),
        specs.HMD(dense_columns=4, rank_blocks=8),
        specs.Sparse(density=0.25),
        specs.DopedKron(density=0.1),
        specs.PerGate(specs.LowRank(rank=3)),
    ],
    ids=str,
)
def test_init_keeps_the_variance_of_its_input(spec, rng):
    shape = (48, 64)

    made = jax.jit(lambda key: spec.init(key, shape).to_dense())
    x = rng.normal(size=(32, shape[0]))
    mean = np.mean([np.mean((x @ np.asarray(made(key(seed)))) ** 2) for seed in range(24)])
    assert 1 / 1.5 < mean < 1.5


def test_weights_matter_to_the_fits_that_take_them(rng):
    dense, weights = rng.normal(size=(12, 8)).astype("f"), np.full(12, 1e-3, "f")
    weights[:3] = 1.0
    for spec in (
        specs.LowRank(rank=3),
        specs.HMD(dense_columns=1),
        specs.Doped(specs.LowRank(rank=2), density=0.1),
        specs.PerGate(specs.LowRank(rank=1), gates=2),
    ):
        plain, weighted = (np.asarray(spec.fit(dense, w).to_dense()) for w in (None, weights))
        important = [np.linalg.norm((dense - fit)[:3]) for fit in (plain, weighted)]
        assert important[1] < important[0], spec


def test_weights_change_which_entries_a_sparse_fit_keeps():
    dense = np.array([[1.0], [2.0], [3.0]], np.float32)
    fit = specs.Sparse(density=1 / 3).fit(dense, np.array([100.0, 1.0, 1.0], "f"))
    assert_array_equal(fit.to_dense(), [[1.0], [0.0], [0.0]])


def test_annealed_fits_are_exact_until_pruned(rng):
    dense = rng.normal(size=(8, 6)).astype("f")
    for spec in (
        specs.Sparse(density=0.25, anneal=True),
        specs.DopedKron(density=0.2, anneal=True),
    ):
        assert_allclose(spec.fit(dense).to_dense(), dense, rtol=1e-5, atol=1e-6)
        with pytest.warns(UserWarning, match="were asked for"):
            spec.fit(dense).pack()


def test_fit_of_complex_and_wide_types(rng, x64):
    with jax.numpy_dtype_promotion("standard"):
        dense = rng.normal(size=(6, 4)) + 1j * rng.normal(size=(6, 4))
        for spec in (
            specs.Kron(shapes=((6, 4),)),
            specs.LowRank(rank=4),
            specs.HMD(dense_columns=3),
        ):
            fitted = spec.fit(dense)
            assert fitted.dtype == np.complex128
            assert_allclose(fitted.to_dense(), dense, rtol=1e-10)


def test_doped_takes_any_host_and_sums_stay_flat():
    host = specs.Doped(specs.Kron(), density=0.25)
    matrix = init(specs.Doped(host, density=0.25), (8, 6))
    assert [type(t) for t in matrix.terms] == [ms.Kronecker, ms.Masked, ms.Masked]
