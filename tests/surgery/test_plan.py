"""Plans: the best points of every curve within a budget, and what they predict."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import structlin as sl
from structlin import specs
from structlin.surgery._errors import relative_error, squared_error
from structlin.surgery.curves._allocate import allocate, lower_hull
from structlin.surgery.curves._curves import curve
from structlin.surgery.curves._low_rank import known_cost
from structlin.surgery.curves._quick import SHORT, approximation
from structlin.surgery.curves._skeleton import skeleton

QUICK = (specs.LowRank(compression=2), specs.Sparse(compression=2), specs.Kron(compression=2))


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def smooth(m, n, seed=0):
    """A matrix whose singular values fall."""
    u, v = (jnp.linalg.qr(normal(seed + i, s, min(m, n)))[0] for i, s in enumerate((m, n)))
    return (u * 0.6 ** jnp.arange(min(m, n))) @ v.T * 4


def params():
    return {
        "a": {"kernel": smooth(12, 16), "bias": jnp.zeros(16)},
        "b": {"kernel": normal(1, 16, 10)},
        "c": {"embedding": 2 * smooth(20, 12, 3)},
    }


def curves(rng, count, most):
    sizes = [rng.integers(1, 40, rng.integers(1, most)).astype(float) for _ in range(count)]
    return sizes, [rng.random(len(s)) * 10 for s in sizes]


def total(values, places):
    return sum(v[i] for v, i in zip(values, places, strict=True))


def test_allocation_is_the_best_of_all_choices(rng):
    for _ in range(150):
        sizes, errors = curves(rng, rng.integers(1, 5), 7)
        budget = rng.integers(sum(s.min() for s in sizes), sum(s.max() for s in sizes) + 2)
        found = allocate(sizes, errors, budget)
        every = itertools.product(*(range(len(s)) for s in sizes))
        within = [p for p in every if total(sizes, p) <= budget]
        assert total(sizes, found) <= budget
        assert total(errors, found) == pytest.approx(min(total(errors, p) for p in within))


def test_allocation_is_monotone_where_there_are_many_weights(rng):
    sizes, errors = curves(rng, 30, 40)
    low, high = sum(s.min() for s in sizes), sum(s.max() for s in sizes)
    found = [total(errors, allocate(sizes, errors, b)) for b in np.linspace(low, high, 12)]
    assert found == sorted(found, reverse=True)


def test_allocation_follows_slopes():
    # The steeper curve goes down first.
    sizes, errors = [np.array([1.0, 2, 3])] * 2, [np.array([9.0, 5, 3]), np.array([9.0, 8, 7.5])]
    assert [allocate(sizes, errors, b) for b in (2, 3, 4, 5)] == [[0, 0], [1, 0], [2, 0], [2, 1]]
    with pytest.raises(ValueError, match="smallest points take 2"):
        allocate(sizes, errors, 1)


def test_the_hull_is_convex_and_below_all_points(rng):
    sizes, errors = np.arange(12.0), np.sort(rng.random(12))[::-1]
    hull = lower_hull(sizes, errors)
    assert hull[0] == 0
    assert hull[-1] == 11
    assert np.all(np.interp(sizes, sizes[hull], errors[hull]) <= errors + 1e-12)
    assert np.all(np.diff(np.diff(errors[hull]) / np.diff(sizes[hull])) > 0)


SIZED = {
    "Kron": specs.Kron(compression=4),
    "HMD": specs.HMD(compression=2),
    "Sparse": specs.Sparse(compression=3),
    "Monarch": specs.Monarch(compression=2),
    "Quantized": specs.Quantized(specs.Dense(), 3),
}


@pytest.mark.parametrize("name", SIZED)
def test_what_is_tried_quickly_is_what_is_fitted(name):
    dense = normal(0, 12, 16) + smooth(12, 16)
    spec = SIZED[name].sized_for(dense)
    quick = approximation(spec, np.asarray(dense), None)
    np.testing.assert_allclose(quick, spec.fit(dense).to_dense(), atol=2e-3)


def test_a_doped_product_is_tried_about_as_well_as_it_is_fitted():
    dense = normal(0, 12, 16)
    spec = specs.DopedKron(compression=2).sized_for(dense)
    quick = relative_error(dense, approximation(spec, np.asarray(dense), None), None)
    assert quick == pytest.approx(relative_error(dense, spec.fit(dense).to_dense(), None), rel=0.05)


KINDS = {
    "none": None,
    "rows": specs.Rows(jnp.arange(1.0, 13.0)),
    "covariance": specs.Covariance(normal(2, 12, 5) @ normal(2, 12, 5).T),
}


@pytest.mark.parametrize("kind", KINDS)
def test_low_rank_errors_come_from_one_decomposition(kind):
    dense, weights = normal(0, 12, 16), KINDS[kind]
    for point in curve(dense, weights, [specs.LowRank(compression=2)], (2.0, 5.0)):
        fitted = point.spec.fit(dense, weights)
        want = squared_error(dense, fitted.to_dense(), weights)
        assert point.error == pytest.approx(want, rel=1e-3)
        assert point.cost.bytes == fitted.cost().bytes


@pytest.mark.parametrize(
    "spec",
    [
        *(specs.Dense(), specs.LowRank(rank=3), specs.Quantized(specs.Dense(), 5)),
        *(specs.Quantized(specs.LowRank(rank=1), 3, c) for c in ("kmeans", "symmetric")),
    ],
    ids=repr,
)
def test_known_costs_are_those_of_the_specs(spec):
    assert known_cost(spec, (12, 7), jnp.dtype("float32")) == spec.cost((12, 7))


@pytest.mark.parametrize(
    "spec",
    [
        *(specs.Kron(compression=2), specs.Sparse(compression=2), specs.DopedKron(compression=2)),
        *(specs.HMD(compression=2, rank_blocks=2), specs.Monarch(compression=2)),
        specs.Sparse(compression=2, block=(2, 1)),
    ],
    ids=repr,
)
def test_costs_without_a_draw_are_those_of_the_specs(spec):
    sized = spec.sized((12, 8))
    made = skeleton(sized, (12, 8), jnp.dtype("float32"))
    assert made.pack().cost() == sized.cost((12, 8))


def test_leading_vectors_of_a_large_matrix_come_near_by_powers(rng):
    product = np.kron(rng.normal(size=(10, 20)), rng.normal(size=(16, 10)))
    dense, starts = rng.normal(size=(160, 200)) + 0.5 * product, {}
    for near in (dense, dense + 0.1 * rng.normal(size=dense.shape)):  # from where the first ended
        for shapes in (((10, 20), (16, 10)), ((16, 10), (10, 20))):
            (a, b), (c, d) = shapes
            mixed = near.reshape(a, c, b, d).transpose(0, 2, 1, 3).reshape(a * b, c * d)
            assert min(mixed.shape) > SHORT
            best = np.linalg.svd(mixed, compute_uv=False)
            found = approximation(specs.Kron(shapes=shapes), near, None, starts)
            assert np.sum((near - found) ** 2) == pytest.approx(np.sum(best[1:] ** 2), rel=3e-3)
    assert len(starts) == 2


def test_what_is_beaten_unseen_is_not_on_the_frontier():
    dense, coded = normal(5, 40, 60), specs.Quantized(specs.LowRank(compression=2), 4)
    plain = [specs.Quantized(specs.Dense(), 3, "kmeans"), specs.Quantized(specs.Dense(), 8)]
    both, alone = (curve(dense, None, c, (1.2, 9.0)) for c in ([coded, *plain], [coded]))
    tried = {p.spec for p in both}
    missing = [p for p in alone if p.spec not in tried]
    assert 0 < len(missing) < len(alone)
    for point in missing:
        assert any(p.cost.bytes <= point.cost.bytes and p.error <= point.error for p in both)


def test_weights_without_a_fit_of_their_own_are_counted():
    dense, weights = normal(0, 12, 16), specs.Fisher(normal(1, 12, 16) ** 2)
    candidates = [
        *(specs.LowRank(compression=2), specs.Quantized(specs.LowRank(compression=2), 8)),
        *(specs.Monarch(compression=2), specs.Sparse(compression=2)),
    ]
    for point in curve(dense, weights, candidates, (2.0,)):
        assert 0 < point.error < squared_error(dense, jnp.zeros((12, 16)), weights)


def test_a_plan_keeps_its_budget_and_its_word():
    tree = params()
    plan = sl.plan(tree, compression=3, candidates=QUICK)
    small = sl.compress(tree, plan)
    dense = sum(x.nbytes for x in jax.tree.leaves(tree))
    assert plan.budget == int(dense / 3)
    stored = sum(x.nbytes for x in jax.tree.leaves(sl.pack(small.params)))
    assert stored == plan.report.total.bytes <= plan.budget
    assert set(plan) == {"a/kernel", "b/kernel", "c/embedding"}
    error = 0.0
    for row in small.report.rows:
        assert row.relative_error == pytest.approx(plan.report[row.path].relative_error, rel=0.02)
        module, name = row.path.split("/")
        error += squared_error(tree[module][name], small.params[module][name].to_dense(), None)
    assert plan.error == pytest.approx(error, rel=0.05)


def test_a_plan_beats_one_rank_for_all():
    tree = params()
    uniform = {".*kernel|.*embedding": specs.LowRank(compression=3)}
    report = sl.compress(tree, uniform).report
    plan = sl.plan(tree, bytes=report.total.bytes, candidates=[specs.LowRank(compression=2)])
    norms = {p: squared_error(w, jnp.zeros(w.shape), None) for p, w in weights_of(tree).items()}
    error = sum(r.relative_error**2 * norms[r.path] for r in report.rows)
    assert plan.error < error


def weights_of(tree):
    return {p: w for p, w in sl.surgery._paths.leaf_paths(tree).items() if w.ndim == 2}


def test_more_bytes_never_make_it_worse():
    tree = params()
    found = [sl.plan(tree, b, candidates=QUICK).error for b in (700, 1000, 1500, 2200, 2500)]
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0  # all of it fits


def test_importance_moves_bytes_to_what_matters():
    tree = params()
    much = {p: specs.Fisher(jnp.ones(w.shape)) for p, w in weights_of(tree).items()}
    much["b/kernel"] = specs.Fisher(jnp.full((16, 10), 1e4))
    even = sl.plan(tree, compression=3, candidates=QUICK)
    moved = sl.plan(tree, compression=3, candidates=QUICK, importance=much)
    assert moved.report["b/kernel"].bytes > even.report["b/kernel"].bytes
    assert moved.report["b/kernel"].relative_error < even.report["b/kernel"].relative_error


@pytest.mark.parametrize("importance", ["uniform", "relative", "magnitude"])
def test_named_importances(importance):
    plan = sl.plan(params(), compression=3, candidates=QUICK[1:], importance=importance)
    assert plan.report.total.bytes <= plan.budget
    assert bool(plan.weights) == (importance == "magnitude")


def test_tied_weights_are_planned_once():
    table = smooth(20, 12)
    tree = {"in": {"embedding": table}, "out": {"embedding": table}}
    plan = sl.plan(tree, compression=2, candidates=QUICK[:1])
    assert plan["in/embedding"] == plan["out/embedding"]
    assert plan.budget == table.nbytes // 2
    small = sl.compress(tree, plan)
    assert small.report.total.bytes == plan.report.total.bytes
    assert small.params["in"]["embedding"] is small.params["out"]["embedding"]


def test_gates_are_planned_as_one_if_asked():
    carry = jnp.zeros(6), jnp.zeros(6)
    cell = nn.OptimizedLSTMCell(6).init(jax.random.key(0), carry, jnp.zeros(5))["params"]
    plan = sl.plan(cell, compression=2, candidates=QUICK[:2], fuse=True)
    assert set(plan) == {"i/kernel", "h/kernel"}
    assert sl.compress(cell, plan).report.total.bytes <= plan.budget


def test_plans_round_trip_through_toml(tmp_path):
    tree = params()
    plan = sl.plan(tree, compression=3, candidates=QUICK)
    file = tmp_path / "plan.toml"
    text = plan.to_toml(file)
    for source in (text, file):
        found = sl.Plan.from_toml(source)
        assert found == plan
        assert found.report == plan.report
        assert (found.budget, found.error) == (plan.budget, plan.error)
    assert sl.compress(tree, file).report.total.bytes == plan.report.total.bytes
    with pytest.raises(ValueError, match="not that of a plan"):
        sl.Plan.from_toml("budget = 3\n")


def test_nnx_models_are_planned():
    model = nnx.Linear(12, 16, rngs=nnx.Rngs(0))
    plan = sl.plan(model, compression=2, candidates=QUICK[:2])
    assert list(plan) == ["kernel"]
    assert sl.compress(model, plan).report.total.bytes <= plan.budget


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "bytes or compression"),
        ({"bytes": 9, "compression": 2}, "bytes or compression"),
        ({"compression": 0}, "positive"),
        ({"bytes": 70}, r"70 bytes; the least .* of which 64 .*compression="),
        ({"compression": 2, "include": "kern"}, r"(?s)'kern'.*a/kernel"),
        ({"compression": 2, "importance": "large"}, "'uniform'.*'large'"),
        ({"compression": 2, "importance": {"a/kernel": jnp.ones(12)}}, "nothing of .*b/kernel"),
    ],
)
def test_what_cannot_be_planned_says_why(options, words):
    with pytest.raises(ValueError, match=words):
        sl.plan(params(), candidates=[specs.Sparse(compression=2)], **options)


def test_a_weight_that_is_not_finite_says_so():
    with pytest.raises(ValueError, match="3 x 2 holds NaN"):
        sl.plan({"a": {"kernel": jnp.full((3, 2), jnp.nan)}}, compression=2)


class Words(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, 4, name="embed")(tokens)
        x = nn.RNN(nn.OptimizedLSTMCell(4, name="cell"), name="rnn")(x)
        return nn.Dense(3, name="out")(x)


TOKENS = jnp.array([[1, 4, 2], [3, 3, 6]])


@pytest.fixture(scope="module")
def words():
    return Words().init(jax.random.key(0), TOKENS)["params"]


def test_activations_are_what_the_layers_multiply(words):
    found = sl.activations(lambda t: Words().apply({"params": words}, t), [TOKENS, TOKENS + 0])
    counts = np.bincount(np.ravel(TOKENS), minlength=7) / TOKENS.size
    np.testing.assert_allclose(found["embed/embedding"].values, counts, rtol=1e-6)
    x = words["embed"]["embedding"][TOKENS].reshape(-1, 4)
    for path in ("cell/ii/kernel", "cell/io/kernel"):
        np.testing.assert_allclose(found[path].values, x.T @ x / 6, atol=1e-6)
    cell = nn.RNN(nn.OptimizedLSTMCell(4))
    h = cell.apply({"params": {"cell": words["cell"]}}, words["embed"]["embedding"][TOKENS])
    h_before = jnp.concatenate([jnp.zeros((2, 1, 4)), h[:, :-1]], axis=1).reshape(-1, 4)
    want = h_before.T @ h_before / 6
    np.testing.assert_allclose(found["cell/hf/kernel"].values, want, atol=1e-6)
    h = h.reshape(-1, 4)
    np.testing.assert_allclose(found["out/kernel"].values, h.T @ h / 6, atol=1e-6)
    plan = sl.plan(words, compression=1.5, candidates=QUICK[:1], importance=found, fuse=True)
    assert sl.compress(words, plan).report.total.bytes <= plan.budget


def test_activations_without_a_layer_say_so():
    with pytest.raises(ValueError, match="saw no layer"):
        sl.activations(lambda t: t, [TOKENS])


def test_fisher_is_the_mean_of_squared_gradients(words):
    def loss(params, tokens):
        return jnp.sum(jnp.sin(Words().apply({"params": params}, tokens)))

    batches = [TOKENS, TOKENS[::-1] // 2]
    found = sl.fisher(loss, words, batches)
    grads = [jax.grad(loss)(words, b)["out"]["kernel"] for b in batches]
    want = (grads[0] ** 2 + grads[1] ** 2) / 2
    np.testing.assert_allclose(found["out/kernel"].values, want, rtol=1e-4, atol=1e-7)
    assert "out/bias" not in found
    with pytest.raises(ValueError, match="at least one batch"):
        sl.fisher(loss, words, [])
