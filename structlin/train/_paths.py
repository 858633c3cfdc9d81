"""Leaves of a tree by patterns of their paths."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import jax

from structlin.train._supports import leaf_path

__all__ = ["check_patterns", "first_match", "map_matches"]

T = TypeVar("T")


def first_match(patterns: Mapping[str, T], path: str) -> T | None:
    """What the first pattern that matches the whole of ``path`` stands for."""
    return next((v for pattern, v in patterns.items() if re.fullmatch(pattern, path)), None)


def check_patterns(patterns: Iterable[str], tree: Any) -> None:
    """Raises a ``ValueError`` for a pattern that matches no leaf of ``tree``."""
    paths = [leaf_path(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    for pattern in patterns:
        if not any(re.fullmatch(pattern, path) for path in paths):
            raise ValueError(f"Pattern {pattern!r} matches no parameter; there are: {paths}.")


def map_matches(
    function: Callable[..., Any], patterns: Mapping[str, Any], tree: Any, *others: Any
) -> Any:
    """``tree`` with ``function(value, leaf, *leaves of others)`` where a pattern matches.

    ``value`` is what the pattern stands for; other leaves stay.
    """

    def one(path: Any, leaf: Any, *rest: Any) -> Any:
        value = first_match(patterns, leaf_path(path))
        return leaf if value is None else function(value, leaf, *rest)

    return jax.tree_util.tree_map_with_path(one, tree, *others)
