"""Times in turn, by clocks that the tests move."""

import pytest

from structlin.bench import Effort, interleaved, quartiles, ratios
from structlin.bench._timing import FEWEST, Clocks, Sample, quiet, used


class World:
    """Time that passes only in calls, and other work that may hold the CPU."""

    def __init__(self):
        self.wall = self.cpu = 0.0
        self.switched = 0
        self.log = []

    def clocks(self):
        return Clocks(lambda: self.wall, lambda: self.cpu, lambda: self.switched, self.sleep)

    def sleep(self, seconds):
        self.wall += seconds
        self.log.append("sleep")

    def call(self, name, seconds, threads=1.0, disturbed=lambda: False):
        def run():
            self.log.append(name)
            self.wall += seconds
            self.cpu += threads * seconds
            if disturbed():
                self.wall += seconds  # as long again on the CPU's queue

        return run


def samples(*given):
    return [Sample(1, wall, cpu, switches) for wall, cpu, switches in given]


def test_contenders_take_turns_in_orders_of_their_own():
    world = World()
    calls = {name: world.call(name, 1.0) for name in "abcd"}
    found = interleaved(calls, Effort(rounds=6, seconds=1e9), world.clocks())
    assert {name: len(s) for name, s in found.items()} == dict.fromkeys("abcd", 6)
    twice = world.log[8:]  # each is called before its sample too
    assert twice[::2] == twice[1::2]
    rounds = [tuple(twice[i : i + 8 : 2]) for i in range(0, len(twice), 8)]
    assert all(sorted(r) == list("abcd") for r in rounds)
    assert len(set(rounds)) > 1


def test_short_calls_are_repeated_and_long_ones_are_not():
    world = World()
    calls = {"short": world.call("short", 1e-4), "long": world.call("long", 5e-3)}
    found = interleaved(calls, Effort(rounds=3, sample=2e-3), world.clocks())
    assert {s.calls for s in found["short"]} == {20}
    assert {s.calls for s in found["long"]} == {1}
    assert quartiles(found["short"]) == pytest.approx((1e-4, 1e-4, 1e-4))
    assert ratios(found["long"], found["short"]) == pytest.approx((50, 50, 50))


def test_samples_that_others_disturb_are_measured_again():
    world, turn = World(), iter(range(10**6))
    third = world.call("third", 1.0, disturbed=lambda: next(turn) % 6 < 2)  # every third sample
    found = interleaved({"third": third}, Effort(rounds=8, seconds=1e9), world.clocks())["third"]
    assert sum(quiet(found)) == 8
    assert len(found) > 8
    assert quartiles(found) == (1.0, 1.0, 1.0)
    ever = World()
    held = ever.call("held", 1.0, disturbed=lambda: len(ever.log) > 4)
    found = interleaved({"held": held}, Effort(rounds=4, seconds=1e9), ever.clocks())["held"]
    assert len(found) == 8  # twice the rounds, and no more


def test_time_ends_it():
    world = World()
    call = {"slow": world.call("slow", 10.0)}
    found = interleaved(call, Effort(rounds=50, seconds=75.0), world.clocks())
    assert len(found["slow"]) == 4
    found = interleaved(call, Effort(rounds=50, seconds=0.0), world.clocks())
    assert len(found["slow"]) == FEWEST


def test_threads_of_others_get_their_pause():
    world = World()
    call = {"a": world.call("a", 1.0)}
    interleaved(call, Effort(rounds=2, pause=0.5), world.clocks())
    assert world.log == ["a", "a", *["sleep", "a", "a"] * 2]


def test_what_is_disturbed():
    # A third of the time on the queue; CPU time on two threads; a wait that is the call's own.
    assert quiet(samples((1.0, 1.0, 0), (1.5, 1.0, 0), (1.0, 0.95, 0))) == [True, False, True]
    assert quiet(samples((1.0, 1.9, 0), (1.0, 1.2, 0))) == [True, True]
    assert quiet(samples((1.0, 0.5, 0), (1.0, 0.48, 0), (1.0, 0.3, 0))) == [True, True, False]
    # Made to give up the CPU: now and then in a long sample, never in a short one.
    assert quiet(samples((1.0, 1.0, 45), (1.0, 1.0, 55))) == [True, False]
    assert quiet(samples((0.002, 0.002, 0), (0.002, 0.002, 1))) == [True, False]
    assert quiet([]) == []


def test_figures_are_of_quiet_samples_while_there_are_enough():
    good, bad = (1.0, 1.0, 0), (3.0, 1.0, 0)
    few, enough = samples(*[good] * (FEWEST - 1), bad, bad), samples(*[good] * FEWEST, bad)
    assert used(enough) == [True] * FEWEST + [False]
    assert used(few) == [True] * len(few)
    assert quartiles(enough)[2] == 1.0
    assert quartiles(few)[2] == 3.0


def test_quartiles_and_ratios():
    times = samples(*((t, t, 0) for t in (1.0, 2.0, 3.0, 4.0, 5.0)))
    assert quartiles(times) == (2.0, 3.0, 4.0)
    # Round by round: the machine slows down by five, and the ratio stays.
    twice = [s._replace(wall=2 * s.wall, cpu=2 * s.cpu) for s in times]
    assert ratios(twice, times) == (2.0, 2.0, 2.0)
    # A round counts if both samples are quiet.
    held = [s._replace(wall=9.0) if i == 0 else s for i, s in enumerate(twice)]
    assert ratios(held, times) == (2.0, 2.0, 2.0)


def test_real_clocks_go_on():
    found = interleaved({"sum": lambda: sum(range(20_000))}, Effort(rounds=3, sample=1e-3))["sum"]
    assert all(s.wall > 0 and s.cpu > 0 and s.switches >= 0 for s in found)
