"""Projection networks on real data: digits and texts, careless typing, size and speed.

    python benchmarks/projections.py                    # what is still missing
    python benchmarks/projections.py --only digits      # rows of this name
    python benchmarks/projections.py --quick --out /tmp/quick.json
    taskset -c 0 python benchmarks/projections.py --time    # on one core of an idle machine
    python benchmarks/projections.py --time                 # on all of them

Digits: the table of Ravi (2017), each network alone and with a teacher that learns at the same
time. Texts: intents (ATIS), subjectivity and polarity (of no official parts: a tenth tests, by
hash), dialogue acts (MRDA, SwDA), emoji (TweetEval); the networks are those of `structlin train`.
`benchmarks/training/_projection_digits.py` and `_projection_texts.py` say how they are trained and
what they stand against. The rows of features count the numbers of real texts that differ between
NumPy and compiled code. Times are those of the models' files; they depend on the cores that the
process may use, and go to a file of their own.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent / "training"))
digits, experiments, speed, texts = (
    importlib.import_module(name)
    for name in ("_projection_digits", "_experiments", "_projection_speed", "_projection_texts")
)

Settings = texts.Settings
SETTINGS = {
    "atis": Settings(epochs=30),
    "subj": Settings(epochs=12),
    "mr": Settings(epochs=12),
    "mrda": Settings(epochs=6, size=128, batch=128),
    "swda": Settings(epochs=4, size=128, batch=128),
    "emoji_tweeteval": Settings(epochs=5, size=192, batch=128),
}
SMALL_SETS = ("atis", "subj", "mr")
"""Those with figures of several seeds, and a network of words and scikit-learn beside ours."""

NETWORKS = {
    "atis": ("tiny bag", "tiny words", "small bag", "small words"),
    "subj": ("small bag", "small words"),
    "mr": ("small bag", "small words"),
    "mrda": ("SGNN", "small bag", "medium words"),
    "swda": ("SGNN", "small bag", "medium words"),
    "emoji_tweeteval": ("large bag",),
}
TIMED = {"atis": ("tiny bag", "small bag", "tiny words", "small words"), "mrda": ("small bag",)}
SAMPLE = 200
"""How many texts of a set have their features compared."""


def rows() -> list[Any]:
    """All rows of figures, those of the first seed first."""
    first = [digits.digit_row(g, way, 0) for g in ("plain", "hidden") for way in digits.WAYS]
    first += [row for name in NETWORKS for row in of_texts(name, SETTINGS[name], 0)]
    first += [
        speed.features_row(name, network, SETTINGS[name], SAMPLE)
        for name in NETWORKS
        for network in ("SGNN", "small bag", "small words")
    ]
    first += [digits.digit_row("pictures", way, 0) for way in digits.WAYS]
    more = [
        row
        for seed in (1, 2)
        for row in (
            *(digits.digit_row(g, way, seed) for g in ("plain", "hidden") for way in digits.WAYS),
            *(row for name in SMALL_SETS for row in of_texts(name, SETTINGS[name], seed)),
        )
    ]
    return first + more


def of_texts(name: str, settings: Any, seed: int) -> list[Any]:
    """The networks of a set, and what they stand against."""
    given = (name, settings, seed)
    made = [texts.projection_row(name, network, *given[1:]) for network in NETWORKS[name]]
    if name in (*SMALL_SETS, "emoji_tweeteval"):
        made += [texts.word_row(name, network, *given[1:]) for network in NETWORKS[name]]
    kinds = texts.SKLEARN if name in SMALL_SETS else texts.SKLEARN[1:]
    made += [texts.sklearn_row(name, kind, *given[1:]) for kind in kinds]
    if name in SMALL_SETS:
        made.append(texts.sklearn_row(name, kinds[0], *given[1:], against="small bag"))
    return made


def timed_rows(limit: int | None = None) -> list[Any]:
    """Every timed model on the cores there are."""
    cores, made = len(os.sched_getaffinity(0)), []
    for name, networks in TIMED.items():
        settings = SETTINGS[name] if limit is None else Settings(1, limit=limit)
        if limit is not None:
            networks = networks[:1]
        made += [speed.speed_row(name, network, settings, cores) for network in networks]
        made += [speed.sklearn_speed_row(name, k, settings, cores) for k in texts.SKLEARN]
    return made


def quick_rows(limit: int = 200) -> list[Any]:
    """Some of each kind, on a few examples."""
    some = Settings(epochs=1, limit=limit)
    return [
        digits.digit_row("plain", "joint", 0, limit),
        digits.digit_row("hidden", "self", 0, limit),
        digits.digit_row("pictures", "self", 0, limit),
        texts.projection_row("atis", "tiny bag", some, 0),
        texts.projection_row("atis", "tiny words", some, 0),
        texts.word_row("atis", "tiny bag", some, 0),
        texts.sklearn_row("atis", "SGD", some, 0),
        texts.sklearn_row("atis", "SGD", some, 0, against="tiny bag"),
        speed.features_row("atis", "tiny bag", some, 10),
    ]


def main() -> None:
    """Measures what is missing, and writes after every row."""
    options = experiments.parser(
        "Train and measure projection networks.", "projections.json", quick="a few examples each"
    )
    options.add_argument("--time", action="store_true", help="how fast the models of texts are")
    given = options.parse_args()
    if given.time and given.out == experiments.RESULTS / "projections.json":
        given.out = given.out.with_name("projections_speed.json")
    chosen = (timed_rows(200) if given.quick else timed_rows()) if given.time else None
    experiments.carry_out(chosen or (quick_rows() if given.quick else rows()), given)


if __name__ == "__main__":
    main()
