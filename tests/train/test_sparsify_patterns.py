"""What `sparsify` prunes and regrows, step by step, against the definitions in NumPy."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from structlin import train
from structlin.train import Support

BEGIN, END, EVERY, STEPS = 1, 8, 2, 11
SHAPES = {
    **{"column": (10, 3), "leaf": (4, 5), "all_a": (3, 4), "all_b": (5, 2)},
    **{"block": (12, 6), "blocks": (6, 4), "rows": (9, 3), "columns": (3, 8), "nm": (8, 3)},
    **{"stack": (2, 5, 3), "vector": (7,), "scalar": (), "free": (3, 3)},
}
SUPPORTS = {
    "column": Support(0.3),
    "leaf": Support(0.3, axis=None),
    "all": Support(0.4, axis="all"),
    "block": Support(0.5, block=(2, 3)),
    "blocks": Support(0.3, block=(2, 2), axis=None),
    "rows": Support(0.3, block=(1, None)),
    "columns": Support(0.25, block=(None, 1), axis=None),
    "nm": Support(pattern="2:4"),
    "stack": Support(0.4),
    "vector": Support(0.3),
    "scalar": Support(1.0),
}
THRESHOLDS = {
    "column": Support(threshold=train.threshold_ramp(1.0, BEGIN, 4, END)),
    "block": Support(block=(2, 3), threshold=train.threshold_ramp(1.1, BEGIN, 4, END)),
}
WAYS = {
    "magnitude": {"score": "magnitude"},
    "movement": {"score": "movement"},
    "fisher": {"score": "fisher"},
    "linear": {"schedule": optax.linear_schedule(0.0, 1.0, END)},
    "regrow": {"regrow": 0.5, "key": jax.random.key(3)},
}
CASES = [*itertools.product(WAYS, SUPPORTS), *(("threshold", name) for name in THRESHOLDS)]


def supports_of(way):
    return THRESHOLDS if way == "threshold" else SUPPORTS


def patterns_of(way):
    return {"all_." if n == "all" else n: s for n, s in supports_of(way).items()}


@functools.cache
def history(way):
    """Weights before, gradients, masks before and after and weights after each step."""
    rng = np.random.default_rng(5)
    tx = train.sparsify(
        optax.adamw(0.1, weight_decay=0.1) if way == "regrow" else optax.sgd(0.1, momentum=0.9),
        patterns_of(way),
        **{"begin": BEGIN, "end": END, "every": EVERY, **WAYS.get(way, {})},
    )

    @jax.jit
    def step(params, state, grads):
        traces.append(1)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    draw = lambda: {k: rng.normal(size=s).astype("f") for k, s in SHAPES.items()}  # noqa: E731
    params, traces, rows = draw(), [], []
    state = tx.init(params)
    for _ in range(STEPS):
        before, old, grads = params, state.masks, draw()
        params, state = step(before, state, grads)
        rows.append(
            [jax.tree.map(np.asarray, x) for x in (before, grads, old, state.masks, params)]
        )
    assert len(traces) == 1
    return rows


def competitions(name, support):
    """Lists of units that compete; a unit is a leaf and where its entries are."""
    leaves = [k for k in SHAPES if k == name or (name == "all" and k.startswith("all_"))]
    lines = {}
    for leaf in leaves:
        shape = SHAPES[leaf]
        m, n = (*shape, 1, 1)[:2] if len(shape) < 2 else shape[-2:]
        r, c = support.block[0] or m, support.block[1] or n
        numbers = np.arange(math.prod(shape)).reshape(-1, m, n)
        group = int(support.pattern.split(":")[1]) if support.pattern else m
        for s, p, q in itertools.product(range(len(numbers)), range(0, m, r), range(0, n, c)):
            line = (leaf, s, p // group, q) if support.axis == 0 else ()
            unit = numbers[s, p : p + r, q : q + c].ravel()
            lines.setdefault(line, []).append((leaf, unit))
    return list(lines.values())


def sparsity_share(way, t):
    if way == "regrow":
        return 1.0
    if way == "linear":
        return min(t / END, 1.0)
    return 1 - (1 - min(max((t - BEGIN) / (END - BEGIN), 0), 1)) ** 3


def importance(way, rows, t, leaf):
    """The score of each entry at step ``t``; in blocks their mean counts."""
    weight = rows[t][0][leaf].astype("d").ravel()
    seen = [(row[0][leaf].astype("d").ravel(), row[1][leaf].astype("d").ravel()) for row in rows]
    if way == "movement":
        return -sum(w * g for w, g in seen[: t + 1])
    if way == "fisher":
        return weight**2 * sum(g**2 for _, g in seen[: t + 1])
    return weight**2


def ramp(q, t):
    """Narang et al., with masks that change every second step."""
    frequency, ramp_at = 2, 4
    theta = 2 * q * frequency / (2 * (ramp_at - BEGIN) + 3 * (END - ramp_at))
    if t < ramp_at:
        return theta * (t - BEGIN + 1) / frequency
    return (theta * (ramp_at - BEGIN + 1) + 1.5 * theta * (t - ramp_at + 1)) / frequency


def survivors(way, support, units, score, slope, alive, t):
    """Which of the competing units live after step ``t``."""
    order = sorted((i for i in range(len(units)) if alive[i]), key=lambda i: -score[i])
    if way == "threshold":
        q = 1.0 if support.block == (1, 1) else 1.1
        return {i for i in order if math.sqrt(score[i]) >= ramp(q, t)}
    kept, group = map(int, support.pattern.split(":")) if support.pattern else (0, 0)
    density = kept / group if group else support.density
    count = max(1, round((1 - sparsity_share(way, t) * (1 - density)) * len(units)))
    if way != "regrow":
        return set(order[:count])
    replaced = round(0.25 * (1 + math.cos(math.pi * (t - BEGIN) / (END - BEGIN))) * count)
    kept = set(order[: count - replaced])
    others = sorted((i for i in range(len(units)) if i not in kept), key=lambda i: -slope[i])
    return kept | set(others[:replaced])


@pytest.mark.parametrize(("way", "name"), CASES)
def test_masks_are_those_of_the_definition(way, name):
    rows, support = history(way), supports_of(way)[name]
    changed = False
    for t, (_, grads, old, new, _) in enumerate(rows):
        for units in competitions(name, support):
            alive = [old[leaf].ravel()[at].all() for leaf, at in units]
            live = [new[leaf].ravel()[at].all() for leaf, at in units]
            assert live == [new[leaf].ravel()[at].any() for leaf, at in units]
            want = {i for i, a in enumerate(alive) if a}
            if (BEGIN <= t <= END and (t - BEGIN) % EVERY == 0) or t == END:
                score = [importance(way, rows, t, leaf)[at].mean() for leaf, at in units]
                slope = [(grads[leaf].ravel()[at] ** 2).mean() for leaf, at in units]
                want = survivors(way, support, units, score, slope, alive, t)
            assert {i for i, a in enumerate(live) if a} == want, (t, units[0])
            changed |= alive != live
    assert changed or name == "scalar"


@pytest.mark.parametrize("way", [*WAYS, "threshold"])
def test_pruned_entries_are_exactly_zero_after_each_step(way):
    for _, grads, _, masks, after in history(way):
        for leaf, mask in masks.items():
            assert_array_equal(after[leaf][~mask], 0)
            assert np.all(after[leaf][mask] != 0)
        assert np.all(after["free"] != 0)
        assert np.count_nonzero(grads["column"]) == 30


def test_living_entries_are_trained_by_the_inner_transformation():
    rows = history("magnitude")
    trace = np.zeros(SHAPES["block"], "f")
    for before, grads, _, masks, after in rows:
        trace = 0.9 * trace + np.where(masks["block"], grads["block"], 0)
        want = np.where(masks["block"], before["block"] - 0.1 * trace, 0)
        assert_allclose(after["block"], want, rtol=1e-5, atol=1e-6)


def test_regrowth_keeps_the_density_and_moves_the_support():
    rows = history("regrow")
    for name, support in SUPPORTS.items():
        for units in competitions(name, support):
            counts = {sum(r[3][leaf].ravel()[at[0]] for leaf, at in units) for r in rows}
            assert counts == {max(1, round(support.share * len(units)))}
    back = [(a[3]["column"] < b[3]["column"]).any() for a, b in itertools.pairwise(rows)]
    assert any(back)
    assert all(b[0]["column"][~b[2]["column"]].any() == (t == 0) for t, b in enumerate(rows))


def test_threshold_ramp_ends_about_at_q():
    schedule = train.threshold_ramp(0.8, 100, 300, 700)
    assert_allclose(schedule(700), 0.8, rtol=0.01)
    assert_array_equal([schedule(99), schedule(0)], 0)
    assert schedule(10**6) == schedule(700)
    slopes = np.diff([schedule(s) for s in (200, 201, 500, 501)])
    assert_allclose(slopes[2] / slopes[0], 1.5, rtol=1e-2)


def test_other_schedules():
    steps = jnp.arange(6)
    assert_array_equal(train.constant_sparsity(0.5)(steps), [0.5] * 6)
    assert_array_equal(train.one_shot_sparsity(0.5, 3)(steps), [0, 0, 0, 0.5, 0.5, 0.5])
    assert train.constant_sparsity()(3) == 1
    assert train.one_shot_sparsity(1.0, 0)(0) == 1
