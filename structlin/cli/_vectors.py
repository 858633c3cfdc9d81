"""Files of embeddings: rows, and their words where the file has them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from structlin.cli._failures import CommandError
from structlin.cli._models import read_model
from structlin.matrices import is_matrix
from structlin.surgery._paths import leaf_paths

__all__ = ["read_vectors", "read_words"]

_BLOCK = 1024  # lines of text that are handed over together


def read_vectors(path: Path, name: str | None) -> tuple[Any, list[str] | None]:
    """The rows in a file and their words, as `structlin.storage.EmbeddingStore.build` takes them.

    Args:
        path: ``.npy``, which is mapped; ``.npz``, ``.safetensors`` or ``.slin``; any other is text:
            a word and its numbers on each line, perhaps below a line of two counts.
        name: Which array of a file that has several.

    Raises:
        CommandError: There is no such file or array, or it cannot be read.
    """
    if path.suffix in (".npz", ".safetensors", ".slin"):
        return _choose(path, read_model(path)[0], name), None
    if name is not None:
        raise CommandError(f"--name is for a file of several arrays, not for {path}", 2)
    try:
        if path.suffix == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False), None
        words, skipped, dim = _survey(path)
        return _blocks(path, skipped, dim), words
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", 2) from None
    except (OSError, ValueError, EOFError) as error:  # UnicodeDecodeError is a ValueError
        raise CommandError(f"cannot read {path}: {error}", 1) from None


def read_words(path: Path) -> list[str]:
    """The lines of a file, each of them a word.

    Raises:
        CommandError: It cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return [line.removesuffix("\n").removesuffix("\r") for line in file]
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", 2) from None
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {path}: {error}", 1) from None


def _choose(path: Path, tree: Any, name: str | None) -> Any:
    found = {k: x for k, x in leaf_paths(tree).items() if is_matrix(x) or np.ndim(x) == 2}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        names = ", ".join(found) or "no array of two axes"
        given = "" if name is None else f"{name!r} is not among them; "
        raise CommandError(f"{path} has {names}: {given}choose one by --name", 2)
    return found[name]


def _survey(path: Path) -> tuple[list[str], int, int]:
    """The words of a text file, the lines to skip, and the numbers of a row."""
    with path.open(encoding="utf-8", newline="\n") as file:
        first = file.readline().split()
        skipped = int(len(first) == 2 and all(part.isdigit() for part in first))
        dim = int(first[1]) if skipped else len(first) - 1
        if dim < 1:
            raise ValueError("its first line is not a word and its numbers")
        file.seek(0)
        lines = (line for i, line in enumerate(file) if i >= skipped)
        return [line.rstrip().rsplit(" ", dim)[0] for line in lines], skipped, dim


def _blocks(path: Path, skipped: int, dim: int) -> Iterator[np.ndarray]:
    numbers: list[np.ndarray] = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for i, line in enumerate(file):
            if i < skipped:
                continue
            _, *row = line.rstrip().rsplit(" ", dim)
            try:
                numbers.append(np.array(row, np.float32).reshape(dim))
            except ValueError:
                raise ValueError(f"{path}: line {i + 1} is no word and {dim} numbers") from None
            if len(numbers) == _BLOCK:
                yield np.stack(numbers)
                numbers.clear()
    if numbers:
        yield np.stack(numbers)
