"""Recipes: which weights of a model become which structure."""

import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from structlin.specs import Spec
from structlin.surgery import _toml
from structlin.surgery._targets import Target

__all__ = ["Choice", "Recipe", "axes_of_outputs", "chosen", "read_toml", "written"]

KEEP = "keep"
"""What stands in a file for ``None``, which TOML has not: leave the weight alone."""

Choice = tuple[Target, Spec | None]
"""A weight and what it becomes."""


class Recipe(Mapping[str, Spec | None]):
    """Patterns of parameter paths and the spec of each, in order.

    A mapping that does not change. A pattern is a regular expression for a whole path; the first
    that matches decides. ``None`` leaves weights alone, as `structlin.specs.Dense` does.

    Attributes:
        fuse: Whether the gates of a cell may be compressed as one kernel.
        outputs: Pattern of paths -> how many axes of a weight of three or more are outputs.
        shapes: Pattern of paths -> the shape ``(m, n)`` that the weights must have as matrices.

    Raises:
        TypeError: A value is neither a spec nor ``None``.
        ValueError: A key is not a regular expression.
    """

    def __init__(
        self,
        specs: Mapping[str, Spec | None],
        *,
        fuse: bool = False,
        outputs: Mapping[str, int] | None = None,
        shapes: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        for pattern, spec in specs.items():
            if not isinstance(spec, Spec | None):
                raise TypeError(
                    f"The recipe gives {pattern!r} the value {spec!r}; a spec such as "
                    "structlin.specs.LowRank(rank=8) is needed, or None to leave it alone."
                )
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"{pattern!r} in the recipe is not a regular expression: {error}."
                ) from None
        self._specs = dict(specs)
        self.fuse = fuse
        self.outputs = dict(outputs or {})
        self.shapes = {pattern: (m, n) for pattern, (m, n) in (shapes or {}).items()}

    def __getitem__(self, pattern: str) -> Spec | None:
        return self._specs[pattern]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return self._specs == other
        # The order decides which pattern is first.
        mine, theirs = ((r.fuse, r.outputs, r.shapes, list(r.items())) for r in (self, other))
        return mine == theirs

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return f"Recipe({self._specs!r}, fuse={self.fuse})"

    def matches(self, pattern: str, path: str) -> bool:
        """Whether a key of this recipe means the weight at ``path``."""
        return re.fullmatch(pattern, path) is not None

    def to_toml(self, path: str | os.PathLike[str] | None = None) -> str:
        """This recipe as TOML; written to a file as well if there is a ``path``."""
        head = {"fuse": self.fuse, "outputs": self.outputs}
        head |= {"shapes": self.shapes} if self.shapes else {}
        lines = [f"{name} = {_toml.to_value(value)}" for name, value in head.items()]
        lines += ["", "[recipe]"]
        for pattern, spec in self.items():
            value = KEEP if spec is None else spec
            lines.append(f"{_toml.to_value(pattern)} = {_toml.to_value(value)}")
        return written("\n".join(lines) + "\n", path)

    @classmethod
    def from_toml(cls, source: str | os.PathLike[str]) -> "Recipe":
        """The recipe that `to_toml` wrote: its text, or the path of a file that ends in .toml.

        Raises:
            ValueError: It is not TOML, has no table ``recipe``, or a value in it is no spec.
        """
        table = read_toml(source)
        entries = table.get("recipe")
        if not isinstance(entries, dict):
            raise ValueError(f"A recipe has a table [recipe]; this one has {sorted(table)}.")
        specs = {
            pattern: None if value == KEEP else _spec(pattern, value)
            for pattern, value in entries.items()
        }
        fuse, outputs, shapes = (table.get(name) for name in ("fuse", "outputs", "shapes"))
        return cls(specs, fuse=bool(fuse), outputs=outputs, shapes=shapes)


def chosen(
    recipe: Recipe, targets: Mapping[str, Target], paths: list[str], name: str = "the recipe"
) -> list[Choice]:
    """The weights that a recipe names, and what each becomes.

    Args:
        recipe: The recipe.
        targets: Every weight that can be structured, fused ones before their parts.
        paths: The paths of all leaves, for messages.
        name: What to call the recipe in messages.

    Raises:
        ValueError: A key matches no weight, or a weight has not the shape that the recipe needs.
    """
    found: list[Choice] = []
    hit, taken = set(), set()
    for path, target in targets.items():
        if path in taken:  # a gate of a kernel that was fused
            continue
        pattern = next((p for p in recipe if recipe.matches(p, path)), None)
        if pattern is None:
            continue
        hit.add(pattern)
        taken.update(target.parts)
        found.append((target, recipe[pattern]))
    for pattern in recipe:
        if pattern not in hit and not any(recipe.matches(pattern, t) for t in targets):
            raise ValueError(_nothing(recipe, pattern, targets, paths, name))
    for target, _ in found:
        needed = _shape(recipe, target.path)
        if needed not in (None, target.shape):
            given = f"{target.shape[0]} x {target.shape[1]}"
            given += f", {target.full} as stored," if len(target.full) > 2 else ""
            raise ValueError(
                f"{target.path} is {given} where the recipe needs {needed[0]} x {needed[1]}: give "
                "parameters of a model of the same size."
            )
    return found


def axes_of_outputs(recipe: Recipe, leaves: Mapping[str, Any]) -> dict[str, int]:
    """Pattern of paths -> how many axes are outputs: what a recipe says, and what follows."""
    found = dict(recipe.outputs)
    for path, leaf in leaves.items():
        shape, needed = getattr(leaf, "shape", ()), _shape(recipe, path)
        for count in range(1, len(shape) if needed and len(shape) > 2 else 0):
            if (math.prod(shape[:-count]), math.prod(shape[-count:])) == needed:
                found.setdefault(re.escape(path), count)
    return found


def _shape(recipe: Recipe, path: str) -> tuple[int, int] | None:
    return next((s for p, s in recipe.shapes.items() if recipe.matches(p, path)), None)


def _nothing(
    recipe: Recipe, pattern: str, targets: Mapping[str, Target], paths: list[str], name: str
) -> str:
    others = [p for p in paths if recipe.matches(pattern, p)]
    have = "\n".join(f"  {p} {t.shape[0]} x {t.shape[1]}" for p, t in targets.items())
    if others:
        return (
            f"{pattern!r} in {name} matches only {others}, which are not floating-point "
            f"weights of two axes or more. Those are:\n{have}"
        )
    if pattern in recipe.shapes:
        m, n = recipe.shapes[pattern]
        return (
            f"The recipe makes {recipe[pattern]!r} of a weight {m} x {n} at {pattern!r}, and the "
            f"parameters have none there. Their weights are:\n{have}"
        )
    return (
        f"{pattern!r} in {name} matches no parameter: a pattern must match a whole path. The "
        f"weights are:\n{have}"
    )


def read_toml(source: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a TOML text, or of the file at a path that ends in ``.toml``."""
    text = str(source) if isinstance(source, str) else os.fspath(source)
    if isinstance(source, os.PathLike) or ("\n" not in text and text.endswith(".toml")):
        text = Path(text).read_text("utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"This is not TOML: {error}") from None


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """``text``, written to ``path`` if there is one."""
    if path is not None:
        Path(path).write_text(text, "utf-8")
    return text


def _spec(pattern: str, value: Any) -> Spec:
    try:
        spec = _toml.from_value(value)
    except ValueError as error:
        raise ValueError(f"The recipe for {pattern!r}: {error}") from None
    if not isinstance(spec, Spec):
        raise ValueError(
            f"The recipe gives {pattern!r} the value {value!r}; an inline table with the key "
            f"'spec' is needed, or {KEEP!r}."
        )
    return spec
