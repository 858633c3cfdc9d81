"""The cases of the benchmark: which there are, what they compute, and the marks on them."""

import jax.numpy as jnp
import pytest

from structlin import bench
from structlin.bench import _contenders, _targets
from structlin.bench._cases import BASELINES, PRUNED, Case, block
from structlin.bench._machine import Others, Roofline
from structlin.bench._timing import Sample
from structlin.matrices import Cost

TINY = bench.Effort(rounds=2, seconds=5.0, sample=1e-4)


def test_cases_have_names_of_their_own_and_the_quick_ones_are_among_them():
    names = [case.name for case in bench.FULL]
    assert len(set(names)) == len(names)
    full = {case.name: set(case.structures) for case in bench.FULL}
    for case in bench.QUICK:
        assert set(case.structures) <= full[case.name]
    assert all(set(case.structures) <= set(bench.STRUCTURES) for case in bench.FULL)
    assert all(case.kind in BASELINES for case in bench.FULL)


def test_every_mark_is_of_a_case_that_quick_measures():
    cases = {case.name: case for case in bench.QUICK}
    for target in _targets.TARGETS:
        structure, _, mode = target.contender.rpartition(", ")
        case = cases[target.case]
        assert structure in case.structures
        assert mode in ("XLA", "native")
        assert target.must < target.reach
        dense = (BASELINES[case.kind], "Flax nn.RNN", "ONNX Runtime, 2 threads")
        over, _, mode = target.over.rpartition(", ")
        pruned = over in PRUNED and over in case.structures and mode in ("XLA", "native")
        assert pruned or target.over in dense


def test_blocks_divide_the_columns():
    assert [block(n) for n in (1024, 2600, 6000)] == [(1, 16), (1, 13), (1, 16)]


@pytest.mark.parametrize("kind", [kind for kind in BASELINES if kind != "density"])
def test_contenders_compute_what_their_dense_forms_do(kind):
    structures = ("Kron", "DopedKron 95 %, blocks")
    case = Case(kind, 40, 2, 3, structures)
    found = dict(_contenders.contenders(case, 0))
    assert next(iter(found)) == BASELINES[kind]
    assert ("Flax nn.RNN" in found) == case.whole
    assert {c.structure for c in found.values() if c.structure} == set(structures)
    for contender in found.values():
        assert contender.call() is not None
    if kind == "layer":
        assert jnp.allclose(found["Flax nn.RNN"].call(), found[BASELINES[kind]].call(), atol=1e-5)
    if kind == "training":
        loss = {name: float(contender.call()[0]) for name, contender in found.items()}
        assert loss["Flax nn.RNN"] == pytest.approx(loss[BASELINES[kind]], rel=1e-5)


def test_a_contender_that_computes_something_else_is_refused(monkeypatch):
    runs = dict(_contenders.RUNS)
    monkeypatch.setattr(_contenders, "RUNS", runs | {"product": lambda w, x: 1.1 * (x @ w[0])})
    case = Case("product", 40, structures=("Kron",))
    with pytest.raises(RuntimeError, match="Kron, XLA differs from its dense form"):
        list(_contenders.contenders(case, 0))


def test_a_case_becomes_a_record():
    case = Case("layer", 20, 1, 3, ("Kron",))

    def peers(case, seed):
        return {"other": bench.Contender(lambda: 1), "missing": "missing is not installed"}

    record = bench.measure(case, TINY, draws=2, peers=peers)
    rows = {row["name"]: row for row in record["contenders"]}
    assert list(rows) == ["Hoisted dense scan", "Flax nn.RNN", "Kron, XLA", "other", "missing"]
    assert rows["missing"] == {"name": "missing", "absent": "missing is not installed"}
    kron = rows["Kron, XLA"]
    assert set(kron["speedup"]) == {"Hoisted dense scan", "Flax nn.RNN", "other"}
    first, median, third = kron["microseconds"]
    assert 0 < first <= median <= third
    assert set(rows["other"]["speedup"]) == {"Hoisted dense scan"}
    assert kron["samples"] >= 4  # of both draws
    assert kron["bytes"] < rows["Hoisted dense scan"]["bytes"] == 2 * 20 * 80 * 4
    assert 0 < kron["roofline_share"] < 1
    assert record["roofline"]["flops"] > 1e8


def test_least_time_of_a_layer():
    # Operations of 1 a second; bytes of 10 a second, 5 if more than 100 compete for the cache.
    machine = Roofline(1.0, {100: 10.0, 101: 5.0})
    cost = Cost(params=0, bytes=80, flops=3, dense_params=0, dense_bytes=0)
    product, layer = Case("product", 4), Case("layer", 4, 1, 2)
    assert _contenders.least_seconds(product, (cost,), machine) == 8.0
    # Both kernels compete for that of the inputs, which is read once; the other twice, alone.
    assert _contenders.least_seconds(layer, (cost, cost), machine) == 16.0 + 2 * 8.0
    many = Case("layer", 4, 10, 2)
    assert _contenders.least_seconds(many, (cost, cost), machine) == 60.0 + 2 * 30.0
    training = Case("training", 4, 10, 2)
    assert _contenders.least_seconds(training, (cost, cost), machine) == 3 * 6 * 20
    assert _contenders.least_seconds(Case("call", 4), (cost,), machine) is None
    assert _contenders.least_seconds(product, (), machine) is None


def test_the_share_of_others_is_a_share():
    share = Others().share()
    assert share is None or share >= 0


def record(speedup, over_call=2.0, *, disturbed=False):
    """A run with one layer and one call."""

    def row(name, structure, us, ratios):
        row = {"name": name, "structure": structure, "microseconds": [us] * 3}
        row["mode"] = name.rpartition(", ")[2] if structure else ""
        return row | {"speedup": ratios, "disturbed": disturbed}

    hoisted, call = "Hoisted dense scan", "Empty function"
    kron = row("Kron, native", "Kron", 1.0, {hoisted: [speedup] * 3})
    layer = {"name": _targets.LAYER, "baseline": hoisted}
    layer |= {"contenders": [row(hoisted, "", 1.0, {}), kron, {"name": "x", "absent": "why"}]}
    one = row("Kron, XLA", "Kron", 7.0 + over_call, {call: [1.0] * 3})
    calls = {"name": "call, 64 units, batch 1", "baseline": call}
    return [layer, calls | {"contenders": [row(call, "", 7.0, {}), one]}]


def test_marks():
    for speedup, over, levels in ((9.0, 3.5, [0, 0]), (12.0, 2.0, [1, 1]), (18.0, 1.0, [2, 2])):
        marks = list(bench.reached(record(speedup, over)))
        assert [mark.level for mark in marks] == levels
        assert [mark.value[0] for mark in marks] == [speedup, over]
    assert [mark.unit for mark in marks] == ["x", "µs"]
    assert list(bench.reached([])) == []


def test_changes_are_judged_by_ratios():
    before, now = record(12.0), record(8.0)
    kron, call = bench.changes(before, now)
    assert (kron.contender, kron.before, kron.now) == ("Kron, native", 12.0, 8.0)
    assert kron.worse(0.3)
    assert not kron.worse(0.4)
    assert not call.worse(0.01)
    assert not any(c.worse(0.1) for c in bench.changes(now, before))  # faster is fine
    assert not any(c.worse(0.1) for c in bench.changes(before, record(1.0, disturbed=True)))
    assert list(bench.changes(before[:1], now[1:])) == []


@pytest.mark.parametrize("share", [0.1, 0.5, None])
def test_dropped_samples_are_counted_and_others_are_seen(monkeypatch, share):
    good, bad = Sample(1, 1.0, 1.0, 0), Sample(1, 2.0, 1.0, 0)

    def fake(calls, effort):
        return {name: [good, bad, good, good] for name in calls}

    monkeypatch.setattr("structlin.bench._measure.interleaved", fake)
    monkeypatch.setattr(Others, "share", lambda self: share)
    found = bench.measure(Case("product", 8, structures=("Kron",)), TINY)
    rows = found["contenders"]
    assert [(r["samples"], r["dropped"]) for r in rows] == [(4, 1)] * 2
    assert [r["disturbed"] for r in rows] == [share == 0.5] * 2
    assert found["others"] == share
    assert rows[1]["microseconds"] == [1e6] * 3
