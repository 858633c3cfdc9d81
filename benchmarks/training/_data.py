"""Texts as streams and sequences with labels, as arrays and as batches of (seed, step).

Real sets are read from the folder of data sets (``$STRUCTLIN_DATA``, by default ``../shared/data``
beside the project); a text needs none: the default is the reference text inside CPython.
"""

import dataclasses
import functools
import gzip
import importlib
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from structlin.demo._corpus import TextError, load_corpus

sys.path.append(str(Path(__file__).resolve().parents[1]))
data_folder: Callable[[], Path] = importlib.import_module("_models").data_folder

__all__ = [
    "Batches",
    "Labelled",
    "Sequences",
    "Streams",
    "Text",
    "Window",
    "activities",
    "characters",
    "data_folder",
    "intents",
    "mnist_rows",
    "usps_rows",
    "words",
]

PARTS = ("train", "valid", "test")
UNKNOWN, END = "<unk>", "<eos>"


@dataclasses.dataclass(frozen=True)
class Text:
    """A text in numbers.

    Attributes:
        name: Where it is from.
        train: Numbers of characters or words, int32.
        valid: The same.
        test: The same.
        vocabulary: What each number stands for, most frequent first.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    vocabulary: tuple[str, ...]


def characters(path: Path | None = None) -> Text:
    """The characters of a text: 90 % to train, 5 % and 5 % to validate and to test, in its order.

    Args:
        path: A UTF-8 file, such as ``data_folder() / "tinyshakespeare/input.txt"``; the embedded
            text if not given.

    Raises:
        TextError: The file is missing, empty, or no text.
    """
    corpus = load_corpus(path)
    half = len(corpus.test) // 2
    valid, test = corpus.test[:half], corpus.test[half:]
    return Text(corpus.name, corpus.train, valid, test, tuple(corpus.vocabulary))


def words(folder: Path | None = None, vocabulary: int | None = None) -> Text:
    """The words of a text, split at white space, with an end after each line.

    Args:
        folder: Of ``train.txt``, ``valid.txt`` and ``test.txt``, such as
            ``data_folder() / "wikitext2"``; the embedded text, split as in `characters`, if not
            given.
        vocabulary: How many of the most frequent words are told apart, ``<unk>`` among them; all
            if not given.

    Returns:
        The text; words that the training part lacks, or that are rarer, are ``<unk>``.
    """
    if folder is None:
        whole = characters()
        parts = ["".join(whole.vocabulary[i] for i in getattr(whole, part)) for part in PARTS]
    else:
        parts = [(folder / f"{part}.txt").read_text("utf-8") for part in PARTS]
    split = [[w for line in p.splitlines() for w in (*line.split(), END)] for p in parts]
    counts = Counter(split[0])
    counts[UNKNOWN] += 0
    known = [word for word, _ in counts.most_common(vocabulary)]
    if UNKNOWN not in known:
        known[-1] = UNKNOWN
    numbers = {word: i for i, word in enumerate(known)}
    ids = [np.array([numbers.get(w, numbers[UNKNOWN]) for w in p], np.int32) for p in split]
    name = "pydoc_data.topics" if folder is None else folder.name
    return Text(name, ids[0], ids[1], ids[2], tuple(numbers))


class Window(NamedTuple):
    """One batch of a text.

    Attributes:
        tokens: ``(batch, time + 1)``: what is read, and one further each what is predicted.
        fresh: Whether the state starts at rest, ``()``; otherwise it is that after the last batch.
    """

    tokens: np.ndarray
    fresh: np.ndarray


@dataclasses.dataclass(frozen=True)
class Streams:
    """A text read at several places at once: truncated back-propagation through time.

    Attributes:
        ids: The numbers of the text.
        batch: How many places there are.
        time: How many numbers are predicted before the gradient is taken.

    Raises:
        TextError: The text is too short for one window at each place.
    """

    ids: np.ndarray
    batch: int
    time: int

    def __post_init__(self) -> None:
        least = (self.time + 1) * self.batch + self.time
        if len(self.ids) < least:
            raise TextError(
                f"A batch of {self.batch} windows of {self.time} needs a text of {least:,}; this "
                f"has {len(self.ids):,}. Give a longer text, or a smaller batch or time."
            )

    @property
    def windows(self) -> int:
        """How many windows an epoch has."""
        return (self._apart - 1) // self.time

    @property
    def _apart(self) -> int:
        return (len(self.ids) - self.time) // self.batch

    def __call__(self, seed: int, step: int) -> Window:
        """The window of a step; every epoch begins at another place, drawn by the seed."""
        epoch, place = divmod(step, self.windows)
        shift = np.random.default_rng((seed, epoch)).integers(self.time)
        at = shift + place * self.time + np.arange(self.time + 1)
        starts = self._apart * np.arange(self.batch)
        return Window(self.ids[starts[:, None] + at], np.array(place == 0))


class Labelled(NamedTuple):
    """Sequences and their classes.

    Attributes:
        x: ``(n, time, features)``, float32, or ``(n, time)``, int32, padded by 0.
        lengths: Of each sequence, ``(n,)``, int32.
        y: ``(n,)``, int32; -1 for a class that the training part lacks.
    """

    x: np.ndarray
    lengths: np.ndarray
    y: np.ndarray


@dataclasses.dataclass(frozen=True)
class Sequences:
    """A set of sequences to classify.

    Attributes:
        name: Where it is from.
        train: To train on.
        valid: To choose by.
        test: To report.
        classes: The name of each class.
        vocabulary: How many numbers there are in ``x``; 0 where it has features.
    """

    name: str
    train: Labelled
    valid: Labelled
    test: Labelled
    classes: tuple[str, ...]
    vocabulary: int = 0


@dataclasses.dataclass(frozen=True)
class Batches:
    """Batches of labelled sequences, in another order in every epoch; a remainder is left out.

    Attributes:
        data: What there is.
        size: Of a batch, at most that of the data.
    """

    data: Labelled
    size: int

    def __call__(self, seed: int, step: int) -> Labelled:
        """The batch of a step."""
        count = len(self.data.y)
        epoch, place = divmod(step, count // self.size)
        chosen = _order(count, seed, epoch)[place * self.size : (place + 1) * self.size]
        return Labelled(*(array[chosen] for array in self.data))


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)


def activities(folder: Path | None = None) -> Sequences:
    """What people do, from nine channels of 128 steps (UCI HAR), of mean 0 and variance 1.

    Args:
        folder: Of the arrays; that among the data sets if not given. Every fifth person of the
            training part validates.
    """
    folder = folder or data_folder() / "uci_har"
    x, y, person = (np.load(folder / f"{what}_train.npy") for what in ("x", "y", "subject"))
    held = np.isin(person, np.unique(person)[::5])
    mean, std = x[~held].mean((0, 1)), x[~held].std((0, 1))

    def part(x: np.ndarray, y: np.ndarray) -> Labelled:
        lengths = np.full(len(x), x.shape[1], np.int32)
        return Labelled(((x - mean) / std).astype(np.float32), lengths, y.astype(np.int32))

    test = part(*(np.load(folder / f"{what}_test.npy") for what in ("x", "y")))
    classes = tuple((folder / "labels.txt").read_text("utf-8").split())
    return Sequences("uci_har", part(x[~held], y[~held]), part(x[held], y[held]), test, classes)


def intents(folder: Path | None = None) -> Sequences:
    """What a sentence asks for (ATIS), as numbers of words; 0 pads, 1 is a word of no training.

    Args:
        folder: Of the parts, each with ``seq.in`` and ``label``; that among the data sets if not
            given.
    """
    folder = folder or data_folder() / "atis"
    lines = {part: (folder / part / "seq.in").read_text("utf-8").splitlines() for part in PARTS}
    labels = {part: (folder / part / "label").read_text("utf-8").split() for part in PARTS}
    counts = Counter(word for line in lines["train"] for word in line.split())
    numbers = {word: i + 2 for i, (word, _) in enumerate(counts.most_common())}
    classes = tuple(sorted(set(labels["train"])))
    longest = max(len(line.split()) for part in lines.values() for line in part)

    def part(name: str) -> Labelled:
        rows = [[numbers.get(word, 1) for word in line.split()] for line in lines[name]]
        x = np.zeros((len(rows), longest), np.int32)
        for to, row in zip(x, rows, strict=True):
            to[: len(row)] = row
        y = [classes.index(c) if c in classes else -1 for c in labels[name]]
        return Labelled(x, np.array([len(r) for r in rows], np.int32), np.array(y, np.int32))

    train, valid, test = map(part, PARTS)
    return Sequences("atis", train, valid, test, classes, len(numbers) + 2)


def mnist_rows(folder: Path | None = None) -> Sequences:
    """Handwritten digits, read by 28 rows of 28 pixels (MNIST), of 0 to 1.

    Args:
        folder: Of the four files; that among the data sets if not given. The last 5,000 of the
            training part validate.
    """
    folder = folder or data_folder() / "mnist"

    def read(name: str, header: int) -> np.ndarray:
        whole = gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes())
        return np.frombuffer(whole, np.uint8, offset=header)

    def part(name: str) -> Labelled:
        x = read(f"{name}-images-idx3", 16).reshape(-1, 28, 28) / np.float32(255)
        return _rows(x, read(f"{name}-labels-idx1", 8))

    train = part("train")
    first, last = (Labelled(*(a[s] for a in train)) for s in (np.s_[:-5000], np.s_[-5000:]))
    return Sequences("mnist", first, last, part("t10k"), tuple("0123456789"))


def usps_rows(folder: Path | None = None) -> Sequences:
    """Handwritten digits of letters, read by 16 rows of 16 pixels (USPS), of -1 to 1.

    Args:
        folder: Of ``usps_zip.npz``; that among the data sets if not given. Every tenth of the
            training part validates.
    """
    with np.load((folder or data_folder() / "usps") / "usps_zip.npz") as file:
        parts = [_rows(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
    held = np.arange(len(parts[0].y)) % 10 == 9
    train, valid = (Labelled(*(a[where] for a in parts[0])) for where in (~held, held))
    return Sequences("usps", train, valid, parts[1], tuple("0123456789"))


def _rows(x: np.ndarray, y: np.ndarray) -> Labelled:
    """Images ``(n, time, features)`` of full length."""
    return Labelled(x, np.full(len(x), x.shape[1], np.int32), y.astype(np.int32))
