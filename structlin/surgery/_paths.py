"""Leaves of a parameter tree by path, structured matrices whole."""

from collections.abc import Collection, Mapping
from typing import Any

import jax

from structlin.matrices import is_matrix

__all__ = ["leaf_paths", "regroup", "replace"]


def leaf_paths(params: Any) -> dict[str, Any]:
    """Every leaf of a tree by its path, such as ``"encoder/out/kernel"``.

    Args:
        params: Nested dictionaries, frozen ones too, or an NNX ``State``. Boxes around leaves, such
            as ``nn.Partitioned``, are opened.

    Returns:
        Paths in the order of the tree; a structured matrix is one leaf.
    """
    found = jax.tree_util.tree_leaves_with_path(params, is_leaf=_whole)
    return {_name(path): _unboxed(leaf) for path, leaf in found}


def replace(params: Any, values: Mapping[str, Any]) -> Any:
    """The same tree with other leaves at some paths; the tree that was given stays as it is.

    Args:
        params: As in `leaf_paths`.
        values: Path -> new leaf, which takes the place of a box as well.

    Raises:
        KeyError: A path is not in the tree.
    """
    if missing := set(values) - set(leaf_paths(params)):
        raise KeyError(f"No leaf at {sorted(missing)}; there are {sorted(leaf_paths(params))}.")
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: values.get(_name(path), leaf), params, is_leaf=_whole
    )


def regroup(params: Any, removed: Collection[str], added: Mapping[str, Any]) -> Any:
    """The same nested dictionaries without the leaves at some paths and with others beside them.

    Args:
        params: Nested dictionaries, frozen ones too; those that become empty are dropped.
        removed: Paths of leaves.
        added: Path -> leaf. All keys but the last two of a path are there already.
    """

    def walk(node: Any, path: str) -> Any:
        if not isinstance(node, Mapping):
            return node
        kept = {k: walk(v, _join(path, k)) for k, v in node.items() if _join(path, k) not in gone}
        kept = {k: v for k, v in kept.items() if not _emptied(v, node[k])}
        for place, leaf in added.items():
            above, name = _split(place)
            parent, module = _split(above)
            if above == path:
                kept[name] = leaf
            elif parent == path and module not in node:
                kept.setdefault(module, {})[name] = leaf
        return type(node)(kept)  # pyright: ignore[reportCallIssue]

    gone = set(removed)
    return walk(params, "")


def _emptied(new: Any, old: Any) -> bool:
    return isinstance(new, Mapping) and not new and bool(old)


def _whole(node: Any) -> bool:
    return is_matrix(node) or _is_box(node)


def _is_box(node: Any) -> bool:
    return hasattr(node, "unbox") and hasattr(node, "replace_boxed")


def _unboxed(leaf: Any) -> Any:
    return leaf.unbox() if _is_box(leaf) else leaf


def _name(path: Any) -> str:
    # The variables of NNX are nodes with one leaf of their own.
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return name.removesuffix("/value")


def _join(path: str, key: Any) -> str:
    return f"{path}/{key}" if path else str(key)


def _split(path: str) -> tuple[str, str]:
    above, _, name = path.rpartition("/")
    return above, name
