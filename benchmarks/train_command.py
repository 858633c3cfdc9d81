"""`structlin train` as a user runs it: intents (ATIS) and emoji (TweetEval), every size.

    python benchmarks/train_command.py               # what is still missing
    python benchmarks/train_command.py --only atis

The parts of each set are written as label, tab and text, and the command gets all three. Seconds
are those of the whole command; leave the machine alone meanwhile.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent / "training"))
experiments, texts = map(importlib.import_module, ("_experiments", "_labelled_texts"))

SIZES = "tiny,small,medium,large"
OPTIONS = {"atis": [], "emoji_tweeteval": ["--epochs", "3"]}
KEPT = ("size", "kind", "taught", "accuracy", "macro_f1", "bytes", "microseconds")


def row(name: str, limit: int | None = None) -> Any:
    """A run of the command on a set."""
    more = OPTIONS[name]
    recipe = {"data": name, "sizes": SIZES, "options": more, "limit": limit}

    def measure(folder: Path) -> dict[str, Any]:
        found = texts.texts(name, limit)
        files = {part: folder / f"{part}.tsv" for part in ("train", "valid", "test")}
        for part, path in files.items():
            own = getattr(found, part)
            labels = [found.labels[i] if i >= 0 else "another" for i in own.targets]
            lines = (f"{label}\t{text}\n" for label, text in zip(labels, own.texts, strict=True))
            path.write_text("".join(lines), "utf-8")
        given = ["--valid", files["valid"], "--test", files["test"], "--out", folder / "model"]
        command = [sys.executable, "-m", "structlin", "train", files["train"], *given]
        start = time.perf_counter()
        subprocess.run([*map(str, command), "--sizes", SIZES, *more], check=True, env=_path())
        seconds = round(time.perf_counter() - start, 1)
        report = json.loads((folder / "model" / "report.json").read_text("utf-8"))
        rows = [{key: own.get(key) for key in KEPT} for own in report["rows"]]
        return {"seconds": seconds, "models": rows}

    return experiments.Row(name, recipe, measure)


def _path() -> dict[str, str]:
    """The environment, in which the command finds this library."""
    root = str(Path(__file__).resolve().parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


def main() -> None:
    """Measures what is missing."""
    parser = experiments.parser("Times and measures `structlin train`.", "train_command.json")
    experiments.carry_out([row(name) for name in OPTIONS], parser.parse_args())


if __name__ == "__main__":
    main()
