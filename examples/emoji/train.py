"""An emoji recommender is trained on tweets and made small, step by step; every step is measured.

    python examples/emoji/train.py --data FOLDER --out out

FOLDER is that of TweetEval's emoji data. Ways (``--variant``):

* ``classic``: the dense model; embeddings of 3 bits in a database; weights of half precision; half,
  three quarters and nine tenths of the recurrent weights pruned, each time with retraining;
  embeddings of 2 bits.
* ``structured``: embeddings by GroupReduce; recurrent kernels that are a Kronecker product and a
  few entries.
* ``published``: the dense model on the tweets as they are published, where an invisible character
  is left that tells two of the emoji (see ``words`` in ``_words.py``): to compare with figures of
  others, and for nothing else.

A step leaves a folder in ``--out`` for suggest.py, and is not done again. ``figures.json`` has the
figures of all that are there.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _measure import figures
from _stages import VARIANTS, Run, Stage
from _training import Settings
from _tweets import read

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
TWEETS = Path(os.environ.get("STRUCTLIN_DATA") or BESIDE) / "emoji_tweeteval"
RECORD = "figures.json"


def glove(folder: Path | None) -> dict[str, np.ndarray]:
    """The embeddings of a folder with ``vocab.txt`` and ``embedding.npy``, a third as large."""
    if folder is None:
        return {}
    names = (folder / "vocab.txt").read_text("utf-8").split("\n")
    return dict(zip(names, np.load(folder / "embedding.npy").astype(np.float32) / 3, strict=False))


def carry_out(stages: Iterable[Stage], given: argparse.Namespace, settings: Settings) -> None:
    """Does the steps that are missing.

    Raises:
        SystemExit: A step was done by other settings.
    """
    recipe = settings._asdict() | {"glove": given.glove is not None}
    record, data = given.out / RECORD, {}
    for stage in stages:
        rows = json.loads(record.read_text("utf-8"))["rows"] if record.exists() else []
        done = next((row for row in rows if row["name"] == stage.name), None)
        if done is not None:
            if done["recipe"] != recipe:
                raise SystemExit(
                    f"{stage.name} in {given.out} was made by {done['recipe']}, now it would be by "
                    f"{recipe}: give another --out."
                )
            continue
        print(stage.name, flush=True)
        if stage.selectors not in data:
            data[stage.selectors] = read(given.data, stage.selectors)
        run = Run(data[stage.selectors], settings, given.out, glove(given.glove))
        row = {"name": stage.name, "recipe": recipe} | _measured(stage, run)
        given.out.mkdir(parents=True, exist_ok=True)
        _write_whole(record, json.dumps({"rows": [*rows, row]}, indent=2) + "\n")


def _measured(stage: Stage, run: Run) -> dict[str, Any]:
    """The step done in a folder of another name, which is given its own when all is there."""
    folder, partial = run.out / stage.name, run.out / f"{stage.name}.partial"
    for stale in (folder, partial):
        shutil.rmtree(stale, ignore_errors=True)
    partial.mkdir(parents=True)
    start = time.perf_counter()
    stage.make(run, partial)
    seconds = time.perf_counter() - start
    found = figures(partial, run.data) | {"seconds": seconds}
    partial.rename(folder)
    return found


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)


def table(rows: list[dict[str, Any]]) -> str:
    """The figures of the test part, a line for each step."""
    lines = [
        f"{'':16}{'bytes':>12}{'smaller':>9}{'acc@1':>7}{'acc@5':>7}{'F1':>6}{'MB':>6}{'ms':>6}"
    ]
    for row in rows:
        test, answers = row["test"], row["answers"]
        lines.append(
            f"{row['name']:16}{row['bytes']:12,}{rows[0]['bytes'] / row['bytes']:8.1f}x"
            f"{test['accuracy']:7.1f}{test['accuracy_5']:7.1f}{test['macro_f1']:6.1f}"
            f"{answers['resident_bytes'] / 1e6:6.0f}{answers['milliseconds']:6.2f}"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy over bytes, if matplotlib is there."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return
    figure, axes = plt.subplots(figsize=(7, 4))
    for row in rows:
        axes.plot(row["bytes"] / 1e6, row["test"]["accuracy_5"], "o")
        axes.annotate(row["name"], (row["bytes"] / 1e6, row["test"]["accuracy_5"]))
    axes.set(xscale="log", xlabel="megabytes on disk", ylabel="accuracy of five suggestions, %")
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Reads the options, does the steps, prints the table."""
    parser = argparse.ArgumentParser(description="Train a small emoji recommender.")
    parser.add_argument("--data", type=Path, default=TWEETS, help="of TweetEval's emoji data")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the models")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=["classic"])
    parser.add_argument(
        "--glove", type=Path, help="embeddings to start from: vocab.txt, embedding.npy"
    )
    for name, default in Settings._field_defaults.items():
        kind = type(default)
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"by default {default}")
    given = parser.parse_args()
    settings = Settings(**{name: getattr(given, name) for name in Settings._fields})
    for variant in given.variant:
        carry_out(VARIANTS[variant], given, settings)
        rows = json.loads((given.out / RECORD).read_text("utf-8"))["rows"]
        by_name = {row["name"]: row for row in rows}
        chosen = [by_name[stage.name] for stage in VARIANTS[variant]]
        print(table(chosen))
        plot(chosen, given.out / f"{variant}.png")


if __name__ == "__main__":
    main()
