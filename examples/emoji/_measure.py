"""What a model folder does and takes: quality of the messages, bytes of the files, memory, time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _recommender import MemoryRows, Model, logits_of, open_model
from _tweets import Data, Part, batches

import structlin as sl

__all__ = ["answers", "figures", "logits", "vectors"]

AT_ONCE = 500
ASKED = 200
"""Messages that a process of its own answers, of which time and memory are measured."""


def figures(folder: Path, data: Data) -> dict[str, Any]:
    """All figures of a folder: of what its files hold, and of a process that answers from them."""
    model = open_model(folder)
    known = vectors(model, data.types)
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    return {
        "val": _quality(model, known, data.val),
        "test": _quality(model, known, data.test),
        "bytes": sum(files.values()),
        "files": files,
        "answers": answers(folder, data),
    }


def vectors(model: Model, types: tuple[str, ...]) -> np.ndarray:
    """The vector of each word, ``(types, dim)``: as the model reads them, with all rows in memory.

    The first type is none and is zeros.
    """
    rows = model.rows
    if not isinstance(rows, MemoryRows):
        values = np.concatenate(list(rows.blocks()))
        rows = MemoryRows({name: i for i, name in enumerate(rows)}, values)
    whole = Model(model.params, rows, model.labels, model.facts)
    some = [whole.vectors(types[i : i + 10_000]) for i in range(0, len(types), 10_000)]
    return np.concatenate(some)


def logits(model: Model, known: np.ndarray, part: Part) -> np.ndarray:
    """What the model says of each message of a part, ``(n, labels)``, by `vectors` of its words."""
    params = jax.tree.map(lambda x: x.astype(np.float32), sl.densify(model.params))
    found = np.zeros((len(part.y), len(model.labels)), np.float32)
    for batch in batches(part, AT_ONCE):
        x, real = known[batch.types][batch.places], batch.y >= 0
        said = np.asarray(logits_of(model.network, params, x, batch.lengths))
        found[batch.rows[real]] = said[real]
    return found


def _quality(model: Model, known: np.ndarray, part: Part) -> dict[str, float]:
    """Accuracy of the first and of five suggestions, and the mean F1 of the emoji, in percent."""
    best, right = np.argsort(-logits(model, known, part), axis=1, kind="stable")[:, :5], part.y
    hit = best == right[:, None]
    return {
        "accuracy": 100 * float(hit[:, 0].mean()),
        "accuracy_5": 100 * float(hit.any(1).mean()),
        "macro_f1": 100 * _macro_f1(best[:, 0], right, len(model.labels)),
    }


def _macro_f1(found: np.ndarray, right: np.ndarray, labels: int) -> float:
    """The mean F1 of the labels; one that is neither there nor found counts as 0."""
    both = np.bincount(right[found == right], minlength=labels)
    each = np.bincount(found, minlength=labels) + np.bincount(right, minlength=labels)
    return float((2 * both / np.maximum(each, 1)).mean())


def answers(folder: Path, data: Data) -> dict[str, float]:
    """Memory and time of a new process that answers messages of the test part."""
    script = Path(__file__).with_name("suggest.py")
    messages = [" ".join(words) for words in data.messages(data.test)[:ASKED]]
    done = subprocess.run(
        [sys.executable, str(script), str(folder), "--figures"],
        input="\n".join(messages) + "\n",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
