"""From text to label: how long one takes and how many a second, features included."""

import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _experiments import Row, finished
from _projection_texts import Settings, network_of, projection_row, sklearn_model, texts_of

from structlin import builder

__all__ = ["features_row", "sklearn_speed_row", "speed_row"]

ONE, ROUNDS = 50, 20
"""How many texts are timed one by one, and how often each."""

MANY, AT_ONCE, TURNS = 20_000, 1024, 5
"""How many texts are told apart in batches, of how many, and how often all of them."""

Predict = Callable[[Sequence[str]], Any]


def speed_row(name: str, network: str, settings: Settings, cores: int) -> Row:
    """A model of a row of the texts, read from its file; it is trained if it was not."""
    row = projection_row(name, network, settings, 0)

    def measure(folder: Path) -> dict[str, Any]:
        finished(row, folder.parent)
        model = builder.load(row.folder(folder.parent) / "model.slin")
        return {"figures": _clocked(model.predict, name, settings)}

    recipe = {"row": row.name, "of": row.recipe, "cores": cores}
    return Row(f"{name}, {network}, {_said(cores)}", recipe, measure)


def sklearn_speed_row(name: str, kind: str, settings: Settings, cores: int) -> Row:
    """Hashed words and a linear model of scikit-learn, fitted here."""

    def measure(folder: Path) -> dict[str, Any]:
        del folder
        train = texts_of(name, settings.limit).train
        model = sklearn_model(kind, 2**18, 0).fit(train.texts, train.targets)
        return {"figures": _clocked(model.predict, name, settings)}

    recipe = {"data": name, "kind": kind, "cores": cores, "limit": settings.limit}
    return Row(f"{name}, scikit-learn {kind}, {_said(cores)}", recipe, measure)


def _said(cores: int) -> str:
    return f"{cores} core" + "s" * (cores > 1)


def _clocked(predict: Predict, name: str, settings: Settings) -> dict[str, float]:
    """Microseconds of one text, and texts a second, of the test part."""
    data, few = texts_of(name, settings.limit).test, settings.limit is not None
    one = [[text] for text in data.texts[:ONE]]
    many = list(itertools.islice(itertools.cycle(data.texts), 2 * AT_ONCE if few else MANY))
    many.sort(key=len)  # texts of like lengths go together
    pieces = [many[i : i + AT_ONCE] for i in range(0, len(many), AT_ONCE)]
    for given in (*one, *pieces):  # compiles what there is to compile
        predict(given)
    times = sorted(_seconds(predict, given) for _ in range(2 if few else ROUNDS) for given in one)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        whole = [_seconds(lambda some: list(pool.map(predict, some)), pieces) for _ in range(TURNS)]
    return {
        "microseconds": round(1e6 * statistics.median(times), 1),
        "microseconds, 9 of 10": round(1e6 * times[len(times) * 9 // 10], 1),
        "texts a second": round(len(many) / statistics.median(whole)),
        "bytes of a text": round(statistics.mean(len(text.encode()) for text in many), 1),
    }


def _seconds(call: Callable[[Any], Any], given: Any) -> float:
    start = time.perf_counter()
    call(given)
    return time.perf_counter() - start


def features_row(name: str, network: str, settings: Settings, count: int) -> Row:
    """How many numbers of the features of real texts differ between the host and compiled code."""
    recipe = {"data": name, "network": network, "size": settings.size, "texts": count}

    def measure(folder: Path) -> dict[str, Any]:
        del folder
        data = texts_of(name, settings.limit)
        made = network_of(network, len(data.labels), settings)
        module: Any = made.module
        given, different, numbers = data.test.texts[:count], 0, 0
        for text in getattr(module, "texts", None) or (module.text,):
            ours = jax.jit(text)(*made.raw(given, settings.size))
            for one, other in zip(ours, text.on_host(given, settings.size), strict=True):
                different += int(np.sum(np.asarray(one) != other))
                numbers += other.size
        return {"figures": {"texts": len(given), "numbers": numbers, "different": different}}

    return Row(f"features, {name}, {network}", recipe, measure)
