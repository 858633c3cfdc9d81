"""A word language model whose embedding and softmax are made small, before and after tuning.

    python benchmarks/training/vocabulary.py                      # what is still missing
    python benchmarks/training/vocabulary.py --only Dense         # the dense model alone

The 10,000 most frequent words of WikiText-2, one LSTM of 200, trained dense for two epochs. Then
the embedding and the softmax, 97 % of the parameters, are each fitted at 20 times fewer bytes: by
SVD, by SVD weighted by how often a word occurs, and by GroupReduce, which groups words by that. All
of the model is tuned for half an epoch more. Figures are bits of a word and perplexities; ``lost``
is by how much the tuned model's test perplexity is above the dense one's.
"""

import functools
import json
from pathlib import Path
from typing import Any

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
WAYS: dict[str, tuple[specs.Spec, bool]] = {
    "GroupReduce": (specs.GroupReduce(COMPRESSION), True),
    "SVD": (specs.LowRank(compression=COMPRESSION), False),
    "weighted SVD": (specs.LowRank(compression=COMPRESSION), True),
}
"""What both tables are fitted by, and whether frequent words weigh more."""


@functools.cache
def text() -> Text:
    """WikiText-2 in its most frequent words."""
    return words(data_folder() / "wikitext2", WORDS)


def dense() -> Row:
    """The dense model."""
    return row_of(text(), SETTINGS, "Dense", 1.0, SEED)


def counts(found: Text) -> np.ndarray:
    """How often each word occurs where the model is trained, at least once."""
    return np.maximum(np.bincount(found.train, minlength=len(found.vocabulary)), 1)


def fitted(params: Any, spec: specs.Spec, frequencies: np.ndarray | None) -> Any:
    """The model with a small embedding and a small softmax, a word a row of both."""
    small = spec.fit(params["embed"]["embedding"], frequencies)
    kernel = spec.fit(params["out"]["kernel"].T, frequencies).T
    return params | {"embed": {"embedding": small}, "out": params["out"] | {"kernel": kernel}}


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
    spec, weighted = WAYS[name]
    about = {"spec": json.loads(spec.to_json()), "weighted": weighted, "start": start.recipe}
    about |= {"steps": TUNING.steps, "learning_rate": TUNING.learning_rate, "seed": SEED}

    def measure(folder: Path) -> dict[str, Any]:
        whole = jax.tree.map(jnp.asarray, finished(start, folder.parent))
        model = LanguageModel(len(text().vocabulary), SETTINGS)
        read = functools.partial(held_out, model)
        small = fitted(whole, spec, counts(text()) if weighted else None)
        after, seconds = tuned(folder, model, small)
        tables = [after["embed"]["embedding"], after["out"]["kernel"]]
        cost = sl.matrices.cost(tables)
        test, right = read(after, "test"), read(whole, "test")
        return {
            "figures": {
                "before": round(2 ** read(small, "test"), 2),
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
