"""The trainer of the benchmarks: killed at any moment, it ends in the same bits."""

import functools
import importlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import structlin as sl
from structlin import specs

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "training"))

trainer = importlib.import_module("_trainer")

STEPS, EVERY = 8, 3
SPEC = specs.DopedKron(density=0.25, anneal=True)


def batch(seed, step, dies=-1, breaks=-1):
    if step == dies:
        os.kill(os.getpid(), signal.SIGKILL)
    x = np.random.default_rng((seed, step)).normal(size=(4, 16)).astype(np.float32)
    return x * np.float32("nan") if step == breaks else x


def loss(params, batch, key, carry):
    """Uses all that is kept: random keys, a state between batches, a matrix that is pruned."""
    kernel = sl.train.co_matrix_dropout(params, key, 0.1)["kernel"]
    y = jnp.tanh(batch @ kernel + carry)
    return ((y - 1) ** 2).mean(), y.mean(0)


def run(folder, steps=STEPS, batch=batch, loss=loss, **more):
    params = {"kernel": SPEC.init(jax.random.key(0), (16, 8))}
    inner = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    tx = sl.train.sparsify(inner, sl.train.targets(params), end=5, every=2)
    more = {"save_every": EVERY, "log_every": 1, "carry": jnp.zeros(8)} | more
    return trainer.train(loss, params, tx, batch, steps=steps, seed=3, folder=folder, **more)


def run_until_killed(folder, step=-1, event=("", "")):
    """In a process of its own: a run that dies before a step, or as Python touches such a path."""

    def hook(name, args):
        if name == event[0] and event[1] in str(args[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    if event[0]:
        sys.addaudithook(hook)
    run(folder, batch=functools.partial(batch, dies=step))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing broke, with its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder)


def same(one, other):
    pairs = (jax.tree.leaves((t.params, t.loss)) for t in (one, other))
    return all(np.array_equal(a, b) for a, b in zip(*pairs, strict=True))


MOMENTS = {
    "before the first checkpoint": ({"step": 1}, None),
    "as it is written": ({"event": ("open", "default.orbax-checkpoint-tmp/_METADATA")}, None),
    "before it has its name": ({"event": ("os.rename", "checkpoints/3.orbax")}, None),
    "right after the second": ({"step": 6}, 6),
    "as the oldest is removed": ({"event": ("shutil.rmtree", "checkpoints/3")}, 8),
}
"""When the runs of one folder are killed, and the last whole checkpoint after that."""


def test_killed_at_many_moments_it_ends_in_the_same_bits(whole, tmp_path, monkeypatch):
    for name, value in {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,  # filled by `whole`
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }.items():
        monkeypatch.setenv(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # imports once; JAX starts after the fork
    for title, (moment, last) in MOMENTS.items():
        process = context.Process(target=run_until_killed, args=(tmp_path,), kwargs=moment)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL, title
        found = [int(p.name) for p in (tmp_path / "checkpoints").glob("*") if p.name.isdigit()]
        assert max(found, default=None) == last, title
    assert same(run(tmp_path), whole[1])


def test_the_last_two_checkpoints_stay_and_a_finished_run_is_read(whole):
    folder, first = whole
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["6", "8"]
    again = run(folder, batch=functools.partial(batch, dies=0))
    assert same(again, first)
    assert again.seconds == first.seconds


def test_pruning_came_to_its_end_and_the_loss_fell(whole):
    folder, trained = whole
    assert (np.count_nonzero(trained.params["kernel"].terms[1].values, axis=0) == 4).all()
    assert trained.loss < run(folder.parent / "short", 1).loss


def test_without_a_carry_the_loss_takes_three(tmp_path):
    plain = lambda params, batch, key: loss(params, batch, key, 0.0)[0]  # noqa: E731
    first = run(tmp_path / "1", 2, loss=plain, carry=None)
    assert same(first, run(tmp_path / "2", 2, loss=plain, carry=None))
    assert not same(first, run(tmp_path / "3", 2))


def test_a_loss_that_is_no_number_names_its_step_and_a_gradient(tmp_path):
    place = "step 2: all parameters are finite, .* kernel/kronecker/factors/0"
    with pytest.raises(trainer.DivergedError, match=f"nan at {place}"):
        run(tmp_path, batch=functools.partial(batch, breaks=2))


def test_a_loss_that_is_no_number_names_its_step_and_a_parameter(tmp_path):
    def slips(params, batch, key, carry):  # the root of zero has an infinite slope
        value, carry = loss(params, batch, key, carry)
        return value + jnp.sqrt(0 * params["kernel"].terms[1].values.sum()), carry

    where = "step 1: the first parameter that is not finite is kernel/"
    with pytest.raises(trainer.DivergedError, match=f"nan at {where}"):
        run(tmp_path, loss=slips)


def test_figures_are_lines_where_tensorboard_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    run(tmp_path, 4, evaluate=lambda params: {"zeros": 1.0})
    lines = [json.loads(x) for x in (tmp_path / "logs" / "figures.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "loss" in x] == [1, 2, 3, 4]
    assert [x["step"] for x in lines if "zeros" in x] == [3, 4]
    assert "tensorboardX is not installed" in capsys.readouterr().err


def test_figures_are_events_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    run(tmp_path, 2)
    (events,) = (tmp_path / "logs").glob("events.*")
    assert b"loss" in events.read_bytes()


def test_a_watcher_sees_the_step_and_the_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(tmp_path, 2, title="a small one")
    shown = capsys.readouterr().err
    assert "a small one" in shown
    assert "2/2" in shown
    assert "loss" in shown


def test_arrays_without_entries_are_kept(tmp_path):
    params = {"left": jnp.ones(3), "none": jnp.zeros((4, 0))}

    def shape_loss(params, batch, key):
        return (params["left"] ** 2).sum() + params["none"].sum()

    trained = trainer.train(
        shape_loss,
        params,
        optax.sgd(0.1),
        lambda seed, step: np.zeros(1),
        steps=2,
        seed=0,
        folder=tmp_path,
        evaluate=lambda params: {"rows": len(params["none"])},
    )
    assert trained.params["none"].shape == (4, 0)
    np.testing.assert_allclose(trained.params["left"], 0.64, rtol=1e-6)
