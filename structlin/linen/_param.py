"""How a Linen module comes by a structured kernel."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from structlin.functional import Kernel
from structlin.linen._kernel_specs import noted
from structlin.matrices import Matrix
from structlin.specs import Spec

__all__ = ["KernelParams", "default", "has_matrix", "joined", "kernel_param", "where"]

Init = Callable[..., Any]


def kernel_param(
    module: nn.Module,
    spec: Spec | None,
    shape: tuple[int, int],
    dtype: Any,
    init: Init,
    default_init: Init,
    *,
    name: str = "kernel",
    scale: float = 1.0,
) -> Kernel:
    """The kernel of ``module``: what its parameters hold, or what ``spec`` makes of ``shape``.

    What is held may be of another form than what initialisation makes, such as packed, so only its
    shape is compared. An ``init`` other than the module's default draws a dense kernel that the
    spec is fitted to. One wrapped in ``nn.with_partitioning`` names the axes of the kernel; a leaf
    of the structure gets the name of the rows where its first axis is as long as they are, that of
    the columns where its last is, and is otherwise replicated.

    Args:
        module: The module in whose scope the parameter is.
        spec: How a structured kernel is made; dense if ``None``.
        shape: ``(in, out)``.
        dtype: The dtype of what is made.
        init: How a dense kernel is drawn.
        default_init: The default of ``init``.
        name: The name of the parameter.
        scale: What to multiply a structure that the spec draws by.

    Raises:
        ValueError: The parameters hold a kernel of another shape, or the spec makes none of this
            one.
    """
    path = "/".join((*module.path, name))
    if module.has_variable("params", name):
        kernel = nn.meta.unbox(module.get_variable("params", name))
    elif spec is None or noted(path, spec, shape):
        kernel = module.param(name, init, shape, dtype)
    else:
        try:
            kernel = module.param(name, _structured(spec, init, default_init, scale), shape, dtype)
        except ValueError as failure:
            raise ValueError(
                f"{path}, {shape[0]} x {shape[1]}, cannot be made by {spec!r}: {failure}"
            ) from failure
    if kernel.shape != shape:
        held = repr(kernel) if isinstance(kernel, Matrix) else "an array"
        raise ValueError(
            f"{path} holds {held} of shape {kernel.shape}; the layer needs {shape} for its "
            "inputs and features."
        )
    return kernel


def default(module: type[nn.Module], name: str) -> Any:
    """The default of a field of ``module``."""
    return next(f.default for f in dataclasses.fields(module) if f.name == name)


def where(module: nn.Module) -> str:
    """The path of ``module`` for a message; its class if it is the model itself."""
    return "/".join(module.path) or type(module).__name__


def has_matrix(module: nn.Module) -> bool:
    """Whether the parameters of ``module`` or of a module in it hold a structured matrix."""
    held = module.variables.get("params", {})
    leaves = jax.tree.leaves(nn.meta.unbox(held), is_leaf=lambda x: isinstance(x, Matrix))
    return any(isinstance(x, Matrix) for x in leaves)


def joined(inits: list[Init], sizes: list[int]) -> Init:
    """An initialiser of parts beside each other along the last axis, each drawn by its own."""
    if len(inits) < 2:
        return inits[0] if inits else nn.initializers.zeros_init()

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> Any:
        parts = [
            one(k, (*shape[:-1], size), dtype)
            for one, size, k in zip(inits, sizes, jax.random.split(key, len(inits)), strict=True)
        ]
        whole = jnp.concatenate([nn.meta.unbox(p) for p in parts], axis=-1)
        first = parts[0]
        return first.replace_boxed(whole) if isinstance(first, nn.meta.AxisMetadata) else whole

    return init


def _structured(spec: Spec, init: Init, default_init: Init, scale: float) -> Init:
    def make(key: jax.Array, shape: tuple[int, int], dtype: Any) -> Any:
        if inspect.unwrap(init) is not default_init:
            drawn = init(key, shape, dtype)
            return _named(spec.fit(nn.meta.unbox(drawn)), drawn)
        matrix = spec.init(key, shape, dtype)
        matrix = matrix if scale == 1 else matrix * jnp.asarray(scale, dtype)
        if init is default_init:
            return matrix
        return _named(matrix, jax.eval_shape(lambda k: init(k, shape, dtype), key))

    return make


def _named(matrix: Matrix, drawn: Any) -> Matrix:
    """The matrix with its leaves in boxes like that of ``drawn``, if there is one."""
    if not isinstance(drawn, nn.meta.AxisMetadata):
        return matrix
    if not isinstance(drawn, nn.Partitioned):
        raise ValueError(
            f"The axes of a structured kernel are named by nn.Partitioned; its initialiser gives "
            f"{type(drawn).__name__}."
        )
    sides, names = matrix.shape, drawn.names

    def box(leaf: jax.Array) -> Any:
        axes: list[Any] = [None] * leaf.ndim
        if leaf.ndim > 1 and leaf.shape[0] == sides[0]:
            axes[0] = names[0]
        if leaf.ndim and leaf.shape[-1] == sides[1]:
            axes[-1] = names[1]
        return drawn.replace(value=leaf, names=tuple(axes))

    return jax.tree.map(box, matrix)


class KernelParams(nn.Module):
    """Owns the kernel and the bias of one side of a recurrent cell, of one gate or of all.

    Attributes:
        features: Columns of the kernel.
        bias_features: Entries of the bias; 0 for none.
        param_dtype: The dtype of both.
        kernel_init: As in `kernel_param`.
        default_init: As in `kernel_param`.
        bias_init: How the bias starts.
        spec: How a structured kernel is made; dense if ``None``.
    """

    features: int
    bias_features: int
    param_dtype: Any
    kernel_init: Init
    default_init: Init
    bias_init: Init
    spec: Spec | None = None

    @nn.compact
    def __call__(self, rows: int) -> dict[str, Any]:
        """The ``kernel`` ``(rows, features)`` and the ``bias``, if there is one."""
        shape = rows, self.features
        made = {
            "kernel": kernel_param(
                self, self.spec, shape, self.param_dtype, self.kernel_init, self.default_init
            )
        }
        if self.bias_features:
            made["bias"] = self.param(
                "bias", self.bias_init, (self.bias_features,), self.param_dtype
            )
        return made
