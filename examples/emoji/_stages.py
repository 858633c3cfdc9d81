"""The steps from the dense model to the small ones, each a folder made of the one before."""

import functools
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from _measure import logits, vectors
from _recommender import STORE, MemoryRows, Model, open_model, write_model
from _training import Settings, train_all, train_network
from _tweets import Data
from _words import known_pieces

import structlin as sl
from structlin.matrices import Masked
from structlin.storage import EmbeddingStore

__all__ = ["VARIANTS", "Run", "Stage"]

KERNELS = ".*/(i|h)/kernel"
"""The recurrent layers' kernels, by their paths."""


class Run(NamedTuple):
    """What all steps share.

    Attributes:
        data: The messages.
        settings: Sizes and schedules.
        out: The folder of the models.
        known: Other embeddings to start from, by word.
    """

    data: Data
    settings: Settings
    out: Path
    known: dict[str, np.ndarray]

    def model(self, name: str) -> Model:
        """What a step left."""
        return open_model(self.out / name)


class Stage(NamedTuple):
    """A step.

    Attributes:
        name: Of its folder.
        make: Fills the folder.
        selectors: Whether variation selectors are words; see `_words.words`.
    """

    name: str
    make: Callable[[Run, Path], None]
    selectors: bool = False


def _write(folder: Path, model: Model, params: Any, rows: MemoryRows | Path | None = None) -> None:
    """A model like another, with other parameters; with its rows if none are given."""
    if rows is None:
        rows = model.rows if isinstance(model.rows, MemoryRows) else Path(model.rows.path)
    if isinstance(rows, Path):
        if rows.parent != folder:
            shutil.copyfile(rows, folder / STORE)
        rows = None
    write_model(folder, params, model.labels, model.facts, rows)


def _dense(selectors: bool) -> Callable[[Run, Path], None]:
    def make(run: Run, folder: Path) -> None:
        params, rows, words = train_all(run.data, run.settings, run.known)
        facts = {"hidden": run.settings.hidden, "selectors": selectors, "words": words}
        write_model(folder, params, run.data.labels, facts, rows)

    return make


def _store(bits: int, run: Run, folder: Path) -> Path:
    """The dense model's rows in a database, in so many bits."""
    rows = run.model("dense").rows
    path = folder / STORE
    EmbeddingStore.build(path, rows.values, rows.names, bits=bits, codebook="kmeans").close()
    return path


def _three_bits(run: Run, folder: Path) -> None:
    model = run.model("dense")
    _write(folder, model, model.params, _store(3, run, folder))


def _half(run: Run, folder: Path) -> None:
    model = run.model("rows-3-bit")
    _write(folder, model, _halved(model.params))


def _pruned(before: str, density: float) -> Callable[[Run, Path], None]:
    def make(run: Run, folder: Path) -> None:
        model = run.model(before)
        known, teacher = vectors(model, run.data.types), _teacher(run)

        def retrain(params: Any, _: float) -> Any:
            return _kept_zeros(params, known, teacher, run)

        params = _whole(model.params)
        rounds = sl.train.iterative_pruning(params, [KERNELS], retrain, [density])
        _write(folder, model, _packed(next(rounds).params, density))

    return make


def _two_bits(run: Run, folder: Path) -> None:
    """Coarser rows, to which the pruned network is trained once more."""
    model, store = run.model("pruned-90"), _store(2, run, folder)
    coarse = Model(model.params, EmbeddingStore(store), model.labels, model.facts)
    known = vectors(coarse, run.data.types)
    params = _kept_zeros(_whole(model.params), known, _teacher(run), run)
    _write(folder, model, _packed(params, 0.1), store)


def _group_reduced(run: Run, folder: Path) -> None:
    model = run.model("dense")
    spec = sl.specs.GroupReduce(compression=run.settings.reduced, bits=4)
    first = model.facts["words"]
    matrix = spec.fit(model.rows.values, _frequencies(run.data, list(model.rows.names), first))
    _write(folder, model, model.params, MemoryRows(model.rows.names, matrix))


def _doped(run: Run, folder: Path) -> None:
    """Kernels that are a Kronecker product and a few entries, which training chooses."""
    model = run.model("group-reduced")
    spec = sl.specs.DopedKron(compression=run.settings.doped, anneal=True)
    params, steps = sl.compress(model.params, {KERNELS: spec}).params, 3 * run.settings.retrain
    targets = sl.train.targets({"network": params})
    adam = _adam(run.settings.rate / 3, steps)
    pruning = sl.train.sparsify(adam, targets, end=3 * steps // 5, every=10)
    known = vectors(model, run.data.types)
    params = train_network(params, known, _teacher(run), pruning, run.data, run.settings, steps)
    _write(folder, model, _halved(sl.pack(params)))


def _adam(rate: float, steps: int) -> optax.GradientTransformation:
    rates = optax.cosine_decay_schedule(rate, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rates))


@functools.cache
def _keep_zeros(rate: float, steps: int) -> optax.GradientTransformation:
    return sl.train.keep_zeros(_adam(rate, steps), [KERNELS])


def _teacher(run: Run) -> np.ndarray:
    """What the dense model says of the messages to train."""
    model = run.model("dense")
    return logits(model, vectors(model, run.data.types), run.data.train)


def _kept_zeros(params: Any, known: np.ndarray, teacher: np.ndarray, run: Run) -> Any:
    """Parameters trained on while what is zero stays zero."""
    made, steps = run.settings, run.settings.retrain
    optimiser = _keep_zeros(made.rate / 3, steps)
    return train_network(params, known, teacher, optimiser, run.data, made, steps)


def _whole(params: Any) -> Any:
    """The parameters as dense float32 arrays, to be trained."""
    return jax.tree.map(lambda x: x.astype(np.float32), sl.densify(params))


def _packed(params: Any, density: float) -> Any:
    """The kernels as what is left of them and where it stands, all in half precision."""

    def pack(path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return Masked(leaf, density).pack() if name.endswith(("i/kernel", "h/kernel")) else leaf

    return _halved(jax.tree_util.tree_map_with_path(pack, params))


def _halved(params: Any) -> Any:
    return sl.quantize(params, {".*": "float16"})


def _frequencies(data: Data, names: list[str], first: int) -> np.ndarray:
    """How often each row is read in training, and once more."""
    words = {name: i for i, name in enumerate(names[:first])}
    pieces = {name: i for i, name in enumerate(names[first:], first)}
    counts = np.ones(len(names), np.float32)
    read = Counter(word for message in data.messages(data.train) for word in message)
    for word, count in read.items():
        counts[[words[word]] if word in words else known_pieces(word, pieces)] += count
    return counts


VARIANTS = {
    "classic": (
        Stage("dense", _dense(selectors=False)),
        Stage("rows-3-bit", _three_bits),
        Stage("float16", _half),
        Stage("pruned-50", _pruned("float16", 0.5)),
        Stage("pruned-75", _pruned("pruned-50", 0.25)),
        Stage("pruned-90", _pruned("pruned-75", 0.1)),
        Stage("rows-2-bit", _two_bits),
    ),
    "structured": (
        Stage("dense", _dense(selectors=False)),
        Stage("group-reduced", _group_reduced),
        Stage("doped-kron", _doped),
    ),
    "published": (Stage("dense-published", _dense(selectors=True), selectors=True),),
}
"""The steps of each way, in their order."""
