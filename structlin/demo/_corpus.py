"""Text as integers: the corpus that every CPython carries, or the user's own."""

import dataclasses
import pydoc_data.topics
from collections import Counter
from pathlib import Path

import numpy as np

__all__ = ["Corpus", "TextError", "load_corpus", "windows"]

MOST_CHARACTERS = 255
UNKNOWN = "\ufffd"


class TextError(ValueError):
    """A text that no model can be trained on, and why."""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text split for training and testing.

    Attributes:
        name: Where it is from.
        train: Character numbers, int32.
        test: Character numbers, int32.
        vocabulary: The character of each number, most frequent first; the last one stands for all
            that are not among the `MOST_CHARACTERS` most frequent.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    vocabulary: str

    @property
    def unknown_share(self) -> float:
        """The share of test characters that have no number of their own."""
        return float(np.mean(self.test == len(self.vocabulary) - 1))

    def decode(self, ids: np.ndarray) -> str:
        """The text of character numbers."""
        return "".join(self.vocabulary[i] for i in ids)


def load_corpus(text: Path | None = None, valid: Path | None = None, most_test: int = 0) -> Corpus:
    """Reads and numbers a text.

    Args:
        text: A UTF-8 file to train on; the reference text inside CPython if not given.
        valid: A UTF-8 file to test on; the last tenth of the training text if not given.
        most_test: The most characters to test on, from the start; 0 for all.

    Raises:
        TextError: A file is missing, empty, or no text.
    """
    if text is None and valid is not None:
        raise TextError("--valid needs --text: the embedded text has a test part of its own.")
    whole = _embedded() if text is None else _read(text)
    if valid is None:
        cut = len(whole) * 9 // 10
        train, test = whole[:cut], whole[cut:]
    else:
        train, test = whole, _read(valid)
    frequent = [c for c, _ in Counter(train).most_common(MOST_CHARACTERS) if c != UNKNOWN]
    vocabulary = "".join(frequent) + UNKNOWN
    return Corpus(
        name="pydoc_data.topics" if text is None else text.name,
        train=_number(train, vocabulary),
        test=_number(test, vocabulary)[: most_test or None],
        vocabulary=vocabulary,
    )


def windows(ids: np.ndarray, streams: int, steps: int, what: str) -> np.ndarray:
    """Cuts ``ids`` into parallel streams and those into windows that follow each other.

    Args:
        ids: Character numbers.
        streams: How many parts are read side by side.
        steps: How many characters are predicted in a window.
        what: What ``ids`` is, for the error.

    Returns:
        ``(windows, steps + 1, streams)``, time before streams: consecutive windows share one
        character.

    Raises:
        TextError: The text is shorter than one window of all streams.
    """
    need = streams * (steps + 1)
    if len(ids) < need:
        raise TextError(
            f"The {what} text has {len(ids):,} characters; one batch needs {need:,} "
            f"({streams} streams of {steps} characters and one more). Give a longer text."
        )
    length = len(ids) // streams
    table = ids[: length * streams].reshape(streams, length).T
    starts = range(0, length - steps, steps)
    return np.stack([table[s : s + steps + 1] for s in starts])


def _embedded() -> str:
    topics = pydoc_data.topics.topics
    return "\n".join(topics[name] for name in sorted(topics))


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise TextError(f"There is no file {path}.") from None
    except OSError as error:
        raise TextError(f"Cannot read {path}: {error.strerror or error}.") from None
    if not data.strip():
        raise TextError(f"{path} is empty.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{path} is not UTF-8 text: byte {error.start:,} is 0x{data[error.start]:02x}."
        ) from None
    if "\0" in text:
        raise TextError(f"{path} is binary: character {text.index(chr(0)):,} is NUL.")
    return text


def _number(text: str, vocabulary: str) -> np.ndarray:
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    known = np.frombuffer(vocabulary.encode("utf-32-le", "surrogatepass"), np.uint32)
    order = np.argsort(known)
    place = np.searchsorted(known[order], points).clip(max=len(known) - 1)
    number = order[place]
    return np.where(known[number] == points, number, len(known) - 1).astype(np.int32)
