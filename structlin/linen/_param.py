"""How a Linen module comes by a structured kernel."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from structlin.functional import Kernel
from structlin.matrices import Matrix
from structlin.specs import Spec

__all__ = ["KernelParams", "has_matrix", "kernel_param"]


def kernel_param(
    module: nn.Module,
    spec: Spec | None,
    shape: tuple[int, int],
    dtype: Any,
    init: Callable[..., jax.Array],
    default_init: Callable[..., jax.Array],
) -> Kernel:
    """The kernel of ``module``: what its parameters hold, or what ``spec`` makes of ``shape``.

    What is held may be of another form than what initialisation makes, such as packed, so only its
    shape is compared. An ``init`` other than the module's default draws a dense kernel that the
    spec is fitted to.

    Raises:
        ValueError: The parameters hold a kernel of another shape.
    """
    if module.has_variable("params", "kernel"):
        kernel = nn.meta.unbox(module.get_variable("params", "kernel"))
    elif spec is None:
        kernel = module.param("kernel", init, shape, dtype)
    elif init is default_init:
        kernel = module.param("kernel", spec.init, shape, dtype)
    else:
        kernel = module.param("kernel", lambda key, s, d: spec.fit(init(key, s, d)), shape, dtype)
    if kernel.shape != shape:
        path = "/".join((*module.path, "kernel"))
        raise ValueError(
            f"{path} holds {kernel!r} of shape {kernel.shape}; the layer needs {shape} for its "
            "inputs and features."
        )
    return kernel


def has_matrix(module: nn.Module) -> bool:
    """Whether the parameters of ``module`` or of a module in it hold a structured matrix."""
    held = module.variables.get("params", {})
    leaves = jax.tree.leaves(nn.meta.unbox(held), is_leaf=lambda x: isinstance(x, Matrix))
    return any(isinstance(x, Matrix) for x in leaves)


class KernelParams(nn.Module):
    """Owns the kernel and the bias of one side of a recurrent cell, of one gate or of all.

    Attributes:
        features: Columns of the kernel.
        use_bias: Whether there is a bias.
        param_dtype: The dtype of both.
        kernel_init: As in `kernel_param`.
        default_init: As in `kernel_param`.
        bias_init: How the bias starts.
        spec: How a structured kernel is made; dense if ``None``.
    """

    features: int
    use_bias: bool
    param_dtype: Any
    kernel_init: Callable[..., jax.Array]
    default_init: Callable[..., jax.Array]
    bias_init: Callable[..., jax.Array]
    spec: Spec | None = None

    @nn.compact
    def __call__(self, rows: int) -> tuple[Kernel, jax.Array | None]:
        """The kernel ``(rows, features)`` and the bias ``(features,)`` or ``None``."""
        shape = rows, self.features
        kernel = kernel_param(
            self, self.spec, shape, self.param_dtype, self.kernel_init, self.default_init
        )
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", self.bias_init, (self.features,), self.param_dtype)
