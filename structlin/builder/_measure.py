"""How good and how fast models are."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from structlin.builder._data import Inputs
from structlin.builder._model import Model
from structlin.builder._split import Part

__all__ = ["accuracy", "cross_entropy", "macro_f1", "microseconds", "quality"]

SAMPLES, ROUNDS = 20, 5
"""How many inputs are timed, and how often each."""


def quality(model: Model, part: Part) -> dict[str, float]:
    """Accuracy, macro-F1 and mean cross-entropy of a model on some examples."""
    chances = model.probabilities(part.inputs)
    found = chances.argmax(axis=-1)
    return {
        "accuracy": accuracy(found, part.targets),
        "macro_f1": macro_f1(found, part.targets),
        "cross_entropy": cross_entropy(chances, part.targets),
    }


def accuracy(found: np.ndarray, targets: np.ndarray) -> float:
    """The share of ``targets`` that were found; -1 never is."""
    return float(np.mean(found == targets))


def macro_f1(found: np.ndarray, targets: np.ndarray) -> float:
    """The mean F1 of the classes that are there or were found; all unknown ones are one class."""
    scores = []
    for label in np.union1d(found, targets):
        right = np.sum((found == label) & (targets == label))
        scores.append(2 * right / (np.sum(found == label) + np.sum(targets == label)))
    return float(np.mean(scores))


def cross_entropy(chances: np.ndarray, targets: np.ndarray) -> float:
    """The mean of minus the logarithm of the chance of the right class, where it is known."""
    known = targets >= 0
    right = chances[known, targets[known]]
    return float(-np.log(np.maximum(right, 1e-9)).mean()) if known.any() else 0.0


def microseconds(models: Mapping[str, Model], inputs: Inputs) -> dict[str, float]:
    """The median time from one input to its label, all models in turn.

    Args:
        models: By name.
        inputs: The first of them are timed, one by one.
    """
    some: Any = [inputs[i : i + 1] for i in range(min(SAMPLES, len(inputs)))]
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(ROUNDS + 1):
        for one in some:
            for name, model in models.items():
                start = time.perf_counter()
                model.predict(one)
                if turn:  # the first round compiles
                    seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) * 1e6 for name, times in seconds.items()}
