"""Trains language models from scratch, an LSTM of every structure, and measures them.

    python benchmarks/training/language_model.py                         # what is still missing
    python benchmarks/training/language_model.py --only '10x, seed 0'    # rows of this name
    python benchmarks/training/language_model.py --rates                 # chooses learning rates
    python benchmarks/training/language_model.py --scale words           # WikiText-2, on a CPU
    python benchmarks/training/language_model.py --scale medium          # for an accelerator
    python benchmarks/training/language_model.py --quick --out quick.json

All kernels of the LSTMs are made by one spec; embedding, biases and output layer are dense and not
counted. What is sparse starts full and is pruned meanwhile, or has a support that is drawn once
(see `_recipes.py`). Sizes are those of the packed kernels, indices counted; a structure whose
shapes are few, such as `Kron`, may be smaller than asked for. Figures are bits of a character or a
word.

The small scale: Shakespeare's characters (``tinyshakespeare``), one LSTM of 256, each structure at
its best rate of those tried on the validation part, after 1,500 steps of seed 0 at 10x; doped
Kronecker products of a large host have the rate of those of a small one, or that of a Kronecker
product where their support is fixed; most have half of theirs too. The words: the 10,000 most
frequent ones of WikiText-2, one LSTM of 650 that reads the text once, at several rates. The medium
scale: all of its words, two LSTMs of 650, dropout, the layers of Zaremba et al. (2014), all models
in one program (`_side_by_side.py`), for some five passes. Rates there are those of the small scale
times 256 / 650, as the rate of kernels should fall under Adam (Yang et al., 2021).
"""

import dataclasses

from _data import Text, characters, data_folder, words
from _experiments import Row, carry_out, parser
from _language import Settings, language_row
from _recipes import CONTENDERS, RATE_NAMES, Recipe, contender
from _side_by_side import Member, side_by_side_rows

LARGE_HOSTS = [name for name in CONTENDERS if "large host" in name]
STRUCTURED = [name for name in CONTENDERS if name not in ("Dense", *LARGE_HOSTS)]
MAIN, OTHERS, SEEDS = 10.0, (5.0, 25.0), (0, 1, 2)
"""The compression of all seeds, and those of the first seed alone."""
LITTLE = (2.0, 4.0)
"""Compressions at which HMD, made for them, and low rank alone are compared."""
LOWER_RATES = (  # those that have half of their rate as well
    "LowRank",
    "HMD",
    "DopedKron",
    "DopedKron, 16 x 1 blocks",
    "Sparse",
    "Doped LowRank",
    "Kron",
)

RATES = (3e-3, 6e-3, 1.2e-2, 2.4e-2)
RATE_STEPS = 1500
WORD_RATES, WORD_RATE_STEPS = (2.4e-3, 4.7e-3, 9.5e-3), 400
WORDS = 10_000
SMALL, QUICK = Settings(), Settings(steps=300)
ON_A_CPU = Settings(hidden=650, batch=20, time=35, steps=2930)
MEDIUM = Settings(hidden=650, batch=80, time=35, steps=3_750, layers=2, dropout=0.5)
MEDIUM_RATES = Settings(hidden=650, batch=80, time=35, steps=1_500, layers=2, dropout=0.5)
BY_COUNT = 17.5
"""The compression in bytes at which a matrix of single entries has 25 times fewer parameters."""


def small_rows() -> list[Row]:
    """All models of the small scale, those that matter most first."""
    text = characters(data_folder() / "tinyshakespeare/input.txt")
    main = [("Dense", 1.0), *((name, MAIN) for name in STRUCTURED)]
    fixed = "Sparse, fixed support"  # seen at 10x; elsewhere that of doped low rank stands for it
    others = [(name, c) for c in OTHERS for name in STRUCTURED if name != fixed]
    others += [(name, OTHERS[-1]) for name in LARGE_HOSTS]
    others += [(name, c) for c in LITTLE for name in ("HMD", "LowRank")]
    parts = [(main, SEEDS[0]), *((main, seed) for seed in SEEDS[1:]), (others, SEEDS[0])]
    made = [row_of(text, SMALL, n, c, seed=seed) for part, seed in parts for n, c in part]
    # rates were chosen at 10x, in a quarter of the steps: a lower one may suit
    halves = [(name, c) for name in ("LowRank", "HMD") for c in LITTLE]
    halves += [(name, c) for c in (OTHERS[0], MAIN, OTHERS[1]) for name in LOWER_RATES]
    made += [row_of(text, SMALL, name, c, 0.5) for name, c in (*halves, ("Dense", 1.0))]
    again = ("Sparse", "DopedKron", "Doped LowRank")  # they come first at half of their rate
    return made + [row_of(text, SMALL, n, MAIN, 0.5, seed=s) for n in again for s in SEEDS[1:]]


def quick_rows() -> list[Row]:
    """A few models on the embedded text."""
    text, names = characters(), ("DopedKron", "LowRank", "Sparse")
    return [row_of(text, QUICK, "Dense", 1.0), *(row_of(text, QUICK, n, MAIN) for n in names)]


def rate_rows() -> list[Row]:
    """Every structure at every rate, in a quarter of the steps."""
    text = characters(data_folder() / "tinyshakespeare/input.txt")
    settings = dataclasses.replace(SMALL, steps=RATE_STEPS)
    made = []
    for name in ("Dense", *STRUCTURED):
        for rate in RATES:
            recipe = contender(name, learning_rate=rate)
            asked = 1.0 if name == "Dense" else MAIN
            made.append(language_row(f"{name}, rate {rate:g}", text, settings, recipe, asked, 0))
    return made


def word_rows(text: Text, settings: Settings) -> list[Row]:
    """The contenders of the papers, at their compression; four at other rates too."""
    usual = (*LARGE_HOSTS, "Kron")
    models = [(name, 25.0, 1.0) for name in usual]
    models.append(("Sparse", MAIN, 1.0))
    for factor in (1.0, 2.0, 0.5):  # the best rate of 400 steps is too high for a whole pass
        models.append(("Dense", 1.0, factor))
        models += [(name, 25.0, factor) for name in ("DopedKron", "LowRank", "Sparse")]
    return [row_of(text, settings, *model) for model in models]


def word_rate_rows(text: Text) -> list[Row]:
    """The same contenders at three rates, in a seventh of the steps."""
    settings = dataclasses.replace(ON_A_CPU, steps=WORD_RATE_STEPS)
    fixed = LARGE_HOSTS[-1]
    made = []
    for name in ("Dense", "Kron", fixed, "LowRank", "Sparse", "DopedKron"):
        for rate in WORD_RATES:
            recipe = dataclasses.replace(CONTENDERS[name], learning_rate=rate)
            asked = 1.0 if name == "Dense" else 25.0
            made.append(language_row(f"{name}, rate {rate:g}", text, settings, recipe, asked, 0))
    return made


def medium_rows(text: Text, seed: int = 0, *, keep: bool = True) -> list[Row]:
    """All that the papers compare; two at half the rate too."""
    counted = [(name, BY_COUNT) for name in ("DopedKron", "Sparse")]
    others = [(name, 25.0) for name in ("LowRank", "HMD", "Kron", "DopedKron")]
    models = [(n, a, 1.0) for n, a in (("Dense", 1.0), *counted, *others)]
    models += [("Dense", 1.0, 0.5), ("DopedKron", BY_COUNT, 0.5)]
    each = []
    for name, asked, factor in models:
        recipe = scaled(name, MEDIUM, factor)
        each.append(Member(called(name, asked, factor, seed), recipe, asked))
    return side_by_side_rows(f"side by side, seed {seed}", text, MEDIUM, each, seed, keep=keep)


def medium_rate_rows(text: Text, *, keep: bool = True) -> list[Row]:
    """Those of most interest at half, once and twice the rate, in fewer steps."""
    each = []
    for name, asked in (("Dense", 1.0), ("DopedKron", BY_COUNT), ("LowRank", 25.0)):
        usual = scaled(name, MEDIUM).learning_rate
        for rate in (usual / 2, usual, 2 * usual):
            recipe = contender(name, learning_rate=float(f"{rate:.2g}"), dropout=0.0)
            each.append(Member(f"medium, {name}, rate {recipe.learning_rate:g}", recipe, asked))
    return side_by_side_rows("medium rates", text, MEDIUM_RATES, each, 0, keep=keep)


def scaled(name: str, settings: Settings, factor: float = 1.0) -> Recipe:
    """A contender; its rate falls as the width grows, times a factor."""
    rate = factor * CONTENDERS[name].learning_rate * SMALL.hidden / settings.hidden
    return dataclasses.replace(CONTENDERS[name], learning_rate=float(f"{rate:.2g}"))


def row_of(
    text: Text, settings: Settings, name: str, asked: float, factor: float = 1.0, *, seed: int = 0
) -> Row:
    """A contender at a compression, its rate times a factor."""
    recipe = scaled(name, settings, factor)
    return language_row(called(name, asked, factor, seed), text, settings, recipe, asked, seed)


def called(name: str, asked: float, factor: float, seed: int) -> str:
    """What a row is called: the structure, its rate if it is not its usual one, size and seed."""
    return f"{name}{RATE_NAMES[factor]}, {asked:g}x, seed {seed}"


def main() -> None:
    """Measures what is missing, and writes after every row."""
    options = parser(
        "Train language models of every structure.",
        "training_language_model.json",
        quick="four rows on the embedded text",
    )
    options.add_argument("--scale", choices=("small", "words", "medium"), default="small")
    options.add_argument("--rates", action="store_true", help="every structure at several rates")
    options.add_argument("--no-checkpoints", action="store_true", help="of the medium scale")
    given = options.parse_args()
    if given.quick:
        rows = quick_rows()
    elif given.scale == "medium":
        text, keep = words(data_folder() / "wikitext2"), not given.no_checkpoints
        rows = (medium_rate_rows if given.rates else medium_rows)(text, keep=keep)
        name = "rates_medium" if given.rates else "language_model_medium"
        given.out = given.out.with_name(f"training_{name}.json")
    elif given.rates and given.scale == "words":
        given.out = given.out.with_name("training_rates_words.json")
        rows = word_rate_rows(words(data_folder() / "wikitext2", WORDS))
    elif given.rates:
        rows, given.out = rate_rows(), given.out.with_name("training_rates.json")
    elif given.scale == "small":
        rows = small_rows()
    else:
        given.out = given.out.with_name("training_language_model_words.json")
        rows = word_rows(words(data_folder() / "wikitext2", WORDS), ON_A_CPU)
    carry_out(rows, given)


if __name__ == "__main__":
    main()
