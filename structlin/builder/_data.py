"""Labelled examples from files: texts as lines, tables or JSON, or arrays."""

import collections
import csv
import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from structlin.builder._errors import DataError
from structlin.text._bytes import as_bytes

__all__ = ["FORMS", "Examples", "Inputs", "key_of", "read"]

Inputs = list[str] | np.ndarray
"""Texts, or numbers ``(examples, ...)``."""

Row = tuple[int, str, str]
"""The number of a line, the label and the text."""


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a file holds.

    Attributes:
        name: That of the file, for messages.
        inputs: Texts, or numbers ``(examples, ...)``.
        labels: The label of each.
        notes: What was left out or looks wrong.
    """

    name: str
    inputs: Inputs
    labels: list[str]
    notes: tuple[str, ...] = ()

    @property
    def arrays(self) -> bool:
        """Whether the inputs are numbers and not texts."""
        return isinstance(self.inputs, np.ndarray)

    def take(self, rows: list[int]) -> "Examples":
        """The examples at these places."""
        x = self.inputs
        inputs = x[rows] if isinstance(x, np.ndarray) else [x[i] for i in rows]
        return dataclasses.replace(self, inputs=inputs, labels=[self.labels[i] for i in rows])

    def noting(self, *notes: str) -> "Examples":
        """The same examples with more notes."""
        return dataclasses.replace(self, notes=(*self.notes, *notes))

    def keys(self) -> list[int]:
        """A number of 64 bits for each input, equal for equal inputs, on every machine."""
        return [key_of(x) for x in self.inputs]

    def unique(self) -> "Examples":
        """Without the repetitions of an input under its label."""
        seen: dict[tuple[int, str], int] = {}
        for i, pair in enumerate(zip(self.keys(), self.labels, strict=True)):
            seen.setdefault(pair, i)
        names = collections.defaultdict(set)
        for key, label in seen:
            names[key].add(label)
        notes = [_count(len(self.labels) - len(seen), "repeated row", "left out")]
        several = sum(len(x) > 1 for x in names.values())
        notes.append(_count(several, "input", "under more than one label, and kept so"))
        return self.take(list(seen.values())).noting(*(f"{self.name}: {n}" for n in notes if n))


def key_of(x: str | np.ndarray) -> int:
    """A number of 64 bits that depends on a text, or on an array's numbers, alone."""
    data = as_bytes(x) if isinstance(x, str) else np.ascontiguousarray(x).tobytes()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def read(path: Path, encoding: str = "utf-8") -> Examples:
    """The examples of a file, by its ending one of `FORMS`.

    Args:
        path: The file.
        encoding: Of a file of texts; a byte order mark at its start is no part of them.

    Raises:
        DataError: There is no such file, or a line of it cannot be read; the message names it.
    """
    form = FORMS.get(path.suffix.lower())
    if form is None and path.suffix.lower() != ".npz":
        kinds = ", ".join([*FORMS, ".npz"])
        raise DataError(f"{path} ends in {path.suffix!r}: examples are read from {kinds}.")
    try:
        if form is None:
            return _read_arrays(path)
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from None
    rows = list(form(_decoded(data, path, encoding), path))
    kept = [(label.strip(), text.strip()) for _, label, text in rows]
    kept = [pair for pair in kept if all(pair)]
    note = _count(len(rows) - len(kept), "row", "without a label or without text left out")
    labels, texts = [label for label, _ in kept], [text for _, text in kept]
    return Examples(path.name, texts, labels, (f"{path.name}: {note}",) if note else ())


def _decoded(data: bytes, path: Path, encoding: str) -> str:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except LookupError:
        raise DataError(f"No encoding is named {encoding!r}; UTF-8 is the default.") from None
    except UnicodeError as error:
        line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise DataError(
            f"Line {line} of {path} is not {encoding.upper()}: say "
            "what it is by --encoding, such as latin-1 or utf-16."
        ) from None
    if "\0" in text:
        raise DataError(f"{path} holds zero bytes: it is binary, or in another --encoding.")
    return text


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, and their numbers; only a line feed ends one."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def _tabs(text: str, path: Path) -> Iterator[Row]:
    for number, line in _lines(text):
        label, tab, rest = line.partition("\t")
        if not tab:
            raise DataError(f"Line {number} of {path} has no tab: it must be label, tab, text.")
        if (label.lower(), rest.lower()) != ("label", "text"):  # a header
            yield number, label, rest


def _table(text: str, path: Path) -> Iterator[Row]:
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(table, [])]
        if not {"label", "text"} <= set(header):
            raise DataError(
                f"The first line of {path} must name the columns, two of them label and text; "
                f"it names {', '.join(header) or 'none'}."
            )
        label, words = header.index("label"), header.index("text")
        for row in table:
            if row and len(row) <= max(label, words):
                raise DataError(
                    f"Line {table.line_num} of {path} has {len(row)} columns; the first line has "
                    f"{len(header)}."
                )
            if row:
                yield table.line_num, row[label], row[words]
    except csv.Error as error:
        raise DataError(f"Line {table.line_num} of {path} is no CSV: {error}.") from None


def _json(text: str, path: Path) -> Iterator[Row]:
    for number, line in _lines(text):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not {"label", "text"} <= set(found):
            raise DataError(f'Line {number} of {path} is not {{"text": ..., "label": ...}}.')
        label, words = found["label"], found["text"]
        if not isinstance(words, str) or not isinstance(label, str | int):
            raise DataError(
                f"Line {number} of {path}: a text is a string, a label one or a number."
            )
        yield number, str(label), words


FORMS: dict[str, Callable[[str, Path], Iterator[Row]]] = {
    ".tsv": _tabs,
    ".txt": _tabs,
    ".csv": _table,
    ".jsonl": _json,
    ".ndjson": _json,
}
"""The ending of a file of texts -> what reads its rows."""


def _read_arrays(path: Path) -> Examples:
    try:
        with np.load(path, allow_pickle=False) as file:
            x, y = file["x"], file["y"]
    except KeyError:
        raise DataError(f"{path} must hold x, the inputs, and y, their labels.") from None
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"Cannot read {path}: {error}.") from None
    if x.ndim not in (2, 3, 4) or y.shape != (len(x),) or x.dtype.kind not in "biuf":
        raise DataError(
            f"{path} holds x {x.shape} of {x.dtype} and y {y.shape}: it needs numbers of 2 to 4 "
            "axes, the first over the examples, and a label for each."
        )
    if y.dtype.kind not in "biuU":
        raise DataError(f"{path} holds labels of {y.dtype}: they must be integers or strings.")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise DataError(f"{path} holds numbers that are not finite: leave those examples out.")
    return Examples(path.name, x, [str(label) for label in y.tolist()])


def _count(count: int, what: str, note: str) -> str:
    """``3 rows left out``; empty for none."""
    return f"{count:,} {what}{'s' * (count != 1)} {note}" if count else ""
