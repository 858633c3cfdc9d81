"""Where each structure wins: over width, compression and recipe.

    python benchmarks/training/structure_map.py                # what is still missing
    python benchmarks/training/structure_map.py --only map     # or: --only recipe

Two parts of benchmarks/results/training_map.json, on Shakespeare's characters with one LSTM, all
kernels by one spec, each structure at the rate that ``language_model.py`` chose; test bits:

* ``map``: the structures over hidden sizes and compressions, in 3,000 steps. ``language_model.py``
  is its continuation at a width of 256, in 6,000 steps.
* ``recipe``: what else might help them, at one width: learning from the dense model, longer and
  later pruning, more steps, other dropout, kernels per gate, blocks of several sizes, several
  Kronecker terms, rates by factor, regrowth, other scores. Doped ones have co-matrix dropout unless
  the name says otherwise.
"""

import dataclasses
from collections.abc import Callable

from _data import Text, characters, data_folder
from _experiments import Row, carry_out, parser
from _language import Settings, language_row
from _recipes import CONTENDERS, EARLY_DROPOUT, Recipe, contender, doped, doped_kron

from structlin import specs

HIDDEN, COMPRESSIONS = (64, 128), (5.0, 10.0, 25.0)
STRUCTURES = (
    "DopedKron",
    "Doped LowRank",
    "DopedKron, 16 x 1 blocks",
    "Sparse",
    "LowRank",
    "HMD",
    "Kron",
)
STEPS, WIDTH = 3000, 128


def _by_gate(recipe: Recipe) -> Recipe:
    def spec(compression: float) -> specs.Spec | None:
        whole = recipe.spec(compression)
        return whole and specs.PerGate(whole)

    return dataclasses.replace(recipe, spec=spec)


def _kron(terms: int) -> Callable[[float], specs.Spec]:
    return lambda compression: specs.Kron(terms=terms, compression=compression)


RECIPES = {
    **{name: contender(name) for name in STRUCTURES},
    **{
        f"{name}, distilled": contender(name, distilled=0.5)
        for name in ("DopedKron", "Doped LowRank", "Sparse", "LowRank", "HMD")
    },
    **{
        f"{name}, by gate": _by_gate(contender(name))
        for name in ("DopedKron", "Sparse", "LowRank", "Kron")
    },
    **{
        f"{name}, rates by factor": contender(name, scaled=True)
        for name in ("DopedKron", "LowRank", "HMD", "Kron")
    },
    **{
        f"{name}, rates by factor, spectral start": contender(name, scaled=True, spectral=True)
        for name in ("DopedKron", "LowRank", "HMD", "Kron")
    },
    "DopedKron, pruned until 30 %": contender("DopedKron", pruned=0.3),
    "DopedKron, pruned until 90 %": contender("DopedKron", pruned=0.9),
    "DopedKron, pruned from 20 % on": contender("DopedKron", begin=0.2),
    "DopedKron, entries start large": contender("DopedKron", scales=(1.0, 10.0)),
    "DopedKron, entries start large, structure small": contender("DopedKron", scales=(0.1, 10.0)),
    "Doped LowRank, entries start large": contender("Doped LowRank", scales=(1.0, 10.0)),
    "DopedKron, no dropout": contender("DopedKron", dropout=0.0),
    "DopedKron, no dropout, by gate": _by_gate(contender("DopedKron", dropout=0.0)),
    "DopedKron, no dropout, by gate, entries start large": _by_gate(
        contender("DopedKron", dropout=0.0, scales=(1.0, 10.0))
    ),
    "DopedKron, no dropout, entries start large": contender(
        "DopedKron", dropout=0.0, scales=(1.0, 10.0)
    ),
    "Doped LowRank, no dropout": contender("Doped LowRank", dropout=0.0),
    "DopedKron, 4 x 1 blocks": doped_kron((1, 4), dropout=EARLY_DROPOUT),
    "DopedKron, 8 x 1 blocks": doped_kron((1, 8), dropout=EARLY_DROPOUT),
    "DopedKron, fixed support": doped_kron(anneal=False, pruned=0.0),
    "DopedKron, all entries compete": contender("DopedKron", sparsify={"axis": None}),
    "Sparse, all entries compete": contender("Sparse", sparsify={"axis": None}),
    "DopedKron, movement": contender("DopedKron", sparsify={"score": "movement"}),
    "DopedKron, no dropout, by gate, movement": _by_gate(
        contender("DopedKron", dropout=0.0, sparsify={"score": "movement"})
    ),
    "Sparse, movement": contender("Sparse", sparsify={"score": "movement"}),
    "DopedKron, Fisher": contender("DopedKron", sparsify={"score": "fisher"}),
    "Sparse, Fisher": contender("Sparse", sparsify={"score": "fisher"}),
    **{
        f"{name}, regrowth": contender(
            name, dropout=0.0, sparsify={"key": 0, "regrow": 0.3, "every": 100}
        )
        for name in ("DopedKron", "Sparse")
    },
    **{f"Kron, {t} terms": contender("Kron", spec=_kron(t)) for t in (2, 4)},
    **{
        f"Doped Kron, half of the bytes, {t} terms": doped(
            _kron(t), share=0.5, dropout=EARLY_DROPOUT
        )
        for t in (2, 4)
    },
    "Doped LowRank, half of the bytes": doped(
        lambda c: specs.LowRank(compression=c), share=0.5, dropout=EARLY_DROPOUT
    ),
    "Doped LowRank, most of the bytes": doped(
        lambda c: specs.LowRank(compression=c), share=0.75, dropout=EARLY_DROPOUT
    ),
}
AT_25X = (
    *STRUCTURES,
    "DopedKron, distilled",
    "LowRank, distilled",
    "DopedKron, by gate",
    "Kron, by gate",
    "DopedKron, pruned until 90 %",
    "DopedKron, entries start large",
    "DopedKron, no dropout",
    "DopedKron, no dropout, by gate",
    "DopedKron, 4 x 1 blocks",
    "DopedKron, all entries compete",
    "Sparse, all entries compete",
    "DopedKron, movement",
    "Kron, 2 terms",
    "Doped Kron, half of the bytes, 4 terms",
)
"""Those that are tried at 25x too: what was not far behind at 10x."""

LONGER = ("Dense", "DopedKron", "Doped LowRank", "Sparse", "LowRank")
"""Those that also train for four times as many steps."""


def map_rows(text: Text) -> list[Row]:
    """Every structure at every width and compression, small widths first."""
    made = []
    for hidden in HIDDEN:
        settings = Settings(hidden=hidden, steps=STEPS)
        dense = language_row(f"map, {hidden}, Dense", text, settings, CONTENDERS["Dense"], 1.0, 0)
        made.append(dense)
        for asked in COMPRESSIONS:
            for name in STRUCTURES:
                called = f"map, {hidden}, {asked:g}x, {name}"
                made.append(language_row(called, text, settings, CONTENDERS[name], asked, 0))
    return made


def recipe_rows(text: Text) -> list[Row]:
    """Every recipe at 10x, those of `AT_25X` at 25x."""
    settings = Settings(hidden=WIDTH, steps=STEPS)
    longer = dataclasses.replace(settings, steps=4 * STEPS)
    dense = language_row("recipe, Dense", text, settings, CONTENDERS["Dense"], 1.0, 0)
    made = [dense]
    for asked in COMPRESSIONS[1:]:
        for name in RECIPES if asked == COMPRESSIONS[1] else AT_25X:
            recipe = RECIPES[name]
            teacher = dense if recipe.distilled else None
            called = f"recipe, {asked:g}x, {name}"
            made.append(language_row(called, text, settings, recipe, asked, 0, teacher))
        for name in LONGER:
            size = 1.0 if name == "Dense" else asked
            called = f"recipe, {size:g}x, {name}, 4 times the steps"
            made.append(language_row(called, text, longer, contender(name), size, 0))
    return list({row.name: row for row in made}.values())


if __name__ == "__main__":
    OPTIONS = parser("Map where each structure wins.", "training_map.json")
    TEXT = characters(data_folder() / "tinyshakespeare/input.txt")
    carry_out([*map_rows(TEXT), *recipe_rows(TEXT)], OPTIONS.parse_args())
