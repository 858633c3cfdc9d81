"""How the inputs of a Linen model's layers vary, from batches."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.module import InterceptorContext

from structlin.functional import LSTM
from structlin.linen._structured import plain
from structlin.specs import Covariance, Rows

__all__ = ["activations"]


def activations(run: Callable[[Any], Any], batches: Iterable[Any]) -> dict[str, Covariance | Rows]:
    """What the weights of a model multiply, for ``importance=`` and ``weights=``.

    Args:
        run: ``lambda batch: model.apply({"params": params}, batch)``, or whatever else runs the
            model on a batch, not compiled before, and returns what the model returns.
        batches: What ``run`` takes, one after the other.

    Returns:
        Path -> ``E[x^T x]`` of the inputs ``x`` of ``nn.Dense``, ``nn.DenseGeneral`` and the gates
        of LSTM cells, cells made of ``nn.Dense`` included; of ``nn.Embed``, how often each row is
        taken. `structlin.RNN` calls no cell when it hoists: run ``nn.RNN`` instead.

    Raises:
        ValueError: No such layer was called.
    """
    sums: dict[str, list[Any]] = {}

    def add(path: str, total: Any, count: Any) -> np.ndarray:
        held = sums.setdefault(path, [0.0, 0.0])
        held[0] = held[0] + np.asarray(total, np.float64)
        held[1] += float(count)
        return np.zeros((), np.float32)

    def intercept(call: Any, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        found = call(*args, **kwargs)
        method = plain(getattr(context.orig_method, "func", context.orig_method))
        if method not in _READERS or context.module.is_initializing():
            return found
        for path, total, count in _READERS[method](context.module, *args, **kwargs):
            # The result is made to need the zero that comes back. A callback for its effect alone
            # would be kept where Flax traces a scan for what does not depend on its steps.
            zero = jax.pure_callback(
                functools.partial(add, path), _ZERO, total, count, vmap_method="sequential"
            )
            found = jax.tree.map(lambda y, z=zero: y + z.astype(y.dtype), found)
        return found

    with nn.intercept_methods(intercept):
        traced = jax.jit(lambda batch: run(batch))
        for batch in batches:
            jax.block_until_ready(traced(batch))
    if not sums:
        raise ValueError(
            "activations saw no layer: run= must call the model, and must not be compiled before."
        )
    return {path: _mean(path, total, count) for path, (total, count) in sums.items()}


def _mean(path: str, total: Any, count: float) -> Covariance | Rows:
    mean = jnp.asarray(total / max(count, 1.0), jnp.float32)
    return Rows(mean) if path.endswith("/embedding") or path == "embedding" else Covariance(mean)


_ZERO = jax.ShapeDtypeStruct((), jnp.float32)

Found = Iterator[tuple[str, jax.Array, Any]]
"""Path of a weight, a sum over inputs, and how many they are."""


def _of_dense(module: nn.Dense, inputs: jax.Array) -> Found:
    yield _join(module, "kernel"), *_gram(inputs.reshape(-1, inputs.shape[-1]))


def _of_dense_general(module: nn.DenseGeneral, inputs: jax.Array) -> Found:
    axes = (module.axis,) if isinstance(module.axis, int) else tuple(module.axis)
    if not module.batch_dims:
        axes = sorted(a % inputs.ndim for a in axes)  # sorted as Flax does
        lead = [a for a in range(inputs.ndim) if a not in axes]
        size = int(np.prod([inputs.shape[a] for a in axes]))
        yield _join(module, "kernel"), *_gram(inputs.transpose(*lead, *axes).reshape(-1, size))


def _of_embed(module: nn.Embed, inputs: jax.Array) -> Found:
    counts = jnp.zeros(module.num_embeddings, jnp.float32).at[inputs.reshape(-1)].add(1.0)
    yield _join(module, "embedding"), counts, inputs.size


def _of_cell(gates: tuple[str, ...], state: Callable[[Any], Any]) -> Callable[..., Found]:
    def read(module: nn.RNNCellBase, carry: Any, inputs: jax.Array) -> Found:
        held = module.variables.get("params", {})
        for side, x in (("i", inputs), ("h", state(carry))):
            total, count = _gram(x.reshape(-1, x.shape[-1]))
            for name in (side, *(side + gate for gate in gates)):
                if name in held:
                    yield _join(module, f"{name}/kernel"), total, count

    return read


def _gram(rows: jax.Array) -> tuple[jax.Array, int]:
    wide = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))
    return wide.conj().T @ wide, rows.shape[0]


def _join(module: nn.Module, name: str) -> str:
    return "/".join((*module.path, name))


_READERS: dict[Any, Callable[..., Found]] = {
    plain(nn.Dense.__call__): _of_dense,
    plain(nn.DenseGeneral.__call__): _of_dense_general,
    plain(nn.Embed.__call__): _of_embed,
    # The gates of the other cells are modules of nn.Dense.
    plain(nn.OptimizedLSTMCell.__call__): _of_cell(LSTM.gates, lambda carry: carry[1]),
}
"""Flax's own method -> what its weights multiply."""
