"""The calls of a case: every structure in XLA and in native code, and the dense forms."""

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import structlin as sl
from structlin.bench import _baselines as by_hand
from structlin.bench._cases import BASELINES, STRUCTURES, Case
from structlin.bench._machine import Roofline
from structlin.functional import LSTM, CellWeights
from structlin.kernels import native
from structlin.matrices import Cost, Matrix, Native

__all__ = ["Contender", "contenders", "dense_weights", "drawn", "inputs", "native_problem"]

Weights = tuple[Any, ...]
CLOSE = 1e-3


class Contender(NamedTuple):
    """Something to time.

    Attributes:
        call: Returns its result when that is there.
        mode: ``"XLA"``, ``"native"``, or empty for what is not of this library.
        structure: Of `STRUCTURES`; empty for a dense form.
        costs: Of its kernels; none if that is not known.
    """

    call: Callable[[], Any]
    mode: str = ""
    structure: str = ""
    costs: tuple[Cost, ...] = ()


def contenders(case: Case, seed: int) -> Iterator[tuple[str, Contender]]:
    """The contenders of a case by name, the one that ratios are over first.

    Args:
        case: What is measured.
        seed: Of weights and inputs.

    Raises:
        RuntimeError: One computes something else than its dense form does.
    """
    dense, x = dense_weights(case, seed), inputs(case, seed)
    run, baseline = RUNS[case.kind], DENSE_RUNS[case.kind]
    whole = tuple(_cost(w) for w in dense[: len(_shapes(case))])
    yield BASELINES[case.kind], Contender(_calling(baseline, dense, x), costs=whole)
    if case.whole:
        flax = _FLAX_TRAINED if case.kind == "training" else _FLAX
        call = _calling(flax, by_hand.flax_params(dense), x)
        yield "Flax nn.RNN", Contender(call, costs=whole)
    for structure in case.structures:
        kernels = [drawn(structure, s, seed + i) for i, s in enumerate(_shapes(case))]
        costs = tuple(kernel.cost() for kernel in kernels)
        for mode, used in _modes(case, kernels).items():
            weights = (*used, *dense[len(used) :])
            _check(case, f"{structure}, {mode}", weights, x)
            call = _calling(run, weights, x)
            yield f"{structure}, {mode}", Contender(call, mode, structure, costs)


def _modes(case: Case, kernels: list[Matrix]) -> dict[str, tuple[Matrix, ...]]:
    """The kernels for XLA, and for native code if it is made for so many rows."""
    modes = {"XLA": tuple(kernels)}
    if case.kind == "training" or not native.ready():
        return modes  # derivatives never see native code
    prepared = tuple(Native.of(kernel) for kernel in kernels)
    programs = [w._program() for w in prepared if isinstance(w, Native)]
    if len(programs) == len(kernels) and all(p and p.rows >= case.batch for p in programs):
        modes["native"] = prepared
    return modes


def native_problem() -> str:
    """Why there is no native code here; empty if there is. The first call may compile it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return "" if native.ready() else native.status().problem


@functools.lru_cache(maxsize=128)
def drawn(structure: str, shape: tuple[int, int], seed: int) -> Matrix:
    """A random packed matrix of a structure, the same one at every call."""
    spec = STRUCTURES[structure](shape[1])
    return jax.block_until_ready(spec.init(jax.random.key(seed), shape).pack())


def dense_weights(case: Case, seed: int) -> Weights:
    """The kernels of a case as arrays, and the bias of a layer."""
    kernels = tuple(drawn("Dense", s, seed + i).to_dense() for i, s in enumerate(_shapes(case)))
    if case.kind in ("product", "density"):
        return kernels
    return (*kernels, jnp.zeros(kernels[0].shape[1]))


def inputs(case: Case, seed: int) -> jax.Array:
    """Random ones: ``(batch, hidden)``, of layers ``(steps, batch, hidden)``."""
    shape = (case.batch, case.hidden)
    if case.whole:
        shape = (case.steps, *shape)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def least_seconds(case: Case, costs: tuple[Cost, ...], machine: Roofline) -> float | None:
    """The time in which the machine could do the work of kernels at best, or ``None``.

    A kernel is read once for all rows that are multiplied at a time: that of the inputs once in a
    layer, the recurrent one in each step. A training step is three times the operations of the
    layer, as its two products backward are.
    """
    if not costs or case.kind == "call":
        return None
    size = sum(cost.bytes for cost in costs)
    if case.kind == "training":
        flops = sum(cost.flops for cost in costs)
        return machine.seconds(3.0 * flops * case.steps * case.batch, size)
    first, *rest = costs
    time = machine.seconds(first.flops * case.steps * case.batch, first.bytes, size)
    for cost in rest:
        time += case.steps * machine.seconds(cost.flops * case.batch, cost.bytes)
    return time


def _shapes(case: Case) -> list[tuple[int, int]]:
    if case.kind == "call":
        return [(case.hidden, case.hidden)]
    shape = (case.hidden, 4 * case.hidden)
    return [shape, shape] if case.whole else [shape]


def _cost(kernel: jax.Array) -> Cost:
    size = math.prod(kernel.shape)
    return Cost(size, kernel.nbytes, 2 * size, size, kernel.nbytes)


def _check(case: Case, name: str, weights: Weights, x: jax.Array) -> None:
    """That a contender computes what the form written by hand does with its weights formed."""
    if case.kind == "call":
        return
    forward = "layer" if case.kind == "training" else case.kind
    found, want = RUNS[forward](weights, x), DENSE_RUNS[forward](sl.densify(weights), x)
    gap = float(jnp.abs(found - want).max())
    if not gap <= CLOSE * max(1.0, float(jnp.abs(want).max())):
        raise RuntimeError(f"{case.name}: {name} differs from its dense form by {gap:.3g}")


def _calling(run: Callable[..., Any], weights: Any, x: jax.Array) -> Callable[[], Any]:
    return lambda: jax.block_until_ready(run(weights, x))


# Compiled once for all weights of a structure.
@jax.jit
def _product(weights: Weights, x: jax.Array) -> jax.Array:
    return x @ weights[0]


@jax.jit
def _layer(weights: Weights, x: jax.Array) -> jax.Array:
    kernel, recurrent, bias = weights
    zeros = jnp.zeros((x.shape[1], recurrent.shape[0]))
    return LSTM().sequence(CellWeights(kernel, recurrent, bias), (zeros, zeros), x)[1]


@jax.jit
def _training(weights: Weights, x: jax.Array) -> Any:
    floats, rest = sl.partition(weights)
    return by_hand.trained(lambda w, x: _layer(sl.combine(w, rest), x), floats, x)


@jax.jit
def _one_layer(weights: Weights, x: jax.Array) -> jax.Array:
    kernel, bias = weights
    layer = sl.Dense(kernel.shape[1])
    return jnp.asarray(layer.apply({"params": {"kernel": kernel, "bias": bias}}, x))


RUNS: Mapping[str, Callable[..., Any]] = {
    "product": _product,
    "density": _product,
    "layer": _layer,
    "pruned": _layer,
    "training": _training,
    "call": _one_layer,
}
_HAND_PRODUCT, _HAND_LAYER = jax.jit(by_hand.dense_product), jax.jit(by_hand.hoisted_lstm)
DENSE_RUNS: Mapping[str, Callable[..., Any]] = {
    "product": _HAND_PRODUCT,
    "density": _HAND_PRODUCT,
    "layer": _HAND_LAYER,
    "pruned": _HAND_LAYER,
    "training": jax.jit(functools.partial(by_hand.trained, by_hand.hoisted_lstm)),
    "call": jax.jit(by_hand.empty),
}
_FLAX = jax.jit(by_hand.flax_lstm)
_FLAX_TRAINED = jax.jit(functools.partial(by_hand.trained, by_hand.flax_lstm))
