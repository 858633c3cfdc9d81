"""The weights of a model that can be structured, each as one matrix."""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from structlin.functional import GRU, LSTM, MGU
from structlin.matrices import Cost, cost, is_matrix
from structlin.specs import Covariance, Fisher, Rows, Spec
from structlin.surgery._paths import leaf_paths

__all__ = ["Target", "anneals", "find_targets", "identity", "target_weights", "untouched"]

_GATES = (LSTM.gates, GRU.gates, MGU.gates)


@dataclasses.dataclass(frozen=True)
class Target:
    """A weight that a recipe can name.

    Attributes:
        path: Its path; of the gates of a cell as one, that of the fused kernel.
        parts: The paths of what it is made of: itself, or the kernel of each gate.
        biases: The paths of the biases of those gates that have one.
        shape: ``(m, n)`` as a matrix.
        full: The shape in the model of each part.
    """

    path: str
    parts: tuple[str, ...]
    biases: tuple[str, ...]
    shape: tuple[int, int]
    full: tuple[int, ...]

    @property
    def fused(self) -> bool:
        """Whether it stands for several gates."""
        return len(self.parts) > 1

    def dense(self, leaves: Mapping[str, Any]) -> jax.Array:
        """The weight as an array ``(m, n)``, its structured parts formed."""
        found = [leaves[p] for p in self.parts]
        arrays = [f.to_dense() if is_matrix(f) else jnp.asarray(f) for f in found]
        columns = self.shape[1] // len(arrays)
        return jnp.concatenate([a.reshape(self.shape[0], columns) for a in arrays], axis=1)

    def dense_cost(self, leaves: Mapping[str, Any]) -> Cost:
        """What the weight takes as an array."""
        m, n = self.shape
        size = m * n * leaves[self.parts[0]].dtype.itemsize
        return Cost(m * n, size, 2 * m * n, m * n, size)

    def unfold(self, dense: jax.Array) -> dict[str, jax.Array]:
        """An array ``(m, n)`` as the parts that the model has, by path."""
        pieces = jnp.split(dense, len(self.parts), axis=1)
        return {p: a.reshape(self.full) for p, a in zip(self.parts, pieces, strict=True)}


def find_targets(
    params: Any, *, fuse: bool = False, outputs: Mapping[str, int] | None = None
) -> dict[str, Target]:
    """The weights of a tree that can be structured, fused ones first.

    Args:
        params: A parameter tree.
        fuse: Whether the gates of a recurrent cell count as one kernel as well, ``i/kernel`` and
            ``h/kernel``, beside the kernel of each.
        outputs: Pattern of paths -> how many of the last axes of a weight of three axes or more
            are outputs. By default as many as its bias has, and one if it has none.

    Raises:
        ValueError: A pattern of ``outputs`` matches no such weight.
    """
    leaves = leaf_paths(params)
    weights = {p: leaf for p, leaf in leaves.items() if _is_weight(p, leaf)}
    single = {
        p: Target(p, (p,), (), _flat(p, leaf, leaves, outputs or {}), tuple(leaf.shape))
        for p, leaf in weights.items()
    }
    deep = [p for p, leaf in weights.items() if leaf.ndim > 2]
    for pattern in outputs or {}:
        if not any(re.fullmatch(pattern, p) for p in deep):
            raise ValueError(
                f"outputs= names {pattern!r}, which matches no weight of three axes or more; "
                f"those are {deep}."
            )
    return (_fused(leaves) if fuse else {}) | single


def target_weights(target: Target, weights: Mapping[str, Any]) -> Any:
    """What matters more in one target, from weights by path; ``None`` if nothing is said.

    Gates have weights of their own under their own paths, or one under the fused path. Entries come
    in the shape that the model has.
    """
    if target.path in weights:
        return _as_matrix(weights[target.path], target.shape)
    found = [weights[p] for p in target.parts if p in weights]
    if not found:
        return None
    if len(found) < len(target.parts):
        missing = [p for p in target.parts if p not in weights]
        raise ValueError(f"{target.path} is made of gates, and there are no weights for {missing}.")
    part = target.shape[0], target.shape[1] // len(target.parts)
    found = [_as_matrix(w, part) for w in found]
    entries = [w.values if isinstance(w, Fisher) else w for w in found]
    if all(not isinstance(e, Rows | Covariance) and e.shape == part for e in entries):
        return Fisher(jnp.concatenate(entries, axis=1))
    # All gates see the same inputs: their statistics are the same but for rounding.
    return found[0]


def identity(target: Target, leaves: Mapping[str, Any]) -> tuple[int, ...]:
    """The same for targets that are made of the same arrays."""
    return tuple(id(leaves[p]) for p in target.parts)


def untouched(leaves: Mapping[str, Any], targets: Iterable[Target]) -> Cost:
    """The cost of the arrays that no target is made of, tied ones counted once."""
    used = {id(leaves[p]) for t in targets for p in t.parts}
    arrays = {id(x): x for x in leaves.values() if is_matrix(x) or hasattr(x, "dtype")}
    return cost([x for key, x in arrays.items() if key not in used])


def anneals(spec: Any) -> bool:
    """Whether a spec leaves in place what training is to prune, which is not stored then."""
    parts = (getattr(spec, f.name) for f in dataclasses.fields(spec))
    return getattr(spec, "anneal", False) or any(isinstance(p, Spec) and anneals(p) for p in parts)


def _as_matrix(weights: Any, shape: tuple[int, int]) -> Any:
    if isinstance(weights, Fisher):
        return Fisher(jnp.reshape(weights.values, shape))
    if isinstance(weights, Rows | Covariance):
        return weights
    values = jnp.asarray(weights)
    return values.reshape(shape) if values.ndim > 2 else values


def _is_weight(path: str, leaf: Any) -> bool:
    if path.rpartition("/")[2] == "bias":  # of attention, of several axes
        return False
    if is_matrix(leaf):
        return True
    shape, dtype = getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)
    return dtype is not None and len(shape) >= 2 and jnp.issubdtype(dtype, jnp.inexact)


def _flat(
    path: str, leaf: Any, leaves: Mapping[str, Any], outputs: Mapping[str, int]
) -> tuple[int, int]:
    """The shape of a weight as a matrix: all inputs by all outputs."""
    shape = tuple(leaf.shape)
    if len(shape) == 2:
        return shape
    said = [count for pattern, count in outputs.items() if re.fullmatch(pattern, path)]
    bias = leaves.get(path.removesuffix(path.rpartition("/")[2]) + "bias")
    count = said[0] if said else getattr(bias, "ndim", 1)
    if not 0 < count < len(shape):
        raise ValueError(
            f"{path} has shape {shape}: between 1 and {len(shape) - 1} of its axes can be outputs; "
            f"given {count}."
        )
    return math.prod(shape[:-count]), math.prod(shape[-count:])


def _fused(leaves: Mapping[str, Any]) -> dict[str, Target]:
    """The two kernels of every recurrent cell that has one of each for every gate."""
    found = {}
    modules = sorted({p.removesuffix("/kernel") for p in leaves if p.endswith("/kernel")})
    for gates in _GATES:
        first = [m for m in modules if m.endswith(gates[0])]
        for base in (m.removesuffix(gates[0]) for m in first):
            parts = tuple(f"{base}{gate}/kernel" for gate in gates)
            shapes = {tuple(leaves[p].shape) for p in parts if p in leaves}
            whole = all(p in leaves for p in parts) and len(shapes) == 1
            if base.rpartition("/")[2] not in ("i", "h") or not whole:
                continue
            (m, n), path = next(iter(shapes)), f"{base}/kernel"
            biases = tuple(f"{base}{gate}/bias" for gate in gates if f"{base}{gate}/bias" in leaves)
            found[path] = Target(path, parts, biases, (m, len(gates) * n), (m, n))
    return found
