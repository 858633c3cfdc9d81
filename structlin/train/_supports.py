"""Which entries of a leaf may stay: how many, in which units, and what competes with what."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from structlin.matrices import Masked
from structlin.train._schedules import Schedule

__all__ = ["Support", "leaf_path", "match_supports", "targets"]

Axis = Literal[0, "all"] | None


@dataclasses.dataclass(frozen=True)
class Support:
    """Asks that a share of a leaf's entries, blocks, rows or columns stays, or N of every M.

    A leaf of more than two axes is a stack of matrices, one of one axis a column.

    Attributes:
        density: The share of the units to keep at the end, in (0, 1]; at least one of those that
            compete stays.
        block: ``(r, c)``: units of ``r`` rows and ``c`` columns, which live or die as a whole.
            ``None`` stands for all: ``(1, None)`` are whole rows, ``(None, 1)`` whole columns.
        pattern: ``"N:M"``: ``N`` of every ``M`` neighbouring rows of a column stay. It sets the
            density; on the way there, ``M`` falls to ``N`` one by one.
        axis: What competes. ``0``, the units of a column (of a block column), so that packing needs
            no padding; ``None``, those of a leaf; ``"all"``, those of all leaves that a pattern of
            paths matches.
        threshold: Instead of a density, a schedule of the magnitude below which units are pruned,
            such as `threshold_ramp`; a block's magnitude is its root mean square.

    Raises:
        ValueError: Not exactly one of density, pattern and threshold is given, or one that makes no
            sense.

    Reference:
        ``axis="all"`` is the class-blind pruning of See et al. (2016), "Compression of neural
        machine translation models via pruning".
    """

    density: float | None = None
    block: tuple[int | None, int | None] = (1, 1)
    pattern: str = ""
    axis: Axis = 0
    threshold: Schedule | None = None

    def __post_init__(self) -> None:
        given = [self.density is not None, bool(self.pattern), self.threshold is not None]
        if sum(given) != 1:
            raise ValueError(
                f"Support takes one of density, pattern and threshold; given {sum(given)} of them."
            )
        if self.density is not None and not 0 < self.density <= 1:
            raise ValueError(f"A density is in (0, 1]; given {self.density}.")
        if self.axis not in (0, None, "all"):
            raise ValueError(f"The axis of a Support is 0, None or 'all'; given {self.axis!r}.")
        if len(self.block) != 2 or any(s is not None and s < 1 for s in self.block):
            raise ValueError(
                "A block is (rows, columns), each a positive integer or None for all; given "
                f"{self.block!r}."
            )
        if self.block[0] is None and self.axis == 0 and self.threshold is None:
            raise ValueError(
                "Blocks of all rows have no others in their column to compete with: give "
                "axis=None or axis='all'."
            )
        if self.pattern:
            self._check_pattern()

    def _check_pattern(self) -> None:
        kept, group = self.group
        if not 1 <= kept <= group:
            raise ValueError(
                f"A pattern is 'N:M' with 1 <= N <= M, such as '2:4'; given {self.pattern!r}."
            )
        if self.block != (1, 1) or self.axis != 0:
            raise ValueError(
                "The entries of a pattern compete within groups of M rows: leave out block and "
                f"axis; given {self}."
            )

    @property
    def group(self) -> tuple[int, int]:
        """``N`` and ``M`` of the pattern; zeros of none."""
        found = re.fullmatch(r"(\d+):(\d+)", self.pattern)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def share(self) -> float:
        """The density at the end, that of a pattern included; 1 of a threshold."""
        kept, group = self.group
        return kept / group if group else self.density or 1.0

    def units(self, array: jax.Array) -> jax.Array:
        """The mean of each unit; those of a column stand along axis -2."""
        *stack, m, n = _as_matrices(array.shape)
        r, c = self.sizes(array.shape)
        if self.pattern:
            return array.reshape(*stack, m // r, r, n)
        if (r, c) == (1, 1):
            return array.reshape(*stack, m, n)
        return array.reshape(*stack, m // r, r, n // c, c).mean((-3, -1))

    def entries(self, units: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """The entries of a leaf of ``shape`` from its units, in the layout of `units`."""
        r, c = self.sizes(shape)
        if self.pattern or (r, c) == (1, 1):
            return units.reshape(shape)
        return jnp.repeat(jnp.repeat(units, r, axis=-2), c, axis=-1).reshape(shape)

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of the blocks of a leaf of ``shape``, or of the groups of a pattern.

        Raises:
            ValueError: They do not tile it.
        """
        *_, m, n = _as_matrices(shape)
        r, c = (self.group[1], 1) if self.pattern else (self.block[0] or m, self.block[1] or n)
        if m % r or n % c:
            raise ValueError(f"Blocks or groups of {r} x {c} do not tile {m} x {n} entries.")
        return r, c

    def lines(self, arrays: Sequence[jax.Array]) -> jax.Array:
        """The units of leaves that compete, those that do so along axis -2."""
        parts = [self.units(x) for x in arrays]
        return parts[0] if self.axis == 0 else jnp.concatenate([p.reshape(-1, 1) for p in parts])

    def from_lines(self, lines: jax.Array, shapes: Sequence[tuple[int, ...]]) -> list[jax.Array]:
        """The entries of each leaf from the units in the layout of `lines`."""
        if self.axis == 0:
            return [self.entries(lines, shapes[0])]
        out, start = [], 0
        for shape in shapes:
            like = jax.eval_shape(self.units, jax.ShapeDtypeStruct(shape, jnp.float32))
            part = lines[start : start + like.size].reshape(like.shape)
            out.append(self.entries(part, shape))
            start += like.size
        return out


Densities = Mapping[str, float | Support]


def targets(params: Any) -> dict[str, float | Support]:
    """What the sparse matrices of ``params`` ask for, as `sparsify` takes it.

    Args:
        params: A tree with `structlin.matrices.Masked` in it.

    Returns:
        For each, the pattern of its values' path, and its density or, with blocks or a pattern of
        its own, its `Support`.

    Raises:
        ValueError: There is none.
    """
    found = {
        re.escape("/".join(filter(None, (leaf_path(path), "values")))): _support_of(node)
        for path, node in jax.tree_util.tree_leaves_with_path(
            params, is_leaf=lambda x: isinstance(x, Masked)
        )
        if isinstance(node, Masked)
    }
    if not found:
        raise ValueError("No sparse matrix in training form (Masked) is in these parameters.")
    return found


def leaf_path(path: Any) -> str:
    """A leaf's path as patterns know it: keys between slashes, in NNX without ``/value``."""
    return jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")


def match_supports(
    densities: Densities, params: Any, axis: Axis = 0
) -> list[tuple[Support, list[str]]]:
    """The paths of the leaves that compete with each other, with what is asked of them.

    Raises:
        ValueError: A pattern matches nothing, a density is out of range, or blocks do not tile.
    """
    supports = {
        pattern: d if isinstance(d, Support) else Support(d, axis=axis)
        for pattern, d in densities.items()
    }
    leaves = {leaf_path(p): x for p, x in jax.tree_util.tree_leaves_with_path(params)}
    matched: dict[str, list[str]] = {pattern: [] for pattern in supports}
    for path, leaf in leaves.items():
        hits = [pattern for pattern in supports if re.fullmatch(pattern, path)]
        if hits:
            matched[hits[0]].append(path)
            _check_tiles(supports[hits[0]], path, leaf)
    for pattern in supports:
        if not any(re.fullmatch(pattern, path) for path in leaves):
            raise ValueError(f"Pattern {pattern!r} matches no parameter; there are: {[*leaves]}.")
    return [
        (support, group)
        for pattern, support in supports.items()
        for group in (
            [matched[pattern]] if support.axis == "all" else [[p] for p in matched[pattern]]
        )
        if group
    ]


def _support_of(matrix: Masked) -> float | Support:
    if matrix.pattern:
        return Support(pattern=matrix.pattern)
    if matrix.block != (1, 1):
        return Support(matrix.density, matrix.block)
    return matrix.density


def _check_tiles(support: Support, path: str, leaf: Any) -> None:
    try:
        support.sizes(leaf.shape)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _as_matrices(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) >= 2 else (shape[0] if shape else 1, 1)
