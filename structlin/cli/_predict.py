"""``structlin predict``: the labels that a built model gives to texts."""

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from structlin import builder, storage
from structlin.cli._failures import CommandError

__all__ = ["predict"]

AT_ONCE = 64


def predict(
    model: Annotated[Path, typer.Argument(help="A .slin file that `structlin train` wrote.")],
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="[TEXT]",
            help="A text; else each line of standard input is one. For a model of arrays, an .npz "
            "file with x.",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many labels, the likeliest first.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON for each input.")] = False,
) -> None:
    """Print the likeliest label of each text and its probability, separated by a tab."""
    if top < 1:
        raise CommandError(f"--top must be 1 or more, given {top}", 2)
    found = _load(model)
    for inputs in _arrays(text) if not found.texts else _lines(text):
        try:
            chances = found.probabilities(inputs)
        except (TypeError, ValueError) as error:
            raise CommandError(str(error), 2) from None
        for one, row in zip(inputs, chances, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            pairs = [(found.labels[i], float(row[i])) for i in best]
            given = {"text": one} if isinstance(one, str) else {}
            print(_json(given, pairs) if as_json else _plain(pairs), flush=True)


def _load(path: Path) -> builder.Model:
    try:
        return builder.load(path)
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", 2) from None
    except (storage.StorageError, builder.ModelError, OSError) as error:
        raise CommandError(str(error), 1) from None


def _lines(text: str | None) -> Iterator[list[str]]:
    """The text, or the lines of standard input: a terminal's one by one, others some at once."""
    if text is not None:
        yield [text]
        return
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    lines: Iterable[str] = (line.rstrip("\r\n") for line in sys.stdin)
    few = 1 if sys.stdin.isatty() else AT_ONCE
    some: list[str] = []
    for line in lines:
        some.append(line)
        if len(some) == few:
            yield some
            some = []
    if some:
        yield some


def _arrays(path: str | None) -> Iterator[Any]:
    if path is None or not path.endswith(".npz"):
        raise CommandError("the model takes arrays: give an .npz file with x", 2)
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file["x"]
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", 2) from None
    except KeyError:
        raise CommandError(f"{path} must hold x", 2) from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise CommandError(f"cannot read {path}: {error}", 1) from None


def _plain(pairs: list[tuple[str, float]]) -> str:
    return "\t".join(f"{label}\t{chance:.4f}" for label, chance in pairs)


def _json(given: dict[str, str], pairs: list[tuple[str, float]]) -> str:
    labels = [{"label": label, "probability": round(chance, 6)} for label, chance in pairs]
    return json.dumps({**given, "labels": labels}, ensure_ascii=False)
