"""Sets of labelled texts, and what careless typing makes of a text."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from _data import PARTS, data_folder

from structlin.builder._data import key_of

__all__ = ["TEXTS", "Part", "Texts", "edited"]

SHARE = 10
"""One in so many texts of a set without parts tests, and of the others as many validate."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Texts and the numbers of their labels.

    Attributes:
        texts: The texts.
        targets: int32 ``(texts,)``; -1 for a label that training has not.
    """

    texts: list[str]
    targets: np.ndarray


@dataclasses.dataclass(frozen=True)
class Texts:
    """A set of labelled texts.

    Attributes:
        name: Where it is from.
        labels: Those of the training part, in order.
        train: To train on.
        valid: To choose by.
        test: To report.
    """

    name: str
    labels: tuple[str, ...]
    train: Part
    valid: Part
    test: Part


Rows = list[tuple[str, str]]
"""Labels and texts."""


def texts(name: str, limit: int | None = None) -> Texts:
    """One of `TEXTS`.

    Args:
        name: Which.
        limit: How many texts of each part, drawn at random; all if ``None``.
    """
    parts = [_some(part, limit) for part in TEXTS[name](data_folder() / name)]
    labels = sorted({label for label, _ in parts[0]})
    places = {label: i for i, label in enumerate(labels)}

    def part(rows: Rows) -> Part:
        targets = np.array([places.get(label, -1) for label, _ in rows], np.int32)
        return Part([text for _, text in rows], targets)

    return Texts(name, tuple(labels), *map(part, parts))


def _some(rows: Rows, limit: int | None) -> Rows:
    if limit is None or limit >= len(rows):
        return rows
    return [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:limit]]


def _lines(path: Path, encoding: str = "utf-8") -> list[str]:
    return path.read_text(encoding).split("\n")[:-1]


def _atis(folder: Path) -> Iterator[Rows]:
    for part in PARTS:
        pair = (_lines(folder / part / name) for name in ("label", "seq.in"))
        yield list(zip(*pair, strict=True))


def _emoji(folder: Path) -> Iterator[Rows]:
    for part in ("train", "val", "test"):
        pair = (_lines(folder / f"{part}_{name}.txt") for name in ("labels", "text"))
        yield list(zip(*pair, strict=True))


def _mrda(folder: Path) -> Iterator[Rows]:
    """The five basic tags of utterances, without what was said before."""
    for part in ("train", "val", "test"):
        split = (line.split("|") for line in _lines(folder / f"{part}_set.txt"))
        yield [(basic, text) for _, text, basic, _, _ in split]


def _swda(folder: Path) -> Iterator[Rows]:
    """The 41 tags of utterances, without what was said before."""
    for part in ("train", "val", "test"):
        split = (line.split("\t") for line in _lines(folder / f"{part}.tsv"))
        yield [(tag, text) for _, _, text, tag in split]


def _by_hash(folder: Path, files: dict[str, str]) -> Iterator[Rows]:
    """The parts of a set that has none, by the hash of a text: equal ones stay together."""
    rows = [(label, text) for label, name in files.items() for text in _lines(folder / name)]
    places = [divmod(key_of(text), SHARE) for _, text in rows]
    parts = ["test" if not rest else "train" if key % SHARE else "valid" for key, rest in places]
    for part in PARTS:
        yield [row for row, of in zip(rows, parts, strict=True) if of == part]


def _mr(folder: Path) -> Iterator[Rows]:
    return _by_hash(folder, {"neg": "rt-polarity.neg", "pos": "rt-polarity.pos"})


def _subj(folder: Path) -> Iterator[Rows]:
    files = {"objective": "plot.tok.gt9.5000", "subjective": "quote.tok.gt9.5000"}
    return _by_hash(folder, files)


TEXTS: dict[str, Callable[[Path], Iterator[Rows]]] = {
    "atis": _atis,
    "subj": _subj,
    "mr": _mr,
    "mrda": _mrda,
    "swda": _swda,
    "emoji_tweeteval": _emoji,
}
"""The folder of a set -> what reads its three parts."""


def edited(text: str, rate: float, rng: np.random.Generator) -> str:
    """A text with mistakes: each character is one with the chance ``rate``.

    A letter is put before it, it is left out, it becomes a letter, or it changes places with the
    next one, each as often.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"
    found: list[str] = []
    characters = list(text)
    for i, character in enumerate(characters):
        letter, kind = letters[rng.integers(26)], rng.integers(4)
        if rng.random() >= rate:
            found.append(character)
        elif kind == 0:
            found += [letter, character]
        elif kind == 2:
            found.append(letter)
        elif kind == 3 and i + 1 < len(characters):
            # The next one is dealt with in its new place.
            characters[i + 1], character = character, characters[i + 1]
            found.append(character)
        elif kind == 3:
            found.append(character)
    return "".join(found)
