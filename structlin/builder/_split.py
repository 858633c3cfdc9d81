"""Examples apart: for training, for choosing, and for the final figures."""

import collections
import dataclasses
import hashlib

import numpy as np

from structlin.builder._data import Examples, Inputs
from structlin.builder._errors import DataError

__all__ = ["LEAST", "Dataset", "Part", "assemble"]

LEAST = 20
"""The fewest different rows that a model is built from."""

SHARE, FEWEST = 0.1, 5
"""What is kept for validation: a share, and at least so many."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Examples and the places of their labels.

    Attributes:
        inputs: Texts, or numbers ``(examples, ...)``.
        targets: int32 ``(examples,)``; -1 for a label that training does not have.
    """

    inputs: Inputs
    targets: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What a build learns from and is measured on.

    Attributes:
        labels: Those of the training part, in order.
        train: What is learnt.
        valid: What networks are chosen by.
        test: What the final figures are of; the validation part again if no file was given.
        tested: Whether a file was given.
        notes: What was left out or looks wrong.
        digest: A name for what is learnt and chosen by.
    """

    labels: tuple[str, ...]
    train: Part
    valid: Part
    test: Part
    tested: bool
    notes: tuple[str, ...]
    digest: str


def assemble(
    train: Examples, valid: Examples | None = None, test: Examples | None = None
) -> Dataset:
    """The parts of a build.

    Rows that say the same count once in training. Without a file for validation, the inputs whose
    hash is among the lowest tenth of all hashes are kept for it: equal inputs are on one side, and
    a row's side does not depend on the other rows, unless they are very few. A label stays in
    training if all its rows would leave it. The rows of files for validation and test are as given.

    Raises:
        DataError: There are too few rows or labels, or files that do not go together.
    """
    for other in filter(None, (valid, test)):
        _check_alike(train, other)
    whole = train.unique()
    _check_enough(whole)
    learnt, chosen = (whole, valid) if valid else _parted(whole)
    names = sorted(set(learnt.labels))
    if len(names) < 2:
        raise DataError(
            f"{train.name} has one label, {names[0]!r}: there is nothing to tell apart."
        )
    notes, known = list(whole.notes), set(learnt.keys())
    for other in filter(None, (valid, test)):
        notes += [*other.notes, *_remarks(other, names, known)]
    places = {name: i for i, name in enumerate(names)}
    parts = (_part(x, places) for x in (learnt, chosen, test or chosen))
    given = (train, valid) if valid else (train,)
    return Dataset(
        tuple(names), *parts, tested=test is not None, notes=tuple(notes), digest=_digest(given)
    )


def _check_alike(train: Examples, other: Examples) -> None:
    if not other.labels:
        raise DataError(f"{other.name} has no rows.")
    shapes = [
        x.inputs.shape[1:] if isinstance(x.inputs, np.ndarray) else () for x in (train, other)
    ]
    if train.arrays != other.arrays or shapes[0] != shapes[1]:
        kinds = [f"arrays {s}" if s else "texts" for s in shapes]
        raise DataError(
            f"{train.name} holds {kinds[0]} and {other.name} {kinds[1]}: all files must be alike."
        )


def _check_enough(whole: Examples) -> None:
    if len(whole.labels) < LEAST:
        raise DataError(
            f"{whole.name} has {len(whole.labels)} different rows: at least {LEAST} are needed."
        )


def _parted(whole: Examples) -> tuple[Examples, Examples]:
    keys = whole.keys()
    last = max(int(SHARE * 2**64), sorted(set(keys))[:FEWEST][-1])
    left = {label for key, label in zip(keys, whole.labels, strict=True) if key > last}
    away = {i for i, key in enumerate(keys) if key <= last and whole.labels[i] in left}
    if len(away) in (0, len(keys)):
        raise DataError(f"{whole.name} cannot be split: give rows for validation by --valid.")
    rest = [i for i in range(len(keys)) if i not in away]
    return whole.take(rest), whole.take(sorted(away))


def _remarks(other: Examples, names: list[str], known: set[int]) -> list[str]:
    unseen = collections.Counter(x for x in other.labels if x not in set(names))
    found = []
    if unseen:
        some = ", ".join(sorted(unseen)[:5]) + ", ..." * (len(unseen) > 5)
        found.append(
            f"{other.name}: {sum(unseen.values())} rows have labels that training has not, and "
            f"count as wrong: {some}"
        )
    if both := sum(key in known for key in other.keys()):  # noqa: SIM118 (not a dict)
        found.append(f"{other.name}: {both} of {len(other.labels)} inputs are in training too")
    return found


def _part(examples: Examples, places: dict[str, int]) -> Part:
    targets = [places.get(label, -1) for label in examples.labels]
    return Part(examples.inputs, np.array(targets, np.int32))


def _digest(files: tuple[Examples, ...]) -> str:
    rows = [[*zip(x.keys(), x.labels, strict=True)] for x in files]
    return hashlib.blake2b(repr(rows).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
