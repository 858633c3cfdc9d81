"""The weights of a whole NNX model: which there are, and other values in their places."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from structlin.functional import Kernel
from structlin.matrices import Matrix, Native, is_matrix
from structlin.nnx._convert import HOLDERS, adopt, put, weight_name
from structlin.nnx._variables import is_structured, value
from structlin.specs import Spec

__all__ = [
    "densify",
    "find_weights",
    "kernel_specs",
    "kernels",
    "pack",
    "prepare",
    "replace_kernel",
    "with_kernels",
]

M = TypeVar("M", bound=nnx.Module)


@dataclasses.dataclass
class Weight:
    """A weight that can be structured, and every module that holds it.

    Attributes:
        paths: Of each of the modules' attributes.
        modules: The modules.
    """

    paths: list[str]
    modules: list[Any]

    @property
    def held(self) -> Any:
        """What the attribute holds: a variable, or a matrix of variables."""
        return getattr(self.modules[0], weight_name(self.modules[0]))

    @property
    def shape(self) -> tuple[int, int]:
        """The shape as one matrix."""
        module = self.modules[0]
        if isinstance(module, nnx.LinearGeneral):
            return math.prod(module.in_features), math.prod(module.out_features)
        if isinstance(module, nnx.Embed):
            return module.num_embeddings, module.features
        return module.in_features, module.out_features

    def kernel(self) -> Kernel:
        """The value, as one matrix."""
        found = value(self.held)
        return found if is_matrix(found) else found.reshape(self.shape)

    def check(self, kernel: Kernel) -> None:
        """Raises if a new value has another shape."""
        if tuple(kernel.shape) not in (self.shape, () if is_matrix(kernel) else self._full()):
            raise ValueError(
                f"{self.paths[0]} is {self.shape}; given {kernel!r} of shape {tuple(kernel.shape)}."
            )

    def put(self, kernel: Kernel) -> None:
        """Sets the weight of every module that holds it; they share it as before."""
        first, *rest = self.modules
        put(first, kernel if is_matrix(kernel) else jnp.asarray(kernel).reshape(self._full()))
        for module in rest:
            if is_matrix(kernel):
                adopt(module)
            setattr(module, weight_name(module), nnx.data(self.held))

    def _full(self) -> tuple[int, ...]:
        module = self.modules[0]
        general = isinstance(module, nnx.LinearGeneral)
        return (*module.in_features, *module.out_features) if general else self.shape


def find_weights(model: nnx.Module) -> list[Weight]:
    """The weights of a model that can be structured, in the order of their paths."""
    found: dict[int, Weight] = {}
    for path, module in nnx.iter_modules(model):
        if not isinstance(module, tuple(HOLDERS)) or getattr(module, "batch_axis", None):
            continue
        name = weight_name(module)
        # Modules that share a weight share its variables.
        variables = jax.tree.leaves(getattr(module, name), is_leaf=_is_variable)
        weight = found.setdefault(id(variables[0]), Weight([], []))
        weight.paths.append("/".join(map(str, (*path, name))))
        weight.modules.append(module)
    return [w for w in found.values() if not _is_stacked(w)]


def _is_stacked(weight: Weight) -> bool:
    """Whether it is the dense weights of several layers, as ``nnx.vmap`` makes them."""
    return not is_structured(weight.held) and weight.held[...].size != math.prod(weight.shape)


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)


def kernels(model: nnx.Module) -> dict[str, Kernel]:
    """The weights of a model that can be structured.

    Those of ``nnx.Linear``, ``nnx.LinearGeneral`` and ``nnx.Embed``, of their subclasses, and of
    those in cells and attention: ``rnn/cell/dense_h/kernel``. A weight of more than two axes comes
    with its input and its output axes flattened. One that several modules share is named once, by
    the first of its paths. Convolutions, layers with batch axes and the stacked layers of
    ``nnx.vmap`` are not among them.

    Returns:
        Path to array or matrix, ``(in, out)``.
    """
    return {weight.paths[0]: weight.kernel() for weight in find_weights(model)}


def kernel_specs(model: nnx.Module) -> dict[str, tuple[Spec, tuple[int, int]]]:
    """The weights of a model that a spec made when it was constructed.

    Returns:
        Path, as in `kernels`, to the spec and the shape ``(in, out)``.
    """
    found = {}
    for weight in find_weights(model):
        specs = [s for m in weight.modules if (s := getattr(m, "spec", None)) is not None]
        if specs:
            found[weight.paths[0]] = specs[0], weight.shape
    return found


def replace_kernel(model: nnx.Module, path: str, kernel: Kernel) -> None:
    """Puts another value in the place of one weight, in this model.

    The layer that holds it, of Flax or of a subclass, becomes the layer of `structlin.nnx` if the
    value is a matrix. Layers that share the weight still do. Optimizers made before know the old
    weight: make them anew.

    Args:
        model: The model; it is changed.
        path: Of the weight, as in `kernels`; any of its paths if it is shared.
        kernel: The new value, of the shape in `kernels`.

    Raises:
        KeyError: There is no such path; the message lists those there are.
        ValueError: The shape differs.
    """
    _replace(model, {path: kernel})


def with_kernels(model: M, values: Mapping[str, Kernel]) -> M:
    """A new model with other values in the places of some weights; the old one stays as it is.

    Args:
        model: The model.
        values: Path to value, as in `replace_kernel`.

    Raises:
        KeyError: There is no such path; the message lists those there are.
        ValueError: A shape differs.
    """
    model = nnx.clone(model)
    _replace(model, values)
    return model


def densify(model: M) -> M:
    """A new model with every matrix formed as a dense array; it runs as Flax's own.

    Raises:
        ValueError: A layer is a stack of several, as ``nnx.vmap`` makes them.
    """
    found = _structured(model)
    return with_kernels(model, {path: kernel.to_dense() for path, kernel in found.items()})


def pack(model: M) -> M:
    """A new model with every matrix in its inference form: exact zeros become integer indices.

    Its products are the same numbers. The indices are `structlin.nnx.Index` variables, so that the
    packed model can still be trained.

    Raises:
        TypeError: Under ``jit``, where zeros are not known.
        ValueError: A layer is a stack of several, as ``nnx.vmap`` makes them.
    """
    found = _structured(model)
    return with_kernels(model, {path: kernel.pack() for path, kernel in found.items()})


def prepare(model: M) -> M:
    """A new model with every matrix packed and, where there is native code for it, native.

    Raises:
        TypeError: Under ``jit``, where zeros are not known.
        ValueError: A layer is a stack of several, as ``nnx.vmap`` makes them.
    """
    found = _structured(model)
    return with_kernels(model, {path: Native.of(kernel) for path, kernel in found.items()})


def _structured(model: nnx.Module) -> dict[str, Matrix]:
    found = {path: kernel for path, kernel in kernels(model).items() if isinstance(kernel, Matrix)}
    for path, kernel in found.items():
        try:
            whole = jax.eval_shape(kernel.to_dense).shape == kernel.shape
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"{path} is a stack of matrices; this function takes single layers.")
    return found


def _replace(model: nnx.Module, values: Mapping[str, Kernel]) -> None:
    places = {path: weight for weight in find_weights(model) for path in weight.paths}
    for path, kernel in values.items():  # all are checked before one is replaced
        if path not in places:
            known = ", ".join(places) or "none"
            raise KeyError(
                f"{path!r} is no weight of this model that can be structured; there are: {known}."
            )
        places[path].check(kernel)
    for path, kernel in values.items():
        places[path].put(kernel)
