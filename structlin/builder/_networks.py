"""The networks that a build chooses from, and how each is trained, served and written down."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from structlin.builder._data import Inputs
from structlin.builder._errors import ModelError
from structlin.linen import GRUCell
from structlin.matrices import Masked
from structlin.networks import ProjectionCNN, ProjectionNet, ProjectionRNN, SGNNPlusPlus
from structlin.specs import Dense, LowRank, Spec
from structlin.text import Grams, TextProjection, encode
from structlin.text._bytes import as_bytes

__all__ = ["SIZES", "Network", "check_trainable", "facts_of", "network_of", "networks"]

AT_ONCE = 64
"""How many texts are projected, or predicted, together."""

SHORTEST = 32
"""Texts are filled up to this many bytes, or twice, four times ... as many."""

CLASSES: dict[str, Callable[..., Any]] = {
    c.__name__: c
    for c in (
        *(SGNNPlusPlus, ProjectionRNN, ProjectionNet, ProjectionCNN),
        *(TextProjection, Grams, GRUCell),
    )
}


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of texts or arrays and what it is given.

    Attributes:
        module: One of `structlin.networks`.
        size: How many bytes of a text count.
        scale: The mean and the deviation of arrays, which they are brought to 0 and 1 by.
    """

    module: nn.Module
    size: int = 256
    scale: tuple[float, float] = (0.0, 1.0)

    @property
    def texts(self) -> bool:
        """Whether it reads texts and not arrays."""
        return isinstance(self.module, SGNNPlusPlus | ProjectionRNN)

    def raw(self, inputs: Inputs, room: int | None = None) -> tuple[np.ndarray, ...]:
        """Inputs as `serve` takes them: bytes ``(examples, room)`` and lengths, or numbers."""
        if self.texts:
            return encode(inputs, self.room(inputs) if room is None else room)
        x = (np.asarray(inputs, np.float32) - self.scale[0]) / self.scale[1]
        if isinstance(self.module, ProjectionCNN):
            return (x[..., None] if x.ndim == 3 else x,)
        return (x.reshape(len(x), -1),)

    def room(self, inputs: Inputs) -> int:
        """The bytes that each text gets: of few sizes, so that few programs are compiled."""
        longest = max([1, *(len(as_bytes(x)) for x in inputs if isinstance(x, str))])
        return min(self.size, max(SHORTEST, 1 << (longest - 1).bit_length()))

    def serve(self, params: Any, *raw: jax.Array) -> jax.Array:
        """The probabilities ``(examples, classes)`` of `raw` inputs."""
        logits: Any = self.module.apply({"params": params}, *raw)
        return jax.nn.softmax(logits)

    def arrays(self, inputs: Inputs) -> tuple[np.ndarray, ...]:
        """Inputs as `logits` takes them: what does not change in training is done once."""
        if not isinstance(self.module, SGNNPlusPlus):
            return self.raw(inputs)
        blocks, texts = self.module.texts, [*map(str, inputs)]
        found = [np.zeros((len(texts), text.features), np.float16) for text in blocks]
        project = jax.jit(lambda *raw: [text(*raw)[0] for text in blocks])
        # Texts of like lengths together: what is projected of a short one is not all padding.
        order = np.argsort([len(as_bytes(text)) for text in texts], kind="stable")
        for rows in np.split(order, range(AT_ONCE, len(texts), AT_ONCE)):
            some = [texts[i] for i in rows] + [""] * (AT_ONCE - len(rows))
            for whole, part in zip(found, project(*self.raw(some)), strict=True):
                whole[rows] = np.asarray(part)[: len(rows)]
        return tuple(found)

    def given(self) -> Any:
        """What `arrays` depends on."""
        texts = self.module.texts if isinstance(self.module, SGNNPlusPlus) else None
        return texts, self.size, self.scale, isinstance(self.module, ProjectionCNN)

    def init(self, key: jax.Array, arrays: tuple[jax.Array, ...]) -> Any:
        """Random parameters; ``arrays`` are some examples of `arrays`."""
        made: Any = self.module.init(key, *self._wide(arrays), method=self._method())
        return made["params"]

    def shapes(self, inputs: Inputs) -> Any:
        """The form of the parameters, without drawing any; ``inputs`` is one example."""
        made = jax.eval_shape(self.module.init, jax.random.key(0), *self.raw(inputs))
        return made["params"]

    def logits(
        self, params: Any, arrays: tuple[jax.Array, ...], key: jax.Array | None = None
    ) -> jax.Array:
        """The logits ``(examples, classes)`` of `arrays`; with a key as in training."""
        noisy = key is not None and self.texts
        options: dict[str, Any] = {"train": True, "rngs": {"dropout": key}} if noisy else {}
        found: Any = self.module.apply(
            {"params": params}, *self._wide(arrays), method=self._method(), **options
        )
        return found

    def _method(self) -> str:
        return "classify" if isinstance(self.module, SGNNPlusPlus) else "__call__"

    def _wide(self, arrays: tuple[jax.Array, ...]) -> list[jax.Array]:
        half = jnp.float16
        return [x.astype(jnp.float32) if x.dtype == half else jnp.asarray(x) for x in arrays]


def _bag(features: int, block: int, hidden: tuple[int, ...] = (), dropout: float = 0.3) -> Any:
    """Makes a network on all words, pairs of words and pieces of words of a text."""
    grams = Grams("words", (1,)), Grams("words", (2,), skips=1), Grams("characters", (2, 3, 4))
    texts = tuple(TextProjection(g, features, output="real", seed=i) for i, g in enumerate(grams))
    return lambda classes, spec: SGNNPlusPlus(classes, texts, block, hidden, spec, dropout)


def _words(
    features: int, embed: int, units: int, both: bool, spec: Spec, dropout: float = 0.2
) -> Any:
    """Makes a recurrent network on the words of a text."""
    words = TextProjection(Grams("words", (1,), limit=64), features, "ternary", "real", "gram")

    def make(classes: int, given: Spec | None) -> nn.Module:
        cell = functools.partial(GRUCell, input=given or Dense(), recurrent=given or spec)
        return ProjectionRNN(
            *(classes, words, cell, units, 1, both, embed), spec=given, dropout=dropout
        )

    return make


def _signs(functions: int, bits: int, hidden: tuple[int, ...]) -> Any:
    return lambda classes, spec: ProjectionNet(classes, functions, bits, hidden, spec)


def _images(functions: int, bits: int, channels: tuple[int, ...], hidden: tuple[int, ...]) -> Any:
    return lambda classes, spec: ProjectionCNN(classes, functions, bits, channels, hidden, spec)


Makers = dict[str, Callable[[int, Spec | None], nn.Module]]

SIZES: dict[str, Makers] = {
    "tiny": {
        "bag": _bag(64, 16),
        "words": _words(64, 16, 16, False, Dense()),
        "signs": _signs(60, 10, ()),
        "images": _images(20, 8, (4, 8), (32,)),
    },
    "small": {
        "bag": _bag(192, 32),
        "words": _words(128, 32, 32, False, Dense()),
        "signs": _signs(60, 12, (32,)),
        "images": _images(40, 10, (8, 16), (64,)),
    },
    "medium": {
        "bag": _bag(320, 48),
        "words": _words(192, 48, 40, True, LowRank(rank=16)),
        "signs": _signs(60, 12, (128,)),
        "images": _images(60, 12, (16, 32), (96,)),
    },
    "large": {
        "bag": _bag(512, 64),
        "words": _words(256, 80, 64, True, LowRank(rank=24), 0.3),
        "signs": _signs(70, 12, (256,)),
        "images": _images(70, 12, (32, 64), (160,)),
    },
    "teacher": {
        "bag": _bag(640, 96, dropout=0.5),
        "words": _words(384, 96, 64, True, Dense(), 0.4),
        "signs": _signs(128, 12, (512,)),
        "images": _images(96, 12, (32, 64), (256,)),
    },
}
"""The name of a size -> its network of each kind. The kinds of texts are a bag of words and of
their pieces, and words in their order; those of arrays are signs of them as they are, and of what
convolutions find."""


def networks(
    size: str, inputs: Inputs, classes: int, spec: Spec | None, bytes_of_text: int
) -> dict[str, Network]:
    """The networks of a size that can read such inputs, by kind.

    Args:
        size: One of `SIZES`.
        inputs: Those of the training part.
        classes: How many labels there are.
        spec: How kernels are made; as the size has them if ``None``.
        bytes_of_text: How many bytes of a text count.
    """
    makers = SIZES[size]
    if not isinstance(inputs, np.ndarray):
        kinds = [k for k in ("bag", "words") if k in makers]
        return {k: Network(makers[k](classes, spec), bytes_of_text) for k in kinds}
    scale = float(inputs.mean(dtype=np.float64)), float(inputs.std(dtype=np.float64)) or 1.0
    pictures = inputs.ndim > 2 and min(inputs.shape[1:3]) >= 4
    kinds = [k for k in ("signs", "images") if k in makers and (pictures or k != "images")]
    return {k: Network(makers[k](classes, spec), scale=scale) for k in kinds}


def check_trainable(spec: Spec) -> None:
    """Raises unless what a spec makes can be trained by gradients alone.

    Raises:
        ValueError: It has codes, or entries that a schedule must prune.
    """
    made = jax.eval_shape(lambda key: spec.init(key, (64, 64)), jax.random.key(0))
    whole = jax.tree.leaves(made)
    pruned = jax.tree.leaves(made, is_leaf=lambda x: isinstance(x, Masked))
    real = all(jnp.issubdtype(x.dtype, jnp.floating) for x in whole)
    if not real or any(isinstance(x, Masked) for x in pruned):
        raise ValueError(
            f"{spec!r} cannot be trained by gradients alone: give a structure without codes and "
            "without pruned entries, such as LowRank or Kron. Files are coded in 8 bits anyway."
        )


def facts_of(network: Network) -> dict[str, Any]:
    """What `network_of` makes the network of, for the metadata of a file."""
    return {"module": _facts(network.module), "bytes": network.size, "scale": network.scale}


def network_of(facts: Mapping[str, Any]) -> Network:
    """The network of some `facts_of`.

    Raises:
        ModelError: They are none.
    """
    try:
        module = _made(facts["module"])
        if isinstance(module, nn.Module):
            return Network(module, int(facts["bytes"]), tuple(facts["scale"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"It describes no network: {error}.") from error
    raise ModelError(f"It describes no network but a {type(module).__name__}.")


def _facts(value: Any) -> Any:
    """Dataclasses and partial calls as dicts with their name under ``is``."""
    if isinstance(value, functools.partial):
        return {"is": value.func.__name__} | {k: _facts(v) for k, v in value.keywords.items()}
    if dataclasses.is_dataclass(value) and type(value).__name__ in CLASSES:
        names = [f.name for f in dataclasses.fields(value) if f.name not in ("parent", "name")]
        return {"is": type(value).__name__} | {n: _facts(getattr(value, n)) for n in names}
    return tuple(map(_facts, value)) if isinstance(value, tuple | list) else value


def _made(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(map(_made, value))
    if not isinstance(value, dict):
        return value
    fields = {k: _made(v) for k, v in value.items() if k != "is"}
    if value["is"] == GRUCell.__name__:
        return functools.partial(GRUCell, **fields)
    return CLASSES[value["is"]](**fields)
