"""Unmodified Linen models on parameters that hold structured matrices."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
from flax.linen.module import InterceptorContext

from structlin import functional
from structlin.linen._param import default, where
from structlin.matrices import Matrix

__all__ = ["Structured", "plain", "structured"]

Next = Callable[..., Any]


class Structured(nn.Module):
    """Runs a Linen model, its source untouched, on parameters that hold structured matrices.

    The tree of parameters is that of ``inner``. ``nn.Dense``, ``nn.DenseGeneral`` (so attention),
    ``nn.Embed`` and the recurrent cells, by gate or fused, multiply by the matrices, also inside
    ``nn.RNN``, ``nn.scan``, ``nn.remat`` and ``nn.jit``. Where the parameters hold arrays,
    everything is Flax's own.

    Only ``__call__`` is wrapped; run other methods of the model inside `structured`.

    Attributes:
        inner: The model.

    Raises:
        KeyError: On a call, when a cell lacks a parameter.
        ValueError: On a call, when a matrix has not the shape that its layer needs, or stands where
            no product can use it, as in a convolution: `structlin.surgery.Compressed.densify` with
            ``only=`` forms those, and those of modules with parameters of their own, which Flax
            refuses.
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
    original = plain(getattr(context.orig_method, "func", context.orig_method))
    found = _HANDLERS.get(original)
    if found is None:
        return call(*args, **kwargs)
    handler, name = found
    held = _held(context.module, name)
    if not _has_matrix(held):
        return call(*args, **kwargs)
    return handler(context.module, held, *args, **kwargs)


def plain(method: Any) -> Any:
    """The function behind a method, to tell Flax's own from those that override it.

    A subclass that overrides a method has another function; ``super().__call__`` has Flax's.
    """
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
    bias = _bias(module, (module.features,))
    with functional.precise(module.precision, where(module)):
        return functional.dense(inputs, kernel, bias, dtype=module.dtype)


def _dense_general(module: nn.DenseGeneral, kernel: Matrix, inputs: jax.Array) -> jax.Array:
    if module.batch_dims:
        raise ValueError(f"{where(module)}: a kernel with batch_dims cannot be structured.")
    features, axes = _tuple(module.features), _tuple(module.axis)
    axes = sorted(a % inputs.ndim for a in axes)  # sorted as Flax does
    rows = math.prod(inputs.shape[a] for a in axes)
    _check(module, kernel, (rows, math.prod(features)))
    lead = [a for a in range(inputs.ndim) if a not in axes]
    flat = inputs.transpose(*lead, *axes).reshape(*(inputs.shape[a] for a in lead), rows)
    bias = _bias(module, features)
    with functional.precise(module.precision, where(module)):
        y = functional.dense(
            flat, kernel, bias if bias is None else bias.ravel(), dtype=module.dtype
        )
    return y.reshape(*y.shape[:-1], *features)


def _embed_setup(module: Any, embedding: Matrix) -> None:
    _check(module, embedding, (module.num_embeddings, module.features), "embedding")
    module.embedding = embedding


def _embed(module: nn.Embed, embedding: Matrix, inputs: jax.Array) -> jax.Array:
    return functional.embed(inputs, embedding, dtype=module.dtype)


def _attend(module: nn.Embed, embedding: Matrix, query: jax.Array) -> jax.Array:
    return functional.attend(query, embedding, dtype=module.dtype)


def _cell(arithmetic: Callable[[Any], functional.Cell]) -> Callable[..., Any]:
    """A handler for a cell whose gates may be fused, of what makes its arithmetic."""

    def step(module: Any, held: Any, carry: Any, inputs: jax.Array) -> Any:
        cell = arithmetic(module)
        functional.check_params(cell, held, carry, inputs, "/".join(module.path))
        return cell.step(cell.weights(held), carry, inputs, dtype=module.dtype)

    return step


_lstm = _cell(lambda m: functional.LSTM(m.gate_fn, m.activation_fn))
_gru = _cell(lambda m: functional.GRU(m.gate_fn, m.activation_fn))
_mgu = _cell(lambda m: functional.MGU(m.gate_fn, m.activation_fn, m.reset_gate))


def _refuse(module: nn.Module, kernel: Matrix, *args: Any, **kwargs: Any) -> Any:
    del args, kwargs
    raise ValueError(
        f"{where(module)}/kernel holds {kernel!r}, and {type(module).__name__} has no product with "
        "a structured matrix: form it first, by `compress(...).densify(params, only=PATTERN)`."
    )


def _check(module: nn.Module, matrix: Any, shape: tuple[int, int], name: str = "kernel") -> None:
    for field in ("dot_general", "dot_general_cls", "promote_dtype"):
        if hasattr(module, field) and getattr(module, field) is not default(type(module), field):
            raise ValueError(
                f"{where(module)} has {field}=, which a structured matrix cannot honour: its "
                "product is not one dot_general. Leave the field out, or the weight dense."
            )
    if tuple(matrix.shape) != shape:
        raise ValueError(
            f"{where(module)}/{name} holds {functional.described(matrix)}; "
            f"{type(module).__name__} needs {shape} for its inputs and features. Of a weight of "
            "three axes or more, `outputs=` of `structlin.compress` says which are features."
        )


def _bias(module: Any, shape: tuple[int, ...]) -> jax.Array | None:
    if not module.use_bias:
        return None
    bias = _held(module, "bias")
    if getattr(bias, "shape", None) != shape:
        found = "nothing" if bias is None else functional.described(bias)
        raise ValueError(
            f"{where(module)}/bias holds {found}; {type(module).__name__} needs {shape}."
        )
    return bias


def _tuple(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


_HANDLERS: dict[Any, tuple[Callable[..., Any], str]] = {
    plain(nn.Dense.__call__): (_dense, "kernel"),
    plain(nn.DenseGeneral.__call__): (_dense_general, "kernel"),
    plain(nn.Embed.setup): (_embed_setup, "embedding"),
    plain(nn.Embed.__call__): (_embed, "embedding"),
    plain(nn.Embed.attend): (_attend, "embedding"),
    plain(nn.OptimizedLSTMCell.__call__): (_lstm, ""),
    plain(nn.LSTMCell.__call__): (_lstm, ""),
    plain(nn.GRUCell.__call__): (_gru, ""),
    plain(nn.MGUCell.__call__): (_mgu, ""),
    plain(nn.Conv.__call__): (_refuse, "kernel"),
    plain(nn.ConvLocal.__call__): (_refuse, "kernel"),
    plain(nn.ConvTranspose.__call__): (_refuse, "kernel"),
    plain(nn.Einsum.__call__): (_refuse, "kernel"),
}
"""Flax's own method -> what does it with a matrix, and the parameter that may hold one."""
