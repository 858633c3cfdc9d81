"""n-grams and skip-grams of characters or words as 32-bit hashes.

The hash of a unit is the sum over its bytes of a word that depends on the byte and its place; that
of a gram takes in one unit after the other, with the distance between them. All is 32-bit integer
arithmetic, so the host and every device have the same bits.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from structlin.kernels import hash_words
from structlin.text import _host
from structlin.text._bytes import as_bytes, check_bytes, is_space

__all__ = ["Grams"]


@dataclasses.dataclass(frozen=True)
class Grams:
    """Which n-grams of a text count, hashed; equal on the host and inside jit.

    Words are what stands between the spaces of ASCII. Characters are those of UTF-8, whatever
    script; a run of spaces is one character, and a text begins and ends with one,
    unless it has no words: then it has nothing. Bytes that are
    no UTF-8 have hashes too: those that continue a character belong to the one before.

    Attributes:
        unit: ``"characters"`` or ``"words"``.
        sizes: The lengths of the n-grams.
        skips: Pairs of units too that have 1 to this many others between them.
        limit: How many units of a text count; all if ``None``.
        lowercase: Whether A to Z count as a to z. Lower-case other letters before.

    Raises:
        ValueError: When made, if there is no such unit or a number is too small.
    """

    unit: str = "characters"
    sizes: tuple[int, ...] = (1, 2, 3)
    skips: int = 0
    limit: int | None = None
    lowercase: bool = True

    def __post_init__(self):
        if self.unit not in ("characters", "words"):
            raise ValueError(f"A unit is characters or words; given unit={self.unit!r}.")
        least = min([*self.sizes, 1 if self.limit is None else self.limit])
        if not self.sizes or least < 1 or self.skips < 0:
            raise ValueError(
                "Grams need sizes of 1 or more, skips of 0 or more and a limit of 1 or more; given "
                f"sizes={self.sizes}, skips={self.skips}, limit={self.limit}."
            )

    @property
    def patterns(self) -> tuple[tuple[int, ...], ...]:
        """The units of each gram, counted from its first."""
        runs = [tuple(range(size)) for size in self.sizes]
        return *runs, *((0, gap + 1) for gap in range(1, self.skips + 1))

    def slots(self, size: int) -> int:
        """How many units a text of ``size`` bytes can have."""
        most = size + 2 if self.unit == "characters" else (size + 1) // 2
        return most if self.limit is None else min(most, self.limit)

    def __call__(self, data: jax.Array, lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The grams of texts, in JAX.

        Args:
            data: UTF-8, uint8 ``(..., bytes)``.
            lengths: The bytes that count, integers ``(...)``.

        Returns:
            Hashes, uint32 ``(..., count)``, pattern by pattern, and int32 ``(..., count)``: 1 for
            each that is there, else 0.

        Raises:
            TypeError: The data are not bytes.
        """
        check_bytes(data)
        one = jnp.vectorize(self._one, signature="(n),()->(g),(g)")
        return one(jnp.asarray(data), jnp.asarray(lengths))

    def on_host(self, text: str | bytes) -> np.ndarray:
        """The same hashes of one text, in NumPy, uint32 ``(count,)``."""
        return np.concatenate(self.by_pattern(text))

    def by_pattern(self, text: str | bytes) -> list[np.ndarray]:
        """The hashes of one text, in NumPy, for each of the patterns."""
        units = _host.units(as_bytes(text), self.unit == "characters", self.lowercase)[: self.limit]
        return [_host.gram(units, pattern) for pattern in self.patterns]

    def _one(self, data: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
        units, count = self._units(data, length)
        found = []
        for pattern in self.patterns:
            hashes = units
            for before, after in itertools.pairwise(pattern):
                later = jnp.pad(units, (0, after))[after:]
                hashes = hash_words(hashes, later, after - before)
            found.append((hashes, jnp.arange(units.size) + pattern[-1] < count))
        hashes, there = (jnp.concatenate(x) for x in zip(*found, strict=True))
        return hashes, there.astype(jnp.int32)

    def _units(self, data: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The hashes of the units, ``(slots,)``, and how many there are."""
        slots, length = self.slots(data.size), jnp.minimum(length, data.size)
        if self.unit == "characters":
            data, length = jnp.pad(data, 1, constant_values=32), length + 2
            data = jnp.where(jnp.arange(data.size) == length - 1, 32, data)
        place = jnp.arange(data.size, dtype=jnp.int32)
        space = is_space(data)
        data = jnp.where(space, 32, data)
        if self.lowercase:
            data = jnp.where((data >= 65) & (data <= 90), data + 32, data)
        after_space = jnp.pad(space, (1, 0), constant_values=True)[:-1]
        if self.unit == "characters":
            part = (place < length) & ~(space & after_space & (place > 0))
            starts = part & (((data & 0xC0) != 0x80) | after_space)
        else:
            part = (place < length) & ~space
            starts = part & after_space
        offset = place - jax.lax.cummax(jnp.where(starts, place, 0))
        number = jnp.where(part, jnp.cumsum(starts) - 1, slots)
        sums = jnp.zeros(slots, jnp.uint32).at[number].add(hash_words(offset, data, 0), mode="drop")
        return sums, jnp.where(jnp.any(part & ~space), jnp.minimum(jnp.sum(starts), slots), 0)
