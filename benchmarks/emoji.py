"""The emoji recommender of `examples/emoji`: what each step saves and what it costs.

    python benchmarks/emoji.py --runs FOLDER
    python benchmarks/emoji.py --runs FOLDER --time    # the time and memory of a message once more

All ways of the example are run one after the other, into ``--runs``: a step that is there is not
done again. Figures go to benchmarks/results/emoji.json. Nothing else may run beside it while the
time of a message is measured: after every step, and of all of them with ``--time``.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _models import data_folder

from structlin import bench
from structlin.demo._results import write_json

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "emoji.json"
SCRIPT = ROOT / "examples" / "emoji" / "train.py"
VARIANTS = ("classic", "structured", "published")
PACKAGES = "jax", "flax", "optax", "numpy"


def main() -> None:
    """Runs the example, and writes its figures."""
    parser = argparse.ArgumentParser(description="Measure the emoji recommender.")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of its models")
    parser.add_argument("--out", type=Path, default=RESULT, help="the file of the figures")
    parser.add_argument("--time", action="store_true", help="measure all messages once more")
    given, rest = parser.parse_known_args()
    folders = data_folder()
    data = ["--data", folders / "emoji_tweeteval", "--glove", folders / "glove_6b_50d_100k"]
    command = [sys.executable, SCRIPT, *data, "--out", given.runs, "--variant", *VARIANTS, *rest]
    subprocess.run(list(map(str, command)), check=True)
    figures = given.runs / "figures.json"
    found = json.loads(figures.read_text("utf-8"))
    if given.time:
        answer_again(found["rows"], given.runs, folders / "emoji_tweeteval")
        write_json(figures, found)
    made = bench.header("python benchmarks/emoji.py", PACKAGES, load=os.getloadavg()[0])
    write_json(given.out, made | found)


def answer_again(rows: list[dict[str, Any]], runs: Path, tweets: Path) -> None:
    """Puts the memory and the time of a message, measured now, in place of those of all rows."""
    sys.path.append(str(SCRIPT.parent))
    names = "_measure", "_stages", "_tweets"
    measure, stages, parts = map(importlib.import_module, names)
    selectors = {s.name: s.selectors for way in stages.VARIANTS.values() for s in way}
    data = {kept: parts.read(tweets, kept) for kept in set(selectors.values())}
    for row in rows:
        row["answers"] = measure.answers(runs / row["name"], data[selectors[row["name"]]])


if __name__ == "__main__":
    main()
