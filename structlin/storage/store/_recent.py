"""What was used last."""

import collections
import contextlib
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Recent"]

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The ``capacity`` values that were used last, by key, for any number of threads.

    Each step is one call into C, so there is no lock, which a fork could leave locked.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: collections.OrderedDict[Hashable, Value] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """The value of ``key``, if it is still here."""
        value = self._values.get(key)
        if value is not None:
            with contextlib.suppress(KeyError):  # another thread took it out
                self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keeps a value, in place of the one that was not used for longest."""
        self._values[key] = value
        while len(self._values) > self._capacity:
            with contextlib.suppress(KeyError):
                self._values.popitem(last=False)
