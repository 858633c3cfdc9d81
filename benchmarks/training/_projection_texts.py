"""Classifiers of texts: on projections, on a table of words in as many bytes, and scikit-learn's.

A projection network is one of `structlin train`, trained by its trainer and read back from its
8-bit file; its figures are of raw text. A network of words has the same layers on an embedding of
the most frequent words of training, also in 8 bits, as many as fit into the bytes of the projection
network that it is named after; its list of words counts, compressed. For scikit-learn there are
hashed words and pairs of words and a logistic regression; its coefficients count in 4 bytes each.

Edited figures are those of the same test texts with one mistake in ten characters.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _experiments import Row
from _labelled_texts import Texts, edited, texts
from _word_tables import Words, coded, held_bytes

import structlin as sl
from structlin import builder
from structlin.builder import _measure, _model
from structlin.builder._networks import SIZES, Network
from structlin.builder._training import Plan, fit
from structlin.networks import SGNNPlusPlus
from structlin.text import Grams, TextProjection

__all__ = [
    "NETWORKS",
    "SKLEARN",
    "Settings",
    "network_of",
    "projection_row",
    "sklearn_model",
    "sklearn_row",
    "texts_of",
    "word_row",
]

MISTAKES = 0.1

Predict = Callable[[Sequence[str]], np.ndarray]
"""Texts to the numbers of their labels."""


def _sgnn(classes: int, _: Any = None) -> SGNNPlusPlus:
    """The network of Ravi and Kozareva (2018): with one block, theirs."""
    text = TextProjection(Grams("characters", (1, 2, 3, 4), skips=2), 80 * 14)
    return SGNNPlusPlus(classes, (text,), 256, (256,), dropout=0.3)


NETWORKS: dict[str, Callable[..., Any]] = {
    f"{size} {kind}": SIZES[size][kind]
    for size in ("tiny", "small", "medium", "large")
    for kind in ("bag", "words")
} | {"SGNN": _sgnn}
"""The networks of `structlin train` by size and kind, and one more."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the networks of a set train.

    Attributes:
        epochs: How often each text is seen.
        size: How many bytes of a text count.
        batch: Texts of an update.
        limit: How many texts of each part there are; all if ``None``.
    """

    epochs: int
    size: int = 256
    batch: int = 64
    limit: int | None = None


@functools.lru_cache(maxsize=1)
def texts_of(name: str, limit: int | None) -> Texts:
    """One of the sets, read once."""
    return texts(name, limit)


def projection_row(name: str, network: str, settings: Settings, seed: int) -> Row:
    """A projection network, trained, written in 8 bits, and measured from there.

    Args:
        name: The folder of a set of texts.
        network: One of `NETWORKS`.
        settings: How it trains.
        seed: Of its parameters, batches and dropout.
    """
    recipe = _recipe(name, network, settings, seed)

    def measure(folder: Path) -> dict[str, Any]:
        data = texts_of(name, settings.limit)
        made = network_of(network, len(data.labels), settings)
        params = _trained(made, made.arrays(data.train.texts), data, settings, seed, folder)
        file = folder / "model.slin"
        _model.write(file, made, params, data.labels, data.train.texts[:1], {})
        model, held = builder.load(file), sl.load(file)
        found = _figures(lambda t: model.probabilities(t).argmax(-1), data)
        return found | {"bytes": held_bytes(held), "file": file.stat().st_size}

    return Row(f"{name}, {network}, seed {seed}", recipe, measure)


def network_of(network: str, classes: int, settings: Settings) -> Network:
    """One of `NETWORKS` on the texts of a set."""
    return Network(NETWORKS[network](classes, None), settings.size)


def word_row(name: str, network: str, settings: Settings, seed: int) -> Row:
    """The network of words that has the bytes of a projection network; arguments as there."""
    recipe = _recipe(name, f"embedding for {network}", settings, seed)

    def measure(folder: Path) -> dict[str, Any]:
        data = texts_of(name, settings.limit)
        against = network_of(network, len(data.labels), settings)
        some: Any = against.arrays(data.train.texts[:1])
        drawn = against.init(jax.random.key(0), some)
        made = Words.within(held_bytes(coded(drawn)), against.module, len(data.labels), data)
        params = _trained(made, made.arrays(data.train.texts), data, settings, seed, folder)
        held = coded(params)
        sl.save(folder / "model.slin", held, {"words": made.words})
        form = made.shapes()
        whole = jax.tree.map(_model._decoded, form, held, is_leaf=sl.matrices.is_matrix)
        found = _figures(functools.partial(made.predict, whole), data)
        return found | {"bytes": held_bytes(held) + made.list_bytes, "words": len(made.words)}

    return Row(f"{name}, embedding for {network}, seed {seed}", recipe, measure)


def _recipe(name: str, network: str, settings: Settings, seed: int) -> dict[str, Any]:
    given = dataclasses.asdict(settings)
    return {"data": name, "network": network, "seed": seed, "mistakes": MISTAKES} | given


def _trained(
    made: Any, arrays: Any, data: Texts, settings: Settings, seed: int, folder: Path
) -> Any:
    weights = np.ones(len(data.train.targets), np.float32)
    return fit(
        made,
        (arrays, data.train.targets, weights, None),
        Plan(settings.epochs, settings.batch, seed),
        checkpoint=folder / "state",
        mark=folder.name,  # of the whole recipe
        progress=lambda *_: None,
    )


def _figures(predict: Predict, data: Texts) -> dict[str, Any]:
    """Percents right and macro-F1 of validation and test texts, and of those with mistakes."""
    rng = np.random.default_rng(0)
    wrong = [edited(text, MISTAKES, rng) for text in data.test.texts]
    asked = {
        "valid": (data.valid.texts, data.valid.targets),
        "test": (data.test.texts, data.test.targets),
        "edited": (wrong, data.test.targets),
    }
    figures = {}
    for part, (given, targets) in asked.items():
        found = predict(given)
        figures[part] = round(100 * _measure.accuracy(found, targets), 3)
        figures[f"{part} macro-F1"] = round(100 * _measure.macro_f1(found, targets), 3)
    return {"figures": figures}


SKLEARN = ("logistic regression", "SGD")


def sklearn_row(
    name: str, kind: str, settings: Settings, seed: int, against: str | None = None
) -> Row:
    """Hashed words and pairs of words, and a linear model of scikit-learn.

    Args:
        name: The folder of a set of texts.
        kind: One of `SKLEARN`.
        settings: For the limit on texts.
        seed: Of the linear model.
        against: One of `NETWORKS`, whose bytes are not exceeded; ``2**18`` hashes if ``None``.
    """
    called = f"scikit-learn {kind}" + (f" for {against}" if against else "")
    recipe = {"data": name, "network": called, "seed": seed, "limit": settings.limit}

    def measure(folder: Path) -> dict[str, Any]:
        del folder
        data, columns = texts_of(name, settings.limit), 2**18
        count = len(data.labels)
        vectors = 1 if count == 2 else count  # of coefficients
        if against is not None:
            made = network_of(against, count, settings)
            some: Any = made.arrays(data.train.texts[:1])
            drawn = made.init(jax.random.key(0), some)
            columns = (held_bytes(coded(drawn)) // (4 * vectors)) - 1
        model = sklearn_model(kind, columns, seed).fit(data.train.texts, data.train.targets)
        return _figures(model.predict, data) | {"bytes": 4 * vectors * (columns + 1)}

    return Row(f"{name}, {called}, seed {seed}", recipe | {"mistakes": MISTAKES}, measure)


def sklearn_model(kind: str, columns: int, seed: int) -> Any:
    """Hashed words and pairs of words, and one of `SKLEARN`, not yet fitted."""
    names = "feature_extraction.text", "linear_model", "pipeline"
    text, models, pipeline = (importlib.import_module(f"sklearn.{name}") for name in names)
    linear = {
        "logistic regression": models.LogisticRegression(C=30, max_iter=1000, random_state=seed),
        "SGD": models.SGDClassifier(loss="log_loss", alpha=1e-6, random_state=seed),
    }
    hashed = text.HashingVectorizer(ngram_range=(1, 2), n_features=columns)
    return pipeline.make_pipeline(hashed, linear[kind])
