"""The tensors of a file in figures: bytes, Shannon's bound, and how their numbers are spread."""

import contextlib
import dataclasses
from typing import Any

import numpy as np

from structlin import storage
from structlin.storage._coding import bound, counted, is_codable
from structlin.storage._encode import encode

__all__ = ["Tensor", "sparkline", "tensors"]

BINS = 16
BARS = " ▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        name: Its path.
        dtype: The dtype of its array.
        shape: The shape of its array.
        bytes: What it takes in the file.
        coder: The entropy coder that wrote it; empty if there was none.
        coded: What it takes entropy coded, as it is in the file or would be by ``"ans"``; ``None``
            if that is not for it, or ``constriction`` is not installed.
        bound: Shannon's bound in bytes for the symbols that are coded.
        view: What these symbols are, such as ``"codes of 3 bits"`` or ``"gaps"``.
        counts: How many of its numbers, or of the symbols, fall in each of equal parts of the range
            ``low`` to ``high``.
        low: The least finite number; ``None`` if there is none.
        high: The largest.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    coder: str
    coded: int | None
    bound: float | None
    view: str
    counts: tuple[int, ...]
    low: float | None
    high: float | None


def tensors(tree: Any, header: storage.Header) -> list[Tensor]:
    """Those of a file whose tree and header were read, in the order of the tree."""
    arrays: dict[str, np.ndarray] = {}
    encode(tree, arrays)
    return [_tensor(name, array, header.stored[name]) for name, array in arrays.items()]


def sparkline(counts: tuple[int, ...]) -> str:
    """A histogram on one line; what is there at all is seen."""
    most = max(counts, default=0) or 1
    return "".join(BARS[-(-n * (len(BARS) - 1) // most)] for n in counts)


def _tensor(name: str, array: np.ndarray, stored: storage.Stored) -> Tensor:
    figures = (name, array.dtype.name, array.shape, stored.bytes, stored.coder)
    if not is_codable(array):
        return Tensor(*figures, None, None, "", *_spread(array))
    symbols, counts = counted(array)
    coded = stored.bytes if stored.coder else None
    with contextlib.suppress(ImportError):
        coded = coded or storage.entropy_code(array).bytes
    view = f"codes of {symbols.bits} bits" if symbols.bits else symbols.view
    binned = np.histogram(np.arange(counts.size), min(counts.size, BINS), weights=counts)[0]
    spread = tuple(int(n) for n in binned), 0, counts.size - 1
    return Tensor(*figures, coded, stored.bound or bound(counts), view, *spread)


def _spread(array: np.ndarray) -> tuple[tuple[int, ...], float | None, float | None]:
    parts = [np.real(array), np.imag(array)] if np.iscomplexobj(array) else [array]
    numbers = np.concatenate([p.reshape(-1).astype(np.float64) for p in parts])
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return (), None, None
    low, high = float(numbers.min()), float(numbers.max())
    # Halves keep the range of float64 finite.
    counts, _ = np.histogram(numbers / 2, BINS if low < high else 1)
    return tuple(counts.tolist()), low, high
