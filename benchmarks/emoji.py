"""The emoji recommender of `examples/emoji`: what each step saves and what it costs.

    python benchmarks/emoji.py --runs FOLDER

All ways of the example are run one after the other, into ``--runs``: a step that is there is not
done again. Figures go to benchmarks/results/emoji.json. Nothing else may run beside it: the time of
a message is measured.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from _models import data_folder

import structlin as sl
from structlin.demo._results import device_name, write_json

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "emoji.json"
SCRIPT = ROOT / "examples" / "emoji" / "train.py"
VARIANTS = ("classic", "structured", "published")


def header() -> dict[str, Any]:
    """What was run, and on what."""
    packages = ("jax", "flax", "optax", "numpy")
    return {
        "command": "python benchmarks/emoji.py",
        "versions": {"structlin": sl.__version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
        "device": device_name(),
        "threads": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def main() -> None:
    """Runs the example, and writes its figures."""
    parser = argparse.ArgumentParser(description="Measure the emoji recommender.")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of its models")
    parser.add_argument("--out", type=Path, default=RESULT, help="the file of the figures")
    given, rest = parser.parse_known_args()
    folders = data_folder()
    data = ["--data", folders / "emoji_tweeteval", "--glove", folders / "glove_6b_50d_100k"]
    command = [sys.executable, SCRIPT, *data, "--out", given.runs, "--variant", *VARIANTS, *rest]
    subprocess.run(list(map(str, command)), check=True)
    found = json.loads((given.runs / "figures.json").read_text("utf-8"))
    write_json(given.out, header() | found)


if __name__ == "__main__":
    main()
