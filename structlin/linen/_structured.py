"""Unmodified Linen models on parameters that hold structured matrices."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import InterceptorContext

from structlin import functional
from structlin.functional import GATES
from structlin.matrices import Matrix

__all__ = ["Structured", "structured"]

Next = Callable[..., Any]


class Structured(nn.Module):
    """Runs a Linen model, its source untouched, on parameters that hold structured matrices.

    The tree of parameters is that of ``inner``. ``nn.Dense``, ``nn.DenseGeneral`` (so attention),
    ``nn.Embed``, ``nn.LSTMCell`` and ``nn.OptimizedLSTMCell`` multiply by the matrices, also inside
    ``nn.RNN``, ``nn.scan``, ``nn.remat`` and ``nn.jit``; cells made of ``nn.Dense`` follow. Where
    the parameters hold arrays, everything is Flax's own.

    Only ``__call__`` is wrapped; run other methods of the model inside `structured`.

    Attributes:
        inner: The model.

    Raises:
        ValueError: On a call, when a matrix has not the shape that its layer needs, or stands where
            no product can use it, as in a convolution: `structlin.surgery.Compressed.densify` forms
            those.
    """

    inner: nn.Module

    def setup(self) -> None:
        """Shares the scope of the model, so that both have one tree of parameters."""
        nn.share_scope(self, self.inner)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the model."""
        with structured():
            inner: Any = self.inner
            return inner(*args, **kwargs)


@contextlib.contextmanager
def structured() -> Iterator[None]:
    """Inside, Flax's layers multiply by the structured matrices that their parameters hold.

    It acts on what is traced inside: enter it within the function that is given to ``jax.jit``.
    """
    with nn.intercept_methods(_intercept):
        yield


def _intercept(call: Next, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
    original = _plain(getattr(context.orig_method, "func", context.orig_method))
    found = _HANDLERS.get(original)
    if found is None:
        return call(*args, **kwargs)
    handler, name = found
    held = _held(context.module, name)
    if not _has_matrix(held):
        return call(*args, **kwargs)
    return handler(context.module, held, *args, **kwargs)


def _plain(method: Any) -> Any:
    # A subclass that overrides a method has another function here; ``super().__call__`` has Flax's.
    return inspect.unwrap(getattr(method, "__func__", method))


def _held(module: nn.Module, name: str) -> Any:
    """A parameter of ``module``, or all of them; not by ``self.param``, which compares leaves."""
    scope = module.scope
    if scope is None:
        return None
    if not name:
        return nn.meta.unbox(module.variables.get("params"))
    return nn.meta.unbox(scope.get_variable("params", name))


def _has_matrix(held: Any) -> bool:
    leaves = jax.tree.leaves(held, is_leaf=lambda x: isinstance(x, Matrix))
    return any(isinstance(leaf, Matrix) for leaf in leaves)


def _dense(module: nn.Dense, kernel: Matrix, inputs: jax.Array) -> jax.Array:
    _check(module, kernel, (inputs.shape[-1], module.features))
    with _precision(module):
        return functional.dense(inputs, kernel, _bias(module), dtype=module.dtype)


def _dense_general(module: nn.DenseGeneral, kernel: Matrix, inputs: jax.Array) -> jax.Array:
    if module.batch_dims:
        raise ValueError(f"{_path(module)}: a kernel with batch_dims cannot be structured.")
    features, axes = _tuple(module.features), _tuple(module.axis)
    axes = tuple(a % inputs.ndim for a in axes)
    rows = math.prod(inputs.shape[a] for a in axes)
    _check(module, kernel, (rows, math.prod(features)))
    lead = [a for a in range(inputs.ndim) if a not in axes]
    flat = inputs.transpose(*lead, *axes).reshape(*(inputs.shape[a] for a in lead), rows)
    bias = _bias(module)
    with _precision(module):
        y = functional.dense(
            flat, kernel, bias if bias is None else bias.ravel(), dtype=module.dtype
        )
    return y.reshape(*y.shape[:-1], *features)


def _embed_setup(module: nn.Embed, embedding: Matrix) -> None:
    _check(module, embedding, (module.num_embeddings, module.features), "embedding")
    module.embedding = embedding


def _embed(module: nn.Embed, embedding: Matrix, inputs: jax.Array) -> jax.Array:
    if not jnp.issubdtype(inputs.dtype, jnp.integer):
        raise ValueError(f"{_path(module)} needs integers; given {inputs.dtype}.")
    table = embedding if module.dtype is None else embedding.astype(module.dtype)
    return table.take(inputs)


def _attend(module: nn.Embed, embedding: Matrix, query: jax.Array) -> jax.Array:
    query, embedding = functional.promote((query, embedding), module.dtype)
    return query @ embedding.T


def _lstm(module: nn.OptimizedLSTMCell, held: Any, carry: Any, inputs: jax.Array) -> Any:
    hidden = carry[1].shape[-1]
    rows = {"i": inputs.shape[-1], "h": hidden}
    for side, size in rows.items():
        names = [side] if side in held else [side + gate for gate in GATES]
        for name in names:
            kernel = held.get(name, {}).get("kernel")
            columns = hidden * (len(GATES) if name == side else 1)
            if kernel is not None:
                _check(module, kernel, (size, columns), f"{name}/kernel")
    return functional.lstm_step(
        functional.lstm_weights(held),
        carry,
        inputs,
        gate_fn=module.gate_fn,
        activation_fn=module.activation_fn,
        dtype=module.dtype,
    )


def _plain_lstm(module: nn.LSTMCell, held: Any, carry: Any, inputs: jax.Array) -> Any:
    # Its gates are modules of nn.Dense, which do for themselves what is not fused.
    return _lstm(module, held, carry, inputs)


def _refuse(module: nn.Module, kernel: Matrix, *args: Any, **kwargs: Any) -> Any:
    del args, kwargs
    raise ValueError(
        f"{_path(module)}/kernel holds {kernel!r}, and {type(module).__name__} has no product with "
        "a structured matrix: form it first, by `compress(...).densify(params)`."
    )


def _check(module: nn.Module, matrix: Any, shape: tuple[int, int], name: str = "kernel") -> None:
    for field in ("dot_general", "dot_general_cls"):
        if getattr(module, field, None) is not None:
            raise ValueError(
                f"{_path(module)} has {field}=, which a structured matrix cannot honour: its "
                "product is not one dot_general. Leave the field out, or the weight dense."
            )
    if tuple(matrix.shape) != shape:
        raise ValueError(
            f"{_path(module)}/{name} holds {matrix!r} of shape {matrix.shape}; "
            f"{type(module).__name__} needs {shape} for its inputs and features. Of a weight of "
            "three axes or more, `outputs=` of `structlin.compress` says which are features."
        )


def _path(module: nn.Module) -> str:
    return "/".join(module.path) or type(module).__name__


def _bias(module: Any) -> jax.Array | None:
    return _held(module, "bias") if module.use_bias else None


def _precision(module: Any) -> contextlib.AbstractContextManager[Any]:
    precision = module.precision
    if precision is None:
        return contextlib.nullcontext()
    name = precision.name.lower() if isinstance(precision, jax.lax.Precision) else precision
    if not isinstance(name, str):
        raise ValueError(
            f"{_path(module)}: a structured matrix takes one precision for all its products; given "
            f"{precision!r}."
        )
    return jax.default_matmul_precision(name)


def _tuple(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


_HANDLERS: dict[Any, tuple[Callable[..., Any], str]] = {
    _plain(nn.Dense.__call__): (_dense, "kernel"),
    _plain(nn.DenseGeneral.__call__): (_dense_general, "kernel"),
    _plain(nn.Embed.setup): (_embed_setup, "embedding"),
    _plain(nn.Embed.__call__): (_embed, "embedding"),
    _plain(nn.Embed.attend): (_attend, "embedding"),
    _plain(nn.OptimizedLSTMCell.__call__): (_lstm, ""),
    _plain(nn.LSTMCell.__call__): (_plain_lstm, ""),
    _plain(nn.Conv.__call__): (_refuse, "kernel"),
    _plain(nn.ConvLocal.__call__): (_refuse, "kernel"),
    _plain(nn.ConvTranspose.__call__): (_refuse, "kernel"),
    _plain(nn.Einsum.__call__): (_refuse, "kernel"),
}
"""Flax's own method -> what does it with a matrix, and the parameter that may hold one."""
