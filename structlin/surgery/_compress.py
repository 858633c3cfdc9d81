"""Whole models compressed by recipe."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from structlin import specs
from structlin.matrices import Matrix, is_matrix
from structlin.matrices._weights import as_weights
from structlin.specs import Spec
from structlin.surgery._errors import relative_error
from structlin.surgery._model import is_nnx, weights_of, with_weights
from structlin.surgery._paths import leaf_paths, regroup, replace
from structlin.surgery._plan import Plan
from structlin.surgery._recipe import Choice, Recipe, axes_of_outputs, chosen, read_toml
from structlin.surgery._report import Report, Row
from structlin.surgery._targets import Target, find_targets, identity, target_weights
from structlin.surgery.curves import stored

__all__ = ["Compressed", "compress"]


@dataclasses.dataclass(frozen=True)
class Compressed:
    """What `compress` returns.

    Attributes:
        params: The parameters with matrices in them; ``None`` for NNX.
        report: What became of each weight.
        targets: The weights that were structured.
        model: The new model, for NNX.
    """

    params: Any
    report: Report
    targets: tuple[Target, ...] = dataclasses.field(repr=False, default=())
    model: Any = None

    def densify(self, params: Any = None, only: str = ".*") -> Any:
        """The parameters as the unmodified model has them: dense, in its shapes, gate by gate.

        Args:
            params: Parameters of the same form as ``self.params``, such as tuned or packed ones;
                by default those. Not for NNX: `structlin.nnx.densify` takes a model.
            only: Pattern of the paths to form, such as those of convolutions, which
                `structlin.Structured` cannot run on a matrix; the others stay structured.

        Raises:
            ValueError: ``only`` matches no matrix.
        """
        if self.model is not None:
            raise ValueError("An NNX model is made dense by structlin.nnx.densify(model).")
        params = self.params if params is None else params
        leaves, removed, added = leaf_paths(params), [], {}
        matrices = [p for p, leaf in leaves.items() if is_matrix(leaf)]
        if matrices and not any(re.fullmatch(only, p) for p in matrices):
            raise ValueError(f"only={only!r} matches no matrix; those are {matrices}.")
        for target in self.targets:
            if not re.fullmatch(only, target.path):
                continue
            dense = jnp.asarray(_formed(leaves[target.path]))
            added |= target.unfold(dense)
            removed.append(target.path)
            if target.fused and target.biases:
                path = _bias_of(target.path)
                removed.append(path)
                pieces = jnp.split(leaves[path], len(target.biases))
                added |= dict(zip(target.biases, pieces, strict=True))
        plain = {p: a for p, a in added.items() if p in leaves}
        params = replace(params, plain)
        gone = [p for p in removed if p not in plain]
        params = regroup(params, gone, {p: a for p, a in added.items() if p not in plain})
        rest = {p: leaf for p, leaf in leaf_paths(params).items() if is_matrix(leaf)}
        formed = {p: leaf.to_dense() for p, leaf in rest.items() if re.fullmatch(only, p)}
        return replace(params, formed)


def compress(
    params: Any,
    recipe: Mapping[str, Spec | None] | str | os.PathLike[str],
    *,
    weights: Mapping[str, Any] | None = None,
    fuse: bool | None = None,
    outputs: Mapping[str, int] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Compressed:
    """A trained model with the weights that a recipe names fitted by structured matrices.

    An array that stands at several places is fitted once and stays one. A weight of three axes or
    more (convolutions, attention) becomes a matrix of all inputs by all outputs;
    `Compressed.densify` gives it back in its shape.

    Args:
        params: The parameters of a Linen model, or an NNX model; it stays as it is.
        recipe: Pattern of paths -> spec, or ``None`` to leave alone: regular expressions for whole
            paths, the first that matches decides. Also a `Recipe`, a `Plan`, or a TOML file.
        weights: Path -> what matters more in that weight, as `structlin.specs.Spec.fit` takes it.
        fuse: Whether patterns may name ``i/kernel`` and ``h/kernel`` of an LSTM, GRU or MGU cell
            whose gates have a kernel each: they become one matrix, in Flax's order, as the cells of
            this library and `structlin.Structured` run it. Gates that are not named so keep kernels
            of their own.
        outputs: Pattern of paths -> how many of the last axes of a weight of three axes or more
            are outputs. By default as many as its bias has, and one if it has none.
        progress: Called with a line before each weight is fitted.

    Returns:
        The new parameters, or the new model, and a report.

    Raises:
        TypeError: ``params`` or a value of the recipe is of a wrong type.
        ValueError: A pattern matches no weight, or one of another shape than the recipe needs; a
            spec does not fit a weight that it is for; tied weights are given different specs.
            Nothing is changed then.
    """
    recipe = as_recipe(recipe, fuse, outputs)
    given = weights if weights is not None else getattr(recipe, "weights", {})
    leaves, rest = weights_of(params)
    axes = axes_of_outputs(recipe, leaves)
    targets = find_targets(leaves, fuse=recipe.fuse, outputs=axes)
    found = chosen(recipe, targets, list(leaves))
    choices = [(t, s) for t, s in found if not (s is None or isinstance(s, specs.Dense))]
    picked = [t for t, _ in choices]
    _check_weights(given, choices, targets, strict=weights is not None)
    _check_tied(found, targets, leaves)
    _check_sizes(choices, leaves)
    fitted, rows = _fit_all(choices, leaves, given, progress)
    report = Report(tuple(rows), rest(picked))
    if is_nnx(params):
        return Compressed(None, report, tuple(picked), with_weights(params, fitted))
    return Compressed(_assembled(params, leaves, fitted, picked), report, tuple(picked))


def as_recipe(recipe: Any, fuse: bool | None, outputs: Mapping[str, int] | None) -> Recipe:
    """A recipe of any form: a mapping, a `Recipe`, a `Plan`, or the path of a TOML file."""
    if isinstance(recipe, str | os.PathLike):
        recipe = (Plan if "weight" in read_toml(recipe) else Recipe).from_toml(recipe)
    if not isinstance(recipe, Mapping):
        raise TypeError(f"A recipe maps patterns of paths to specs; given {type(recipe).__name__}.")
    if not isinstance(recipe, Recipe):
        return Recipe(recipe, fuse=bool(fuse), outputs=outputs)
    for name, value in (("fuse", fuse), ("outputs", outputs)):
        if value is not None and value != getattr(recipe, name):
            raise ValueError(
                f"The recipe says {name}={getattr(recipe, name)} and the call {name}={value}: "
                "leave it out of the call."
            )
    return recipe


def _fit_all(
    choices: Sequence[Choice],
    leaves: Mapping[str, Any],
    weights: Mapping[str, Any],
    progress: Callable[[str], None] | None,
) -> tuple[dict[str, Matrix], list[Row]]:
    done: dict[tuple[int, ...], tuple[Matrix, Row]] = {}
    fitted, rows = {}, []
    shares = {}
    for target, _ in choices:
        share = target_weights(target, weights)
        if share is not None:
            shares.setdefault(identity(target, leaves), share)
    for target, spec in choices:
        key = identity(target, leaves)
        if key not in done:
            if progress is not None:
                progress(f"{target.path} {target.shape[0]} x {target.shape[1]}")
            done[key] = _fit(target, spec, leaves, shares.get(key))
            rows.append(done[key][1])
        else:
            first = done[key][1]
            rows.append(dataclasses.replace(first, path=target.path, tied_to=first.path))
        fitted[target.path] = done[key][0]
    return fitted, rows


def _fit(target: Target, spec: Any, leaves: Mapping[str, Any], weights: Any) -> tuple[Matrix, Row]:
    dense = target.dense(leaves)
    try:
        share = as_weights(spec.spec_name(), weights, target.shape)
        matrix = spec.fit(dense, share)
        relative = relative_error(dense, matrix.to_dense(), share)
        if not relative < float("inf"):
            raise ValueError("the fit is not finite.")
        size = stored(spec, matrix, dense)
    except Exception as failure:
        raise _failed(target, spec, failure) from failure
    return matrix, Row(target.path, target.shape, spec, size, relative)


def _failed(target: Target, spec: Any, failure: Exception) -> ValueError:
    m, n = target.shape
    return ValueError(f"{target.path}, {m} x {n}, cannot be fitted by {spec!r}: {failure}")


def _check_sizes(choices: Sequence[Choice], leaves: Mapping[str, Any]) -> None:
    """Finds the specs that cannot make a shape, before the first fit."""
    for target, spec in choices:
        try:
            if spec is not None:
                spec.sized(target.shape, leaves[target.parts[0]].dtype)
        except ValueError as failure:
            raise _failed(target, spec, failure) from failure


def _check_tied(
    found: Sequence[Choice], targets: Mapping[str, Target], leaves: Mapping[str, Any]
) -> None:
    given = {t.path: None if isinstance(s, specs.Dense) else s for t, s in found}
    taken = {p for t, _ in found for p in t.parts if t.fused}
    first: dict[tuple[int, ...], str] = {}
    for path, target in targets.items():
        if path in taken or (target.fused and path not in given):
            continue
        other = first.setdefault(identity(target, leaves), path)
        if given.get(other) != given.get(path):
            raise ValueError(
                f"{other} and {path} are tied: the same array stands at both. The recipe gives one "
                f"{given.get(other)} and the other {given.get(path)}: give both the same, or untie "
                "them with a copy."
            )


def _check_weights(
    weights: Mapping[str, Any],
    choices: Sequence[Choice],
    targets: Mapping[str, Target],
    *,
    strict: bool,
) -> None:
    known = {p for t, _ in choices for p in (t.path, *t.parts)}
    unknown = [p for p in weights if p not in known and p not in targets]
    if strict and unknown:
        raise ValueError(
            f"weights= has {unknown}, which are no weights of this model; those are "
            f"{list(targets)}."
        )
    for target, _ in choices:
        target_weights(target, weights)


def _assembled(
    params: Any, leaves: Mapping[str, Any], fitted: Mapping[str, Matrix], targets: list[Target]
) -> Any:
    single = {t.path: fitted[t.path] for t in targets if not t.fused}
    removed: list[str] = []
    added: dict[str, Any] = {}
    for target in targets:
        if target.fused:
            removed += [*target.parts, *target.biases]
            added[target.path] = fitted[target.path]
            if target.biases:
                parts = [leaves[b] for b in target.biases]
                added[_bias_of(target.path)] = jnp.concatenate(parts)
    params = replace(params, single)
    return regroup(params, removed, added) if added else params


def _bias_of(path: str) -> str:
    return path.removesuffix("kernel") + "bias"


def _formed(leaf: Any) -> Any:
    return leaf.to_dense() if is_matrix(leaf) else leaf
