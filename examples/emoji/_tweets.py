"""Tweets and their emoji as arrays of numbers, and as batches of them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _words import LONGEST, words

__all__ = ["PARTS", "Batch", "Data", "Part", "batches", "read", "shortest"]

PARTS = ("train", "val", "test")
STEP = 8
"""Messages are padded to a multiple of this many words, at least two of it."""
TYPES = 512
"""The words of a batch are padded to a multiple of this many."""


class Part(NamedTuple):
    """Messages in numbers.

    Attributes:
        ids: The places of their words in `Data.types`, ``(n, LONGEST)``, padded by 0.
        lengths: How many words each has, at least 1, ``(n,)``.
        y: Its emoji, ``(n,)``.
    """

    ids: np.ndarray
    lengths: np.ndarray
    y: np.ndarray


class Data(NamedTuple):
    """All messages.

    Attributes:
        labels: The emoji.
        types: The different words of all parts; the first is none.
        train: To learn from.
        val: To choose by.
        test: To report.
    """

    labels: tuple[str, ...]
    types: tuple[str, ...]
    train: Part
    val: Part
    test: Part

    def messages(self, part: Part) -> list[list[str]]:
        """The words of each message of a part."""
        pairs = zip(part.ids, part.lengths, strict=True)
        return [[self.types[i] for i in ids[:length] if i] for ids, length in pairs]


class Batch(NamedTuple):
    """Messages whose different words are counted once.

    Attributes:
        types: The places of these words in `Data.types`, ``(u,)``, padded by 0.
        places: Where in ``types`` each word is, ``(n, time)``.
        lengths: ``(n,)``.
        y: ``(n,)``.
        rows: Which messages of the part they are, ``(n,)``, padded by 0.
    """

    types: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    y: np.ndarray
    rows: np.ndarray


def read(folder: Path, selectors: bool = False, least: int = 1) -> Data:
    """The messages of ``train_text.txt``, ``train_labels.txt`` and so on, and ``mapping.txt``.

    Args:
        folder: That of TweetEval's emoji.
        selectors: Whether variation selectors are words; see `_words.words`.
        least: How many messages a part must have.
    """
    names = [
        "mapping.txt",
        *(f"{part}_{kind}.txt" for part in PARTS for kind in ("text", "labels")),
    ]
    if missing := [name for name in names if not (folder / name).is_file()]:
        sys.exit(f"There is no {folder / missing[0]}: give the folder of TweetEval's emoji data.")
    labels = tuple(line.split("\t")[1] for line in _lines(folder / "mapping.txt"))
    types, parts = {"": 0}, []
    for part in PARTS:
        messages = [words(line, selectors) for line in _lines(folder / f"{part}_text.txt")]
        y = np.array(_lines(folder / f"{part}_labels.txt"), np.int32)
        if len(messages) != len(y) or len(y) < least or not 0 <= y.min() <= y.max() < len(labels):
            sys.exit(
                f"{folder} has {len(messages)} messages and {len(y)} labels to {part}; it needs as "
                f"many of each, at least {least}, and labels below {len(labels)}."
            )
        ids = np.zeros((len(y), LONGEST), np.int32)
        for row, message in zip(ids, messages, strict=True):
            row[: len(message)] = [types.setdefault(word, len(types)) for word in message]
        lengths = np.array([max(len(message), 1) for message in messages], np.int32)
        parts.append(Part(ids, lengths, y))
    return Data(labels, tuple(types), *parts)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").rstrip("\n").split("\n")  # a message may hold other line ends


def shortest(length: int) -> int:
    """The length that messages of up to ``length`` words are padded to."""
    return min(max(-(-length // STEP), 2) * STEP, LONGEST)


def batches(part: Part, size: int, seed: int | None = None) -> Iterator[Batch]:
    """Batches of messages of about one length; in a random order if there is a seed.

    Without one every message comes once, in the order of their lengths, and the last batch is
    filled up with messages of no words whose emoji is -1.
    """
    order, rng = np.arange(len(part.y)), None if seed is None else np.random.default_rng(seed)
    if rng is not None:
        order = rng.permutation(order)[: len(order) // size * size]
    order = order[np.argsort(part.lengths[order], kind="stable")]
    groups = [order[i : i + size] for i in range(0, len(order), size)]
    if rng is not None:
        groups = [groups[i] for i in rng.permutation(len(groups))]
    for rows in groups:
        yield _batch(part, rows, size)


def _batch(part: Part, rows: np.ndarray, size: int) -> Batch:
    filled = ((0, size - len(rows)),)
    ids = np.pad(part.ids[rows, : shortest(part.lengths[rows].max())], (*filled, (0, 0)))
    types, places = np.unique(np.append(0, ids), return_inverse=True)
    types = np.pad(types, (0, -len(types) % TYPES))
    lengths = np.pad(part.lengths[rows], filled, constant_values=1)
    y = np.pad(part.y[rows], filled, constant_values=-1)
    places = places[1:].reshape(ids.shape).astype(np.int32)
    return Batch(types, places, lengths, y, np.pad(rows, filled))
