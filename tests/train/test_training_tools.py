"""Alternation, rounds of pruning, averages and distillation, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from numpy.testing import assert_allclose, assert_array_equal

import structlin as sl
from structlin import train
from structlin.matrices import LowRank

RNG = np.random.default_rng(0)


def numbers(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


PARAMS = {"a": {"w": numbers(4, 3)}, "b": {"w": numbers(3, 2)}, "bias": jnp.zeros(2)}
GRADS = [jax.tree.map(lambda x: numbers(*x.shape), PARAMS) for _ in range(8)]


def steps(optimiser, params, grads):
    """The parameters after each step, and the last state."""
    state, seen = optimiser.init(params), []
    update = jax.jit(optimiser.update)
    for g in grads:
        updates, state = update(g, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen, state


def test_each_group_trains_as_if_it_had_only_its_own_steps():
    optimiser = train.alternate(optax.adamw(0.1), {"a/.*": 0, "b/.*": 1}, every=2)
    seen, _ = steps(optimiser, PARAMS, GRADS)
    for name, turns in (("a", (0, 1, 4, 5)), ("b", (2, 3, 6, 7)), ("bias", range(8))):
        expected, _ = steps(optax.adamw(0.1), PARAMS[name], [GRADS[i][name] for i in turns])
        done = [PARAMS[name], *expected]
        for i, now in enumerate(seen):
            want = done[sum(t <= i for t in turns)]
            jax.tree.map(lambda x, y: assert_allclose(x, y, rtol=1e-5), now[name], want)
        still = [i for i in range(1, 8) if i not in turns]
        for i in still:
            jax.tree.map(assert_array_equal, seen[i][name], seen[i - 1][name])


def test_alternation_refuses_what_makes_no_sense():
    for phases, every in (({}, 1), ({"a/.*": -1}, 1), ({"a/.*": 0}, 0)):
        with pytest.raises(ValueError, match="every >= 1 and phases"):
            train.alternate(optax.sgd(0.1), phases, every=every)
    with pytest.raises(ValueError, match=r"'c' matches no parameter.*a/w"):
        train.alternate(optax.sgd(0.1), {"c": 0}, every=1).init(PARAMS)


def test_alternation_and_zeros_in_an_nnx_optimiser():
    model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    model.kernel[...] = jnp.where(jnp.arange(12).reshape(4, 3) % 2, model.kernel[...], 0.0)
    inner = train.alternate(optax.adam(0.1), {"kernel": 0, "bias": 1}, every=1)
    optimiser = nnx.Optimizer(model, train.keep_zeros(inner, ["kernel"]), wrt=nnx.Param)
    before = model.kernel[...], model.bias[...]

    @nnx.jit
    def step(model, optimiser):
        optimiser.update(model, nnx.grad(lambda m: ((m(jnp.ones((2, 4))) - 1) ** 2).sum())(model))

    step(model, optimiser)
    assert_array_equal(model.bias[...], before[1])
    assert_array_equal(model.kernel[...] != 0, before[0] != 0)
    assert (model.kernel[...] != before[0]).sum() == 6
    after = model.kernel[...]
    step(model, optimiser)
    assert_array_equal(model.kernel[...], after)
    assert (model.bias[...] != before[1]).all()


def test_zeros_stay_under_momentum_and_decay_and_take_no_part_in_the_norm():
    params = {"w": jnp.array([[0.0, 5.0], [4.0, 0.0]]), "bias": jnp.zeros(2)}
    grads = {"w": jnp.array([[1e6, 3.0], [4.0, 1e6]]), "bias": jnp.zeros(2)}
    optimiser = train.keep_zeros(optax.clip_by_global_norm(1.0), ["w"])
    updates, state = optimiser.update(grads, optimiser.init(params), params)
    assert_allclose(updates["w"], [[0.0, 0.6], [0.8, 0.0]], rtol=1e-6)
    optimiser = train.keep_zeros(
        optax.MultiSteps(optax.adamw(0.1), 2).gradient_transformation(), ["w"]
    )
    grads = [{"w": jnp.ones((2, 2)), "bias": jnp.ones(2)}] * 4
    seen, _ = steps(optimiser, params, grads)
    assert_array_equal(seen[-1]["w"] != 0, params["w"] != 0)
    assert (seen[-1]["bias"] != 0).all()  # not named: what starts at zero trains
    with pytest.raises(ValueError, match="matches no parameter"):
        train.keep_zeros(optax.sgd(0.1), ["v"]).init(params)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimiser.update(grads[0], optimiser.init(params))


def test_the_momentum_of_what_was_pruned_just_now_does_not_move_it():
    optimiser = train.keep_zeros(optax.sgd(0.1, momentum=0.9), ["w"])
    params = {"w": jnp.array([1.0, 2.0])}
    _, state = optimiser.update({"w": jnp.ones(2)}, optimiser.init(params), params)
    pruned = {"w": jnp.array([0.0, 2.0])}
    updates, _ = optimiser.update({"w": jnp.zeros(2)}, state, pruned)
    assert_allclose(updates["w"], [0.0, -0.09], rtol=1e-6)


@pytest.mark.parametrize("rewind", [False, True])
def test_rounds_of_pruning_against_numpy(rewind):
    params = {"w": numbers(8, 3), "bias": jnp.ones(3)}
    early = jax.tree.map(lambda x: x + 10.0, params)
    given = []

    def retrain(start, density):
        given.append((start, density))
        return {"w": start["w"] * jnp.linspace(1.0, -3.0, 8)[:, None], "bias": start["bias"] + 1}

    rounds = list(
        train.iterative_pruning(params, ["w"], retrain, rewind_to=early if rewind else None)
    )
    assert [r.density for r in rounds] == [0.5, 0.25, 0.1] == [d for _, d in given]
    before = params
    for (start, _), kept, done in zip(given, (4, 2, 1), rounds, strict=True):
        w = np.asarray(before["w"])
        alive = np.argsort(np.argsort(-np.abs(w), axis=0), axis=0) < kept
        source = early if rewind else before
        assert_array_equal(start["w"], np.where(alive, source["w"], 0))
        assert_array_equal(start["bias"], source["bias"])
        before = done.params


def test_a_round_runs_when_it_is_asked_for_and_takes_other_units():
    calls = []
    rounds = train.iterative_pruning(
        {"w": numbers(8, 3)},
        ["w"],
        lambda p, d: calls.append(d) or p,
        (0.5,),
        support=lambda d: train.Support(d, block=(4, 1)),
    )
    assert calls == []
    blocks = (next(rounds).params["w"] != 0).reshape(2, 4, 3)
    assert_array_equal(blocks.all(1), blocks.any(1))
    assert_array_equal(blocks.any(1).sum(0), 1)
    assert calls == [0.5]


def test_densities_and_dropout_of_rounds():
    found = train.pruning_densities(0.1)
    assert_allclose(found[:-1], 0.8 ** np.arange(1, 11))
    assert found[-1] == 0.1
    assert_allclose(train.pruning_densities(0.64), (0.8, 0.64))
    assert train.scaled_dropout(0.5, 0.25) == 0.25
    for final, share in ((0.0, 0.2), (1.0, 0.2), (0.1, 0.0), (0.1, 1.0)):
        with pytest.raises(ValueError, match=r"both in \(0, 1\)"):
            train.pruning_densities(final, share)


def test_averages_are_the_mean_and_then_exponential():
    seen, state = steps(train.average_params(optax.sgd(0.1), decay=1.0), PARAMS, GRADS)
    mean = jax.tree.map(lambda *x: np.mean(x, axis=0), *seen)
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=1e-6), state.average, mean)
    seen, state = steps(train.average_params(optax.sgd(0.1), decay=0.6), PARAMS, GRADS)
    expected = None
    for t, p in enumerate(seen):
        d = min(0.6, t / (t + 1))
        expected = p if t == 0 else jax.tree.map(lambda e, x, d=d: d * e + (1 - d) * x, expected, p)
    jax.tree.map(lambda x, y: assert_allclose(x, y, atol=1e-6), state.average, expected)
    plain, _ = steps(optax.sgd(0.1), PARAMS, GRADS)
    jax.tree.map(lambda x, y: assert_allclose(x, y, rtol=1e-6), seen[-1], plain[-1])


def test_averages_keep_zeros_and_find_their_way_out():
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    pruning = train.sparsify(optax.adamw(0.1), {"a/w": 0.5}, begin=3, end=3)
    optimiser = optax.MultiSteps(train.average_params(pruning), 2)
    grads = jax.tree.map(lambda x: x.astype(jnp.bfloat16), GRADS * 2)
    seen, state = steps(optimiser, half, grads)
    average = optax.tree.get(state, "average")
    assert_array_equal(average["a"]["w"] == 0, seen[-1]["a"]["w"] == 0)
    assert_array_equal((average["a"]["w"] == 0).sum(0), 2)
    assert average["a"]["w"].dtype == jnp.float32
    optimiser = train.average_params(optax.sgd(0.1))
    with pytest.raises(ValueError, match="decay in 0 to 1"):
        train.average_params(optax.sgd(0.1), decay=1.5)
    with pytest.raises(ValueError, match="needs the parameters"):
        optimiser.update(PARAMS, optimiser.init(PARAMS))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_soft_targets_have_the_gradient_of_the_definition():
    student, teacher = np.asarray(numbers(5, 4)), np.asarray(numbers(5, 4))
    p, q = softmax(teacher / 3), softmax(student / 3)
    found = train.soft_targets(student, teacher, 3.0)
    assert_allclose(found, 9 * np.sum(p * np.log(p / q), -1), rtol=1e-4)
    for_student, for_teacher = jax.grad(
        lambda s, t: train.soft_targets(s, t, 3.0).sum(), argnums=(0, 1)
    )(jnp.asarray(student), jnp.asarray(teacher))
    assert_allclose(for_student, 3 * (q - p), atol=1e-5)  # Hinton et al., eq. 2, times T squared
    assert_array_equal(for_teacher, 0)


def test_distillation_is_the_weighted_sum_of_its_terms():
    student, teacher = numbers(5, 4), numbers(5, 4)
    labels = jnp.array([0, 1, 2, 3, 0])
    p, q = softmax(np.asarray(teacher)), softmax(np.asarray(student))
    hard = [-np.log(x[np.arange(5), labels]) for x in (p, q)]
    expected = 0.5 * hard[0] + 0.2 * np.sum(p * np.log(p / q), -1) + 2 * hard[1]
    found = train.distill(student, teacher, labels, weights=(0.5, 0.2, 2.0))
    assert_allclose(found, expected, rtol=1e-4)
    grad = jax.grad(lambda t: train.distill(student, t, labels).sum())(teacher)
    assert_allclose(grad, p - np.eye(4)[labels], atol=1e-5)  # from the labels alone
    quiet = jax.grad(lambda t: train.distill(student, t, labels, weights=(0, 1, 1)).sum())
    assert_array_equal(quiet(teacher), 0)


def test_hidden_states_with_and_without_a_projection():
    student, teacher = numbers(2, 5, 3), numbers(2, 5, 4)
    assert_allclose(train.hidden_states(student, student + 2), np.full((2, 5), 4.0), rtol=1e-5)
    projection = LowRank(numbers(3, 2), numbers(2, 4))
    expected = np.mean((np.asarray(student @ projection.to_dense()) - np.asarray(teacher)) ** 2, -1)
    assert_allclose(train.hidden_states(student, teacher, projection), expected, rtol=1e-5)
    grad = jax.grad(lambda p: train.hidden_states(student, teacher, p).sum())(projection)
    assert float(jnp.abs(grad.left).min()) > 0
    for wrong in (None, jnp.ones((4, 3))):
        with pytest.raises(ValueError, match=r"need a projection of shape \(3, 4\)"):
            train.hidden_states(student, teacher, wrong)


def test_a_packed_average_runs():
    layer, x = sl.Sparse(6, density=0.25), jnp.ones((2, 8))
    params = layer.init(jax.random.key(0), x)["params"]
    targets = train.targets(params)
    optimiser = train.average_params(train.sparsify(optax.adam(0.1), targets, end=0))
    grads = [jax.tree.map(jnp.ones_like, params)] * 3
    _, state = steps(optimiser, params, grads)
    packed = sl.pack(state.average)
    assert packed["kernel"].values.shape == (2, 6)
    assert_allclose(
        layer.apply({"params": packed}, x), layer.apply({"params": state.average}, x), atol=1e-6
    )
