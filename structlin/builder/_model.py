"""A built model in its file, and its predictions."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from structlin import matrices, storage
from structlin.builder._data import Inputs
from structlin.builder._errors import ModelError
from structlin.builder._networks import AT_ONCE, Network, facts_of, network_of
from structlin.matrices import Quantized, is_matrix

__all__ = ["VERSION", "Model", "load", "write"]

KIND, VERSION = "structlin classifier", 1

_PROGRAMS: dict[str, Any] = {}


class Model:
    """A classifier of texts or arrays, as `load` reads it.

    Attributes:
        labels: What it tells apart, in the order of `probabilities`.
        metadata: What stands in its file beside the numbers.
    """

    def __init__(
        self, network: Network, params: Any, labels: Sequence[str], metadata: dict[str, Any]
    ) -> None:
        self.labels = tuple(labels)
        self.metadata = metadata
        self._network, self._params = network, params
        # Models of one network share what is compiled.
        self._serve = _PROGRAMS.setdefault(repr(facts_of(network)), jax.jit(network.serve))

    @property
    def texts(self) -> bool:
        """Whether it reads texts and not arrays."""
        return self._network.texts

    def predict(self, inputs: Sequence[str] | np.ndarray) -> list[str]:
        """The likeliest label of each text, or of each array of ``(examples, ...)``."""
        return [self.labels[i] for i in self.probabilities(inputs).argmax(axis=-1)]

    def probabilities(self, inputs: Sequence[str] | np.ndarray) -> np.ndarray:
        """How likely each label is, float32 ``(examples, labels)``.

        Args:
            inputs: Strings, or numbers ``(examples, ...)`` of the shape of those in training.

        Raises:
            TypeError: They are of the other kind.
            ValueError: The arrays have another shape than those in training.
        """
        given = self._checked(inputs)
        room = self._network.room(given)
        found = [np.zeros((0, len(self.labels)), np.float32)]
        for i in range(0, len(given), AT_ONCE):
            some = given[i : i + AT_ONCE]
            # One input, or as many as are always predicted together: so two programs do.
            more = 0 if len(given) == 1 else AT_ONCE - len(some)
            if isinstance(some, np.ndarray):
                filled = np.pad(some, [(0, more)] + [(0, 0)] * (some.ndim - 1))
            else:
                filled = [*some, *[""] * more]
            raw = self._network.raw(filled, room)
            found.append(np.asarray(self._serve(self._params, *raw))[: len(some)])
        return np.concatenate(found)

    def _checked(self, inputs: Any) -> Inputs:
        numbers = isinstance(inputs, np.ndarray) and inputs.dtype.kind in "biuf"
        if not numbers and (isinstance(inputs, str) or not all(isinstance(x, str) for x in inputs)):
            raise TypeError("A model takes a list of strings, or an array of numbers.")
        if numbers == self.texts:
            kinds = ("texts", "arrays") if self.texts else ("arrays", "texts")
            raise TypeError(f"The model takes {kinds[0]}; given {kinds[1]}.")
        shape = tuple(self.metadata["shape"])
        if numbers and inputs.shape[1:] != shape:
            raise ValueError(
                f"The model takes arrays (examples, {', '.join(map(str, shape))}); given "
                f"{inputs.shape}."
            )
        return inputs if numbers else list(inputs)


def write(
    path: str | os.PathLike[str],
    network: Network,
    params: Any,
    labels: Sequence[str],
    example: Inputs,
    facts: dict[str, Any],
) -> None:
    """Writes a model to one file: every kernel in codes of 8 bits.

    Args:
        path: The file.
        network: What the parameters are of.
        params: As trained.
        labels: Of the classes, in their order.
        example: Inputs of training, for their shape.
        facts: More metadata.
    """
    metadata = {
        "kind": KIND,
        "version": VERSION,
        "labels": tuple(labels),
        "network": facts_of(network),
        "shape": example.shape[1:] if isinstance(example, np.ndarray) else (),
        **facts,
    }
    storage.save(path, jax.tree.map(_coded, params, is_leaf=is_matrix), metadata)


def load(path: str | os.PathLike[str]) -> Model:
    """Reads a model that ``structlin train`` wrote; its kernels are decoded once.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: It holds other things, or is of a newer version.
        StorageError: It is damaged or none of structlin's.
    """
    name, metadata = os.fspath(path), storage.read_metadata(path)
    if metadata.get("kind") != KIND:
        raise ModelError(f"{name} is no model of `structlin train`: it holds other weights.")
    if not isinstance(metadata.get("version"), int) or metadata["version"] > VERSION:
        raise ModelError(
            f"{name} is a model of version {metadata.get('version')}, and this structlin reads "
            f"versions up to {VERSION}: update structlin."
        )
    held = storage.load(path)
    try:
        network = network_of(metadata["network"])
        labels, shape = metadata["labels"], metadata["shape"]
        example = [""] if network.texts else np.zeros((1, *shape), np.float32)
        form = network.shapes(example)
        params = jax.tree.map(_decoded, form, held, is_leaf=is_matrix)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} is a damaged model: {error}") from error
    return Model(network, params, labels, metadata)


def _coded(leaf: Any) -> Any:
    """A kernel in 8 bits, those of many axes as a matrix of all inputs by the outputs."""
    if is_matrix(leaf):
        return Quantized.of(leaf.pack(), 8)
    if leaf.ndim < 2:
        return leaf
    return Quantized.of(matrices.Dense(jnp.reshape(leaf, (-1, leaf.shape[-1]))), 8)


def _decoded(form: Any, held: Any) -> Any:
    """What is held as the numbers of the form that the network wants."""
    if not is_matrix(held):
        return held
    inner = held.decode() if isinstance(held, Quantized) else held
    return inner if is_matrix(form) else inner.to_dense().reshape(form.shape)
