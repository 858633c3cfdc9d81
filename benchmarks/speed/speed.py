"""Times every structure against dense forms and other runtimes on a CPU.

    python benchmarks/speed/speed.py               # what is missing in results/speed.json
    python benchmarks/speed/speed.py --untuned     # and a few cases without `structlin.tune_cpu`
    python benchmarks/speed/speed.py --only layer --list

The contenders of a case take turns in one process, round by round, so they see the same machine;
ratios are over the hoisted dense scan of the same rounds. `structlin.bench` says what the cases are
and how a sample is found disturbed. Leave the machine alone meanwhile: all of it takes about twenty
minutes on two idle cores, and what is done is not done again.
"""

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

from _peers import PAUSE, peers

import structlin as sl
from structlin import bench

sys.path.append(str(Path(__file__).resolve().parents[1] / "training"))
experiments: Any = importlib.import_module("_experiments")

EFFORT, DRAWS = bench.FULL_EFFORT
UNTUNED = ("layer, 650 units, batch 1, 35 steps", "training, 650 units", "call")
"""How the cases start that are measured without `structlin.tune_cpu` too."""


def rows(tuned: bool) -> list[Any]:
    """A row for each case; the structures' own cases are those of ``structlin bench``."""
    return [row(case, tuned) for case in bench.FULL if tuned or case.name.startswith(UNTUNED)]


def row(case: bench.Case, tuned: bool) -> Any:
    """One case, with its peers."""
    effort = dataclasses.replace(EFFORT, pause=PAUSE)
    recipe = {"case": dataclasses.asdict(case), "effort": dataclasses.asdict(effort)}
    recipe |= {"draws": DRAWS, "tuned": tuned}

    def measured(folder: Path) -> dict[str, Any]:
        del folder
        return bench.measure(case, effort, DRAWS, peers)

    return experiments.Row(case.name + ("" if tuned else ", untuned"), recipe, measured)


def main() -> None:
    """Measures what is missing."""
    parser = experiments.parser("Times structures against dense forms.", "speed.json")
    parser.add_argument("--untuned", action="store_true", help="without structlin.tune_cpu")
    given = parser.parse_args()
    if not given.untuned:
        print(*sl.tune_cpu(), sep="\n", file=sys.stderr)
    if not given.list and (problem := bench.native_problem()):
        raise SystemExit(f"Native code is half of this benchmark, and there is none: {problem}.")
    experiments.carry_out(rows(tuned=not given.untuned), given)


if __name__ == "__main__":
    main()
