"""What pruning costs a doped Kronecker product without co-matrix dropout, and with it.

    python benchmarks/training/co_matrix_adaptation.py

Two parts of benchmarks/results/training_co_matrix.json, on Shakespeare's characters with one LSTM
of 256, in a third of the steps of ``language_model.py`` and at the rate that it chose:

* ``curve``: test bits over the compression that pruning ends at, without dropout and with it; those
  at 10x are the rates of the grid.
* ``grid``: the variants of the dropout at 10x, and alternation in its place.

What decides, dropout or none, has three seeds; the other variants have the first, which is enough
to drop what is far behind.
"""

import dataclasses

from _data import Text, characters, data_folder
from _experiments import Row, carry_out, parser
from _language import Settings, language_row
from _recipes import CONTENDERS, Recipe

SETTINGS = Settings(steps=2000)
MAIN, COMPRESSIONS = 10.0, (2.0, 5.0, 20.0, 40.0)
CURVE_RATES, SEEDS = (0.0, 0.1), (0, 1, 2)
BASE = CONTENDERS["DopedKron"]


def _dropout(rate: float, **options: object) -> Recipe:
    fields = {name: options.pop(name) for name in ("constant",) if name in options}
    return dataclasses.replace(BASE, dropout=rate, variant=options, **fields)


GRID = {
    **{f"rate {rate:g}": _dropout(rate) for rate in (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)},
    "exclusive": _dropout(0.1, paths="exclusive"),
    "sparse part only": _dropout(0.1, paths="sparse"),
    "structured part only": _dropout(0.1, paths="structured"),
    "16 columns": _dropout(0.1, columns=16),
    "whole gates": _dropout(0.1, gates=4),
    "constant until pruned": _dropout(0.1, constant=True),
    "not rescaled": _dropout(0.1, rescale=False),
    "pruned from 20 % on": dataclasses.replace(_dropout(0.1), begin=0.2),
    "pruned until 85 %": dataclasses.replace(_dropout(0.1), pruned=0.85),
    "alternating": dataclasses.replace(_dropout(0.0), alternating=100),
}
"""Variants at 10x; where a name says no rate it is 0.1."""


def rows(text: Text) -> list[Row]:
    """The grid and the curve of the first seed, then what decides of the others."""

    def one(part: str, recipe: Recipe, asked: float, seed: int) -> Row:
        name = f"{part}, seed {seed}"
        return language_row(name, text, SETTINGS, recipe, asked, seed)

    decisive = [f"rate {rate:g}" for rate in CURVE_RATES]
    made = []
    for seed in SEEDS:
        names = GRID if seed == SEEDS[0] else decisive
        made += [one(f"grid, {name}", GRID[name], MAIN, seed) for name in names]
        made += [
            one(f"curve, rate {rate:g}, {asked:g}x", _dropout(rate), asked, seed)
            for asked in COMPRESSIONS
            for rate in CURVE_RATES
        ]
        made.append(one("dense", CONTENDERS["Dense"], 1.0, seed))
    return made


if __name__ == "__main__":
    OPTIONS = parser("Measure what co-matrix dropout is for.", "training_co_matrix.json")
    carry_out(rows(characters(data_folder() / "tinyshakespeare/input.txt")), OPTIONS.parse_args())
