"""Pruning in rounds and gradual pruning of the same LSTM, from half of the weights to a fortieth.

    python benchmarks/training/pruning.py

Shakespeare's characters, one LSTM of 256, both kernels pruned, entries of a column competing; test
bits of a character, in benchmarks/results/training_pruning.json. All that reach a sparsity have
taken as many steps to it:

* ``iterative``: dense for `DENSE` steps, then rounds that prune to 50, 75, 90, 95 and 97.5 % at
  once and train for `ROUND` steps at the first rate, or ``small rate`` at a tenth of it (Han et
  al., 2015; Renda et al., 2020). It is what `structlin.train.iterative_pruning` does, each round a
  row of its own here.
* ``gradual``: cubic pruning from 5 to 60 % of the steps, from scratch (Zhu and Gupta, 2017).
* ``at once``: dense for `DENSE` steps, pruned to 90 % in one step, and trained on.
* ``dense``: never pruned, as many steps.

The first seed has all; the way to 90 % at the first rate has three, and so has gradual pruning to
90 % at half of it, which is the dense model's own.
"""

from _data import Text, characters, data_folder
from _experiments import Row, carry_out, parser
from _language import Settings, language_row
from _recipes import CONTENDERS, RATE_NAMES, Recipe

from structlin import specs

DENSE, ROUND = 2000, 1000
DENSITIES, MAIN = (0.5, 0.25, 0.1, 0.05, 0.025), 3
SEEDS = (0, 1, 2)
RATE = CONTENDERS["Sparse"].learning_rate


def _recipe(rate: float = RATE, pruned: float | None = None, begin: float = 0.0) -> Recipe:
    def spec(density: float) -> specs.Spec:
        return specs.Sparse(density=density, anneal=True)

    return Recipe(spec, learning_rate=rate, pruned=pruned, begin=begin)


def rows(text: Text) -> list[Row]:
    """What leads to 90 % first, seed by seed, then the other sparsities of the first seed."""

    def one(
        name: str, steps: int, recipe: Recipe, density: float, seed: int, start: Row | None = None
    ) -> Row:
        called = f"{name}, {steps} steps" if name == "dense" else f"{name}, {1 - density:.1%}"
        called += RATE_NAMES.get(recipe.learning_rate / RATE, "")
        settings = Settings(steps=steps)
        return language_row(
            f"{called}, seed {seed}", text, settings, recipe, density, seed, start=start
        )

    def in_rounds(name: str, rate: float, dense: Row, seed: int) -> list[Row]:
        made = [dense]
        for density in DENSITIES:
            made.append(one(name, ROUND, _recipe(rate, 0.0), density, seed, made[-1]))
        return made[1:]

    def without_a_stop(density: float, rounds: int, seed: int, rate: float = RATE) -> list[Row]:
        """Those that take all steps of so many rounds."""
        total = DENSE + rounds * ROUND
        gradual = one("gradual", total, _recipe(rate, 0.6, 0.05), density, seed)
        return [gradual, one("dense", total, _recipe(rate), 0.5, seed)]

    made, rest, main = [], [], DENSITIES[MAIN - 1]
    for seed in SEEDS:
        dense = one("dense", DENSE, _recipe(), 0.5, seed)
        at_once = one("at once", MAIN * ROUND, _recipe(RATE, 0.0), main, seed, dense)
        rounds = in_rounds("iterative", RATE, dense, seed)
        made += [dense, *rounds[:MAIN], *without_a_stop(main, MAIN, seed), at_once]
        if seed == SEEDS[0]:
            rest += [*rounds[MAIN:], *in_rounds("iterative, small rate", RATE / 10, dense, seed)]
    for count, density in enumerate(DENSITIES, 1):
        if count != MAIN:
            rest += without_a_stop(density, count, SEEDS[0])
    halves = [row for seed in SEEDS for row in without_a_stop(main, MAIN, seed, RATE / 2)]
    return made + rest + halves


if __name__ == "__main__":
    OPTIONS = parser("Prune an LSTM in rounds and gradually.", "training_pruning.json")
    carry_out(rows(characters(data_folder() / "tinyshakespeare/input.txt")), OPTIONS.parse_args())
