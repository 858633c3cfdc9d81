"""A word language model whose embedding and softmax are made small, before and after tuning.

    python benchmarks/training/vocabulary.py                      # what is still missing
    python benchmarks/training/vocabulary.py --only Dense         # the dense model alone

The 10,000 most frequent words of WikiText-2, one LSTM of 200, trained dense for two epochs. Then
the embedding and the softmax, 97 % of the parameters, are each fitted at 20 times fewer bytes: by
SVD, by SVD weighted by how often a word occurs, and by GroupReduce, which groups words by that. All
of the model is tuned for half an epoch more. Where numbers have fewer bits there are more of them
in as many bytes; they are rounded after the tuning, as by Chen et al. (2018), sec. 3. Figures are
bits of a word and perplexities; ``lost`` is by how much the tuned model's test perplexity is above
the dense one's.
"""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _data import Streams, Text, data_folder, words
from _experiments import Row, carry_out, finished, parser
from _language import LanguageModel, Settings, bits, loss_of
from _recipes import CONTENDERS, Schedule
from _trainer import train
from language_model import row_of

import structlin as sl
from structlin import specs

WORDS, COMPRESSION, SEED = 10_000, 20.0, 0
SETTINGS = Settings(hidden=200, batch=20, time=35, steps=6000)
TUNING = Schedule(1500, 2e-3)
MARGIN = 1.04
"""By how much more what will be rounded is compressed: labels and levels take their place too."""


class Way(NamedTuple):
    """How both tables are made small.

    Attributes:
        spec: What they are fitted by.
        weighted: Whether frequent words weigh more.
        bits: Of the numbers in the end; ``None`` leaves them as they are.
    """

    spec: specs.Spec
    weighted: bool
    bits: int | None = None


WAYS = {
    "GroupReduce": Way(specs.GroupReduce(COMPRESSION), True),
    "SVD": Way(specs.LowRank(compression=COMPRESSION), False),
    "weighted SVD": Way(specs.LowRank(compression=COMPRESSION), True),
    "GroupReduce, 8 bits": Way(specs.GroupReduce(MARGIN * COMPRESSION / 4), True, 8),
    "SVD, 8 bits": Way(specs.LowRank(compression=MARGIN * COMPRESSION / 4), False, 8),
    "GroupReduce, 6 bits": Way(specs.GroupReduce(MARGIN * COMPRESSION * 6 / 32), True, 6),
    "GroupReduce, 4 bits": Way(specs.GroupReduce(MARGIN * COMPRESSION / 8), True, 4),
}


@functools.cache
def text() -> Text:
    """WikiText-2 in its most frequent words."""
    return words(data_folder() / "wikitext2", WORDS)


def dense() -> Row:
    """The dense model."""
    return row_of(text(), SETTINGS, "Dense", 1.0, seed=SEED)


def counts(found: Text) -> np.ndarray:
    """How often each word occurs where the model is trained, at least once."""
    return np.maximum(np.bincount(found.train, minlength=len(found.vocabulary)), 1)


def fitted(params: Any, spec: specs.Spec, frequencies: np.ndarray | None) -> Any:
    """The model with a small embedding and a small softmax, a word a row of both."""
    small = spec.fit(params["embed"]["embedding"], frequencies)
    kernel = spec.fit(params["out"]["kernel"].T, frequencies).T
    return params | {"embed": {"embedding": small}, "out": params["out"] | {"kernel": kernel}}


def rounded(params: Any, bits: int | None) -> Any:
    """The model with the numbers of its tables in so many bits, levels by k-means."""
    if bits is None:
        return params
    return sl.quantize(params, {"embed/embedding": bits, "out/kernel": bits}, codebook="kmeans")


def tuned(folder: Path, model: LanguageModel, params: Any) -> tuple[Any, float]:
    """All of a model trained for a while, what it is made of as it is; and the seconds."""
    trained, fixed = sl.partition(params)
    loss = loss_of(CONTENDERS["Dense"], model)
    streams = Streams(text().train, SETTINGS.batch, SETTINGS.time)
    found = train(
        lambda part, *rest: loss(sl.combine(part, fixed), *rest),
        trained,
        CONTENDERS["Dense"].optimiser(trained, TUNING),
        lambda seed, step: (streams(seed, step), np.float32(0)),
        steps=TUNING.steps,
        seed=SEED,
        folder=folder,
        carry=(model.at_rest(SETTINGS.batch),),
        title=folder.name,
    )
    return sl.combine(found.params, fixed), found.seconds


def small_row(name: str, start: Row) -> Row:
    """One way to make the tables small, tried on the dense model."""
    spec, weighted, levels = WAYS[name]
    about = {"spec": json.loads(spec.to_json()), "weighted": weighted, "start": start.recipe}
    about |= {} if levels is None else {"bits": levels}
    about |= {"steps": TUNING.steps, "learning_rate": TUNING.learning_rate, "seed": SEED}

    def measure(folder: Path) -> dict[str, Any]:
        whole = jax.tree.map(jnp.asarray, finished(start, folder.parent))
        model = LanguageModel(len(text().vocabulary), SETTINGS)
        read = functools.partial(held_out, model)
        small = fitted(whole, spec, counts(text()) if weighted else None)
        after, seconds = tuned(folder, model, small)
        after = rounded(after, levels)
        tables = [after["embed"]["embedding"], after["out"]["kernel"]]
        cost = sl.matrices.cost(tables)
        test, right = read(after, "test"), read(whole, "test")
        return {
            "figures": {
                "before": round(2 ** read(rounded(small, levels), "test"), 2),
                "perplexity": round(2**test, 2),
                "dense": round(2**right, 2),
                "lost": round(2 ** (test - right) - 1, 4),
                "valid": round(read(after, "valid"), 5),
                "test": round(test, 5),
            },
            "bytes": cost.bytes,
            "compression": round(cost.compression, 3),
            "seconds": round(seconds, 1),
        }

    return Row(f"{name}, {COMPRESSION:g}x", about, measure)


def held_out(model: LanguageModel, params: Any, part: str) -> float:
    """Bits of a word of a part of the text."""
    return bits(model, params, getattr(text(), part), SETTINGS.batch, SETTINGS.time)


def main() -> None:
    """Measures what is missing, and writes after every row."""
    given = parser("Make a vocabulary small.", "training_vocabulary.json").parse_args()
    start = dense()
    carry_out([start, *(small_row(name, start) for name in WAYS)], given)


if __name__ == "__main__":
    main()
