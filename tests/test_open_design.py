"""One more structure, written outside the library, goes everywhere that the library's own go.

`Anticirculant` and its spec are all that a newcomer writes; nothing in ``structlin`` knows them.
"""

import inspect
import math
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_matrices
import test_matrices_algebra
import test_matrices_cost
import test_matrices_operators
import test_matrices_transforms
import test_tree
from cases import CASES, LARGE, POSITIVE, SQUARE, Draw
from flax import serialization
from numpy.testing import assert_allclose

import structlin as sl
from structlin import specs
from structlin.matrices import REGISTRY, Matrix, Sparse, Sum
from structlin.specs import SPECS


class Anticirculant(Matrix):
    """A square matrix each of whose rows is the one above it moved back by one.

    It is a circulant matrix whose rows, from the second on, stand in the opposite order.

    Attributes:
        first: The first row, ``(n,)``: the entry ``i, j`` is ``first[(i + j) % n]``.
    """

    first: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        n = self.first.shape[-1]
        return n, n

    def rmatmul(self, x: jax.Array) -> jax.Array:
        return self._filter(_turned(x), _spectrum(self.first))

    def _take(self, rows: jax.Array) -> jax.Array:
        rows = jnp.asarray(rows)[..., None]
        columns = jnp.arange(len(self), dtype=rows.dtype)
        return jnp.asarray(self.first)[(columns + rows) % len(self)]

    def transpose(self) -> "Anticirculant":
        return self

    def to_dense(self) -> jax.Array:
        return self._take(jnp.arange(len(self)))

    def flops(self) -> int:
        n = len(self)
        return math.ceil(15 * n * math.log2(max(n, 2))) + 6 * n  # three transforms, one product

    def _solve(self, b: jax.Array) -> jax.Array:
        return _turned(self._filter(b.T, 1 / _spectrum(self.first))).T

    def _slogdet(self) -> tuple[jax.Array, jax.Array]:
        eigenvalues = _spectrum(self.first)  # of the circulant matrix
        sizes = jnp.abs(eigenvalues)
        swaps = (len(self) - 1) // 2  # that turn one into the other
        turns = jnp.prod(eigenvalues / sizes.astype(eigenvalues.dtype))
        return _cast(turns, self.dtype) * (-1) ** swaps, jnp.sum(jnp.log(sizes))

    def _filter(self, x: jax.Array, spectrum: jax.Array) -> jax.Array:
        return _cast(jnp.fft.ifft(_spectrum(x) * spectrum), jnp.result_type(x, self.dtype))


def _turned(x: jax.Array) -> jax.Array:
    """All but the first number of each row in the opposite order."""
    return jnp.roll(jnp.flip(x, -1), 1, -1)


def _spectrum(x: jax.Array) -> jax.Array:
    wide = jnp.finfo(x.dtype).bits >= 32 if jnp.issubdtype(x.dtype, jnp.inexact) else True
    return jnp.fft.fft(x if wide else x.astype(jnp.float32))


def _cast(x: jax.Array, dtype: Any) -> jax.Array:
    return (x if jnp.issubdtype(dtype, jnp.complexfloating) else x.real).astype(dtype)


class AnticirculantSpec(specs.Spec):
    """Asks for an anticirculant matrix."""

    weighs = (specs.Rows,)

    def init(
        self, key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32
    ) -> Anticirculant:
        n = _side(shape)
        return Anticirculant(jax.random.normal(key, (n,), dtype) / jnp.asarray(n**0.5, dtype))

    def _fit(self, dense: jax.Array, weights: Any) -> Anticirculant:
        n = _side(dense.shape)
        rows = jnp.arange(n)[:, None]
        diagonals = dense[rows, (jnp.arange(n) - rows) % n]  # the k-th wrapped one in column k
        return Anticirculant(jnp.average(diagonals, axis=0, weights=weights and weights.values))


def _side(shape: tuple[int, ...]) -> int:
    if shape[0] != shape[1]:
        raise ValueError(f"An anticirculant matrix is square; {shape} is not.")
    return shape[0]


# Defined means registered. The other tests count the library's own structures, so that these two
# are known only while the tests of this file run.
del REGISTRY["Anticirculant"], SPECS["Anticirculant"]

LAWS = [
    test_matrices,
    test_matrices_algebra,
    test_matrices_cost,
    test_matrices_operators,
    test_matrices_transforms,
    test_tree,
]
SIZES = [1, 4, 5, 30]


def anticirculant(n):
    return lambda key, dtype: Anticirculant(Draw(key, dtype)(n))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(REGISTRY, "Anticirculant", Anticirculant)
    monkeypatch.setitem(SPECS, "Anticirculant", AnticirculantSpec)
    monkeypatch.setitem(CASES, "Anticirculant", [anticirculant(n) for n in SIZES])
    monkeypatch.setitem(SQUARE, "Anticirculant", anticirculant(5))


def ours(mark):
    """A test's mark with the library's structures replaced by ours."""
    names, values = mark.args if mark.name == "parametrize" else ((), ())
    if "index" in names:
        indices = [len(SIZES) - 1] if values is LARGE else range(len(SIZES))
        return pytest.mark.parametrize(names, [("Anticirculant", i) for i in indices]).mark
    return pytest.mark.parametrize("name", ["Anticirculant"]).mark if "name" in names else mark


def laws(module):
    """Copies of a module's tests over every structure, to be collected here under their names."""
    shared = [module.pytestmark.mark] if hasattr(module, "pytestmark") else []
    for name, law in vars(module).items():
        marks = getattr(law, "pytestmark", [])
        if any(POSITIVE in mark.args for mark in marks):
            continue  # it has no spectrum of its own
        if name.startswith("test_") and "name" in inspect.signature(law).parameters:
            copy = types.FunctionType(law.__code__, law.__globals__, name)
            vars(copy)["pytestmark"] = [ours(mark) for mark in [*shared, *law.pytestmark]]
            yield name, copy


for module in LAWS:
    globals().update(laws(module))


def test_laws_were_found():
    assert {"test_nothing_becomes_dense", "test_pickle_round_trip"} < set(globals())


def layer():
    model = sl.Dense(12, spec=AnticirculantSpec())
    x = jax.random.normal(jax.random.key(0), (4, 12))
    return model, model.init(jax.random.key(1), x), x


def test_entries_by_definition():
    matrix = Anticirculant(jnp.array([1.0, 2.0, 3.0]))
    assert matrix.to_dense().tolist() == [[1, 2, 3], [2, 3, 1], [3, 1, 2]]


def test_solve_and_slogdet(rng):
    matrix = Anticirculant(jnp.asarray(rng.normal(size=6), jnp.float32))
    b = rng.normal(size=(6, 2)).astype(np.float32)
    assert_allclose(matrix @ matrix.solve(b), b, atol=1e-4)
    for got, want in zip(matrix.slogdet(), np.linalg.slogdet(matrix.to_dense()), strict=True):
        assert_allclose(got, want, rtol=1e-4)


def test_algebra_with_other_structures(rng):
    matrix = Anticirculant(jnp.asarray(rng.normal(size=6), jnp.float32))
    other = specs.Kron().init(jax.random.key(0), (6, 6))
    x = rng.normal(size=(2, 6)).astype(np.float32)
    built = 2 * matrix @ other.T + matrix
    assert_allclose(x @ built, x @ np.asarray(built.to_dense()), rtol=1e-4, atol=1e-5)


def test_spec_speaks_json_and_knows_its_cost():
    spec = specs.Doped(AnticirculantSpec(), density=0.25)
    assert specs.from_json(spec.to_json()) == spec
    assert AnticirculantSpec().cost((8, 8)).compression == 8


def test_fit_is_the_nearest(rng):
    exact = Anticirculant(jnp.asarray(rng.normal(size=7), jnp.float32))
    assert_allclose(AnticirculantSpec().fit(exact.to_dense()).first, exact.first, rtol=1e-5)
    dense, weights = rng.normal(size=(7, 7)).astype("f"), rng.random(7).astype("f")
    fit = AnticirculantSpec().fit(jnp.asarray(dense), jnp.asarray(weights))
    sums = np.add.outer(np.arange(7), np.arange(7)) % 7
    basis = np.stack([(sums == k).ravel() for k in range(7)], axis=1)
    root = np.repeat(np.sqrt(weights), 7)
    best = np.linalg.lstsq(root[:, None] * basis, root * dense.ravel(), rcond=None)[0]
    assert_allclose(fit.first, best, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="square"):
        AnticirculantSpec().fit(jnp.ones((2, 3)))


def test_layer_trains():
    model, variables, x = layer()
    params = variables["params"]
    assert isinstance(params["kernel"], Anticirculant)
    assert_allclose(model.apply(variables, x), x @ params["kernel"].to_dense(), atol=1e-5)

    def loss(params):
        return jnp.mean((model.apply({"params": params}, x) - 1) ** 2)

    tx = optax.adamw(0.05)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state, losses = tx.init(params), []
    for _ in range(50):
        params, state, value = step(params, state)
        losses.append(value)
    assert isinstance(params["kernel"], Anticirculant)
    assert losses[-1] < 0.1 * losses[0]


def test_trained_dense_weights_are_fitted_and_run_by_the_same_model():
    x = jnp.ones((2, 8))
    trained = nn.Dense(8).init(jax.random.key(0), x)["params"]
    fitted = {**trained, "kernel": AnticirculantSpec().fit(trained["kernel"])}
    want = nn.Dense(8).apply({"params": sl.densify(fitted)}, x)
    assert_allclose(sl.Dense(8).apply({"params": fitted}, x), want, rtol=1e-5, atol=1e-6)


def test_doped_pack_save_load(tmp_path):
    spec = specs.Doped(AnticirculantSpec(), density=0.25)
    model, x = sl.Dense(12, spec=spec), jnp.ones((3, 12))
    params = model.init(jax.random.key(0), x)["params"]
    packed = sl.pack(params)
    assert isinstance(packed["kernel"], Sum)
    assert [type(t) for t in packed["kernel"].terms] == [Anticirculant, Sparse]
    sl.save(tmp_path / "model.slin", packed)
    loaded = sl.load(tmp_path / "model.slin")
    assert jax.tree.structure(loaded) == jax.tree.structure(packed)
    for got, want in zip(jax.tree.leaves(loaded), jax.tree.leaves(packed), strict=True):
        assert np.array_equal(got, want)
    want = model.apply({"params": params}, x)
    assert_allclose(model.apply({"params": loaded}, x), want, rtol=1e-5, atol=1e-6)


def test_flax_serialization_after_registering():
    sl.linen.register_serialization()
    _, variables, _ = layer()
    empty = jax.tree.map(jnp.zeros_like, variables)
    restored = serialization.from_bytes(empty, serialization.to_bytes(variables))
    assert_allclose(restored["params"]["kernel"].first, variables["params"]["kernel"].first)
