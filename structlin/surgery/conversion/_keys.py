"""Weights by name: prefixes, what is missing, and wrong shapes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["Keys", "expect", "listed"]

_SEPARATORS = "./_:"


class Keys:
    """Arrays by name, all under one prefix.

    Attributes:
        arrays: Every name and its array, in whatever form it came.
        wanted: The prefix that was asked for.
    """

    def __init__(self, arrays: Mapping[str, Any], prefix: str = "") -> None:
        # TensorFlow 2 ends the names of variables with ":0".
        self.arrays = {name.removesuffix(":0"): value for name, value in arrays.items()}
        self.wanted = prefix
        self.prefix = prefix

    def find(self, *markers: str) -> str | None:
        """Settles the prefix of the cell that has one of ``markers``; which one, if any."""
        for marker in markers:
            found = self._prefixes(marker)
            if found:
                self.prefix = self._chosen(found, marker)
                return marker
        return None

    def need(self, *markers: str) -> str:
        """`find`, or an error that names what is missing."""
        marker = self.find(*markers)
        if marker is None:
            raise self._missing(self.wanted + markers[0])
        return marker

    def has(self, name: str) -> bool:
        """Whether the cell has this weight."""
        return self.prefix + name in self.arrays

    def get(self, name: str, shape: tuple[int | None, ...] | None = None) -> np.ndarray:
        """A weight as a NumPy array, of a shape whose ``None`` may be anything."""
        full = self.prefix + name
        if full not in self.arrays:
            raise self._missing(full)
        array = to_numpy(self.arrays[full], full)
        expect(full, array, shape)
        return array

    def first(self, *names: str) -> str:
        """The first of some names for one weight that is there."""
        for name in names:
            if self.has(name):
                return name
        raise self._missing(self.prefix + names[0])

    def _prefixes(self, marker: str) -> list[str]:
        ends = (name.removesuffix(marker) for name in self.arrays if name.endswith(marker))
        found = sorted({p for p in ends if not p or p[-1] in _SEPARATORS})
        wanted = self.wanted.rstrip(_SEPARATORS)
        exact = [p for p in found if p.rstrip(_SEPARATORS) == wanted]
        return exact or [p for p in found if not wanted or _under(p, wanted)]

    def _chosen(self, found: list[str], marker: str) -> str:
        if len(found) > 1:
            raise ValueError(
                f"There are {len(found)} cells with a {marker!r}: choose one with prefix=, "
                f"one of {listed(found)}."
            )
        return found[0]

    def _missing(self, full: str) -> KeyError:
        return KeyError(f"There is no weight {full!r}; there are {listed(sorted(self.arrays))}.")


def _under(name: str, folder: str) -> bool:
    return name.startswith(folder) and name[len(folder)] in _SEPARATORS


def to_numpy(value: Any, name: str) -> np.ndarray:
    """An array of any framework as a floating-point NumPy array."""
    if hasattr(value, "detach"):  # a PyTorch tensor, perhaps on a device and with a gradient
        value = value.detach().cpu()
        if "bfloat16" in str(value.dtype):  # which NumPy has not
            value = value.float()
    array = np.asarray(value)
    # Extension types, bfloat16 among them, are of kind "V".
    if array.dtype.kind not in "fV":
        raise ValueError(
            f"{name!r} has dtype {array.dtype}; floating-point weights are needed: multiply "
            "quantised ones by their scale first."
        )
    return array


def expect(name: str, array: np.ndarray, shape: tuple[int | None, ...] | None) -> None:
    """Raises if an array has another shape; ``None`` stands for any size."""
    if shape is None:
        return
    fits = len(shape) == array.ndim and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        text = ", ".join("any" if size is None else str(size) for size in shape)
        text += "," if len(shape) == 1 else ""
        raise ValueError(f"{name!r} has shape {array.shape}; ({text}) is expected.")


def listed(names: Iterable[str], most: int = 24) -> str:
    """Some names for a message."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{names[:most]}{more}"
