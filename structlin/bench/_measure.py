"""A case from its name to its figures, as they are written."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from structlin.bench._cases import BASELINES, PRUNED, Case
from structlin.bench._contenders import Contender, contenders, least_seconds
from structlin.bench._machine import Others, roofline
from structlin.bench._timing import FEWEST, Effort, Sample, interleaved, quartiles, quiet, ratios

__all__ = ["FULL_EFFORT", "QUICK_EFFORT", "Peers", "measure", "run"]

FULL_EFFORT = Effort(rounds=25, seconds=8.0), 3
"""For each draw of the weights, and how often they are drawn."""

QUICK_EFFORT = Effort(rounds=15, seconds=5.0), 1
"""The same of a quick run."""

BUSY = 0.25
"""The share of all CPUs that others may have: with more, every figure of a case is disturbed."""

Peers = Callable[[Case, int], Mapping[str, Contender | str]]
"""What else takes part: a case and a seed to contenders by name, or why one cannot."""


def measure(
    case: Case, effort: Effort, draws: int = 1, peers: Peers | None = None
) -> dict[str, Any]:
    """Times the contenders of a case in turn, with weights drawn anew several times.

    Where weights lie in memory changes the time of a product by up to a third: a figure is the
    median over the samples of all draws.

    Args:
        case: What to measure.
        effort: How long, for each draw.
        draws: How often weights are drawn.
        peers: What else takes part.

    Returns:
        For JSON: the case, the limits of the machine, the share of its CPUs that others had, and
        for each contender the microseconds of a call (first quartile, median, third), how many
        times faster it is than each dense or pruned form (the same quartiles, over rounds), bytes
        and operations of its kernels, the share of the roofline it reaches, and its samples.
    """
    machine, others = roofline(), Others()
    samples: dict[str, list[Sample]] = {}
    found: dict[str, Contender] = {}
    absent: dict[str, str] = {}
    for draw in range(draws):
        found = dict(contenders(case, draw))
        for name, peer in (peers(case, draw) if peers else {}).items():
            if isinstance(peer, str):
                absent[name] = peer
            else:
                found[name] = peer
        calls = {name: contender.call for name, contender in found.items()}
        for name, more in interleaved(calls, effort).items():
            samples.setdefault(name, []).extend(more)
    over = [name for name, c in found.items() if not c.structure or c.structure in PRUNED]
    share = others.share()
    rows = [
        _row(name, contender, samples, over) | _roof(case, contender, samples[name])
        for name, contender in found.items()
    ]
    for row in rows:
        row["disturbed"] |= (share or 0.0) > BUSY
    return {
        "case": dataclasses.asdict(case),
        "baseline": BASELINES[case.kind],
        "roofline": {
            "flops": round(machine.flops),
            "bandwidth": {size: round(rate) for size, rate in machine.bandwidth.items()},
        },
        "others": share,
        "contenders": rows + [{"name": name, "absent": why} for name, why in absent.items()],
    }


def run(cases: Sequence[Case], effort: Effort, draws: int) -> Iterator[dict[str, Any]]:
    """Measures cases one after the other, each a row of a result file."""
    for case in cases:
        yield {"name": case.name} | measure(case, effort, draws)


def _row(
    name: str, contender: Contender, samples: Mapping[str, Sequence[Sample]], over: Sequence[str]
) -> dict[str, Any]:
    own = samples[name]
    kept = sum(quiet(own))
    row: dict[str, Any] = {
        "name": name,
        "structure": contender.structure,
        "mode": contender.mode,
        "microseconds": [round(1e6 * t, 3) for t in quartiles(own)],
        "speedup": {
            other: [round(r, 3) for r in ratios(samples[other], own)]
            for other in (over if contender.structure else over[:1])
            if other != name
        },
        "samples": len(own),
        "dropped": len(own) - kept,
        "disturbed": kept < FEWEST,
    }
    if contender.costs:
        row["params"] = sum(cost.params for cost in contender.costs)
        row["bytes"] = sum(cost.bytes for cost in contender.costs)
        row["flops"] = sum(cost.flops for cost in contender.costs)
    return row


def _roof(case: Case, contender: Contender, samples: Sequence[Sample]) -> dict[str, Any]:
    least = least_seconds(case, contender.costs, roofline())
    return {} if least is None else {"roofline_share": round(least / quartiles(samples)[1], 4)}
