"""Trained models of others in ordinary Flax modules, read by `structlin.convert`, and their tests.

Each model is a `Trained`: an unmodified Linen module, its parameters, and what it is good for,
measured by `evaluate`. The files and the texts are read from the folder of data sets
(``$STRUCTLIN_DATA``, by default ``../shared/data`` beside the project).
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import structlin as sl

ROOT = Path(__file__).resolve().parents[1]
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH"),
    *("T", "TH", "UW", "V", "W", "Y", "Z", "ZH"),
)
PHONEMES = [
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    *sorted([v + s for v in VOWELS for s in "012"] + [*CONSONANTS]),
]
START, STOP = PHONEMES.index("<s>"), PHONEMES.index("</s>")
MOST = 20
"""How many phonemes of a word are made at most, as in the package of the model."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model and its test.

    Attributes:
        name: Its folder, and file where there are several.
        module: The Linen module; its parameters are those of Flax's own layers.
        params: What it was trained to.
        cells: Where in ``params`` its recurrent cells are, and of which kind.
        metric: The name of the figure that counts, in what ``test`` returns.
        test: Parameters (dense) to figures.
        loss: ``loss(params, batch)``, what it was trained on; runs the module once.
        batches: Some data for ``loss``, none of which ``test`` counts.
    """

    name: str
    module: nn.Module
    params: dict[str, Any]
    cells: dict[tuple[str, ...], str]
    metric: str
    test: Callable[[Any], dict[str, float]]
    loss: Callable[[Any, Any], jax.Array]
    batches: list[Any]


def evaluate(model: Trained, params: Any) -> dict[str, float]:
    """The figures of a model with other parameters; structured ones are formed as dense arrays."""
    return model.test(sl.densify(params))


def data_folder() -> Path:
    """The folder of data sets.

    Raises:
        FileNotFoundError: There is none.
    """
    folder = Path(os.environ.get("STRUCTLIN_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"No data sets in {folder}: set STRUCTLIN_DATA to the folder that holds them."
        )
    return folder


class CharRNN(nn.Module):
    """Embedding, two LSTM layers, and the logits of the next character.

    Attributes:
        vocabulary: How many characters there are.
        hidden: The width of the embedding and of both layers.
    """

    vocabulary: int
    hidden: int = 128

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits ``(time, batch, vocabulary)`` for characters ``(time, batch)``, from rest."""
        x: Any = nn.Embed(self.vocabulary, self.hidden, name="embed")(tokens)
        for name in ("cell_0", "cell_1"):
            cell = nn.OptimizedLSTMCell(self.hidden, name=name)
            x = nn.RNN(cell, time_major=True, name=f"rnn_{name}")(x)
        return nn.Dense(self.vocabulary, name="out")(x)


class G2P(nn.Module):
    """A GRU that reads the letters of a word and one that writes its phonemes, each the likeliest.

    Attributes:
        hidden: The width of both embeddings and both cells.
    """

    hidden: int = 256

    def setup(self) -> None:
        """Makes the parts."""
        self.letters = nn.Embed(len(LETTERS), self.hidden)
        self.encoder = nn.GRUCell(self.hidden)
        self.phonemes = nn.Embed(len(PHONEMES), self.hidden)
        self.decoder = nn.GRUCell(self.hidden)
        self.out = nn.Dense(len(PHONEMES))
        self.reader = nn.RNN(self.encoder, return_carry=True)
        self.writer = nn.RNN(self.decoder)

    def read(self, letters: jax.Array, lengths: jax.Array) -> jax.Array:
        """The encoder's last state, ``(batch, hidden)``."""
        state, _ = self.reader(self.letters(letters), seq_lengths=lengths)
        return state

    def logits(self, letters: jax.Array, lengths: jax.Array, phonemes: jax.Array) -> jax.Array:
        """Logits of the phoneme after each of ``phonemes`` ``(batch, time)``, which are given."""
        state = self.read(letters, lengths)
        return self.out(self.writer(self.phonemes(phonemes), initial_carry=state))

    def __call__(self, letters: jax.Array, lengths: jax.Array) -> jax.Array:
        """Phonemes ``(batch, MOST)`` for letters ``(batch, time)`` of words of these lengths."""

        def step(module: "G2P", carry: Any, _: None) -> tuple[Any, jax.Array]:
            state, last = carry
            state, y = module.decoder(state, module.phonemes(last))
            best = jnp.argmax(module.out(y), axis=-1)
            return (state, best), best

        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False},
            length=MOST,
            out_axes=1,
        )
        start = jnp.full(letters.shape[:1], START)
        return scan(self, (self.read(letters, lengths), start), None)[1]


def charrnn(name: str, characters: int | None = 100_000) -> Trained:
    """A character LSTM of ml5.js, ``"shakespeare"`` or ``"charlotte_bronte"``.

    It is tested on the text that it was trained on: there is no other of its kind.

    Args:
        name: Which of the two.
        characters: How many to test on, spread over the whole text; all of it if ``None``.
    """
    data = data_folder()
    folder = data / "models" / "ml5_charrnn"
    text_file = {
        "shakespeare": "tinyshakespeare/input.txt",
        "charlotte_bronte": "bronte/bronte.txt",
    }
    vocabulary = json.loads((folder / f"{name}.vocab.json").read_text("utf-8"))
    with np.load(folder / f"{name}.npz") as file:
        weights = dict(file)
    params: dict[str, Any] = {
        "embed": {"embedding": jnp.asarray(weights["embedding"])},
        "out": {
            "kernel": jnp.asarray(weights["rnnlm_softmax_w"]),
            "bias": jnp.asarray(weights["rnnlm_softmax_b"]),
        },
    }
    for cell in ("cell_0", "cell_1"):
        params[cell] = sl.convert(weights, prefix=f"{cell}_basic_lstm_cell")
    text = (data / text_file[name]).read_text("utf-8")
    tokens = np.array([vocabulary[c] for c in text], np.int32)
    module = CharRNN(len(vocabulary))
    cells = {("cell_0",): "lstm", ("cell_1",): "lstm"}
    test = functools.partial(bits_a_character, module, tokens, characters)
    loss = functools.partial(bits, module)
    batches = other_characters(tokens)
    return Trained(
        f"ml5_charrnn/{name}", module, params, cells, "bits_per_character", test, loss, batches
    )


STREAMS, WARM_UP = 256, 100
CALIBRATION = 32
"""How many batches there are to calibrate on."""


def bits_a_character(
    module: CharRNN, tokens: np.ndarray, characters: int | None, params: Any
) -> dict[str, float]:
    """Mean bits of a text's characters, each given those before it.

    The text is read at `STREAMS` places at once, as far apart as can be; reading begins `WARM_UP`
    characters before the first that counts. Of the whole text, only its first `WARM_UP` characters
    and a remainder do not count.
    """
    apart = _apart(tokens)
    length = min(apart, (characters or len(tokens)) // STREAMS)
    chunks = -(-length // 500)
    chunk, total = length // chunks, 0.0
    count = jax.jit(functools.partial(bits, module))
    for first in range(chunks):
        time = first * chunk + np.arange(WARM_UP + chunk + 1)
        at = time[:, None] + np.arange(STREAMS) * apart
        total += float(count(params, jnp.asarray(tokens[at])))
    return {"bits_per_character": total / chunks}


def other_characters(tokens: np.ndarray, steps: int = 50, streams: int = 16) -> list[jax.Array]:
    """Characters ``(time, streams)`` to calibrate on: the last ones before each place of the test.

    The test reads on from its places, and does not come so far unless it reads the whole text.
    """
    apart = _apart(tokens)
    ends = apart * np.random.default_rng(0).choice(
        np.arange(1, STREAMS), (CALIBRATION, streams), replace=True
    )
    time = np.arange(-WARM_UP - steps, 0)
    return [jnp.asarray(tokens[time[:, None] + end]) for end in ends]


def _apart(tokens: np.ndarray) -> int:
    return (len(tokens) - 1 - WARM_UP) // STREAMS


def bits(module: CharRNN, params: Any, tokens: jax.Array) -> jax.Array:
    """Mean bits of the characters ``(time, streams)`` after the first `WARM_UP`."""
    logits: Any = module.apply({"params": params}, tokens[:-1])
    found = jax.nn.log_softmax(logits[WARM_UP:])
    right = jnp.take_along_axis(found, tokens[1 + WARM_UP :, :, None], axis=-1)
    return -jnp.mean(right) / jnp.log(2.0)


def silero_cell() -> tuple[nn.OptimizedLSTMCell, dict[str, Any]]:
    """The LSTM cell, 128 to 128, of Silero's voice activity detector, and its parameters."""
    path = data_folder() / "models" / "silero_vad" / "silero_vad_16k.safetensors"
    return nn.OptimizedLSTMCell(128), sl.convert(path, prefix="lstm_cell")


def g2p(words: int = 4000) -> Trained:
    """The grapheme-to-phoneme model of g2p_en, tested on words of the CMU dictionary."""
    data = data_folder()
    with np.load(data / "models" / "g2p_en" / "checkpoint20.npz") as file:
        weights = dict(file)
    params: dict[str, Any] = {
        "letters": {"embedding": jnp.asarray(weights["enc_emb"])},
        "phonemes": {"embedding": jnp.asarray(weights["dec_emb"])},
        "out": {"kernel": jnp.asarray(weights["fc_w"].T), "bias": jnp.asarray(weights["fc_b"])},
    }
    for side, name in (("enc", "encoder"), ("dec", "decoder")):
        renamed = {
            f"weight_{n}".replace("weight_b", "bias"): weights[f"{side}_{key}"]
            for n, key in (("ih", "w_ih"), ("hh", "w_hh"), ("b_ih", "b_ih"), ("b_hh", "b_hh"))
        }
        params[name] = sl.convert(renamed)
    module = G2P()
    tested, others = sample(data / "cmudict" / "cmudict", words)
    test = functools.partial(word_accuracy, module, tested)
    loss, batches = functools.partial(phoneme_loss, module), batches_of(others)
    cells = {("encoder",): "gru", ("decoder",): "gru"}
    return Trained("g2p_en", module, params, cells, "word_accuracy", test, loss, batches)


Dictionary = list[tuple[str, list[list[str]]]]


def dictionary(path: Path) -> Dictionary:
    """Every word of letters alone, with all of its pronunciations, in the order of the file."""
    found: dict[str, list[list[str]]] = {}
    for line in path.read_text("latin-1").splitlines():
        word, _, *phonemes = line.split()
        if word.isascii() and word.isalpha():
            found.setdefault(word.lower(), []).append(phonemes)
    return list(found.items())


def sample(path: Path, words: int, others: int = 1024) -> tuple[Dictionary, Dictionary]:
    """Words drawn from the dictionary to test on and others, always the same ones."""
    known = dictionary(path)
    rng = np.random.default_rng(0)
    tested = rng.choice(len(known), min(words, len(known)), replace=False)
    rest = rng.permutation(np.setdiff1d(np.arange(len(known)), tested))[:others]
    return [known[i] for i in sorted(tested)], [known[i] for i in rest]


def batches_of(words: Dictionary, batch: int = 32) -> list[Any]:
    """Letters, lengths and phonemes with their ends, padded by ends, in batches of one shape."""
    letters, lengths = spelled([word for word, _ in words])
    phonemes = np.full((len(words), max(len(p[0]) for _, p in words) + 2), STOP, np.int32)
    phonemes[:, 0] = START
    for row, (_, pronunciations) in zip(phonemes, words, strict=True):
        first = pronunciations[0]
        row[1 : len(first) + 1] = [PHONEMES.index(p) for p in first]
    arrays = [jnp.asarray(a) for a in (letters, lengths, phonemes)]
    return [
        tuple(a[i : i + batch] for a in arrays) for i in range(0, len(words) - batch + 1, batch)
    ]


def phoneme_loss(module: G2P, params: Any, batch: Any) -> jax.Array:
    """Mean nats of a phoneme, or of the end, given those before it."""
    letters, lengths, phonemes = batch
    variables = {"params": params}
    logits: Any = module.apply(variables, letters, lengths, phonemes[:, :-1], method=module.logits)
    right = jnp.take_along_axis(jax.nn.log_softmax(logits), phonemes[:, 1:, None], axis=-1)[..., 0]
    counts = phonemes[:, :-1] != STOP
    return -jnp.sum(right * counts) / jnp.sum(counts)


def word_accuracy(module: G2P, words: Dictionary, params: Any) -> dict[str, float]:
    """Shares of words right, and of phonemes wrong, against the nearest pronunciation."""
    guesses = pronounce(module, params, [word for word, _ in words])
    right = wrong = total = 0
    for guess, (_, pronunciations) in zip(guesses, words, strict=True):
        distances = [edit_distance(guess, p) for p in pronunciations]
        best = int(np.argmin(distances))
        right += distances[best] == 0
        wrong += distances[best]
        total += len(pronunciations[best])
    return {"word_accuracy": right / len(words), "phoneme_error": wrong / total}


def pronounce(module: G2P, params: Any, words: list[str], batch: int = 1000) -> list[list[str]]:
    """The phonemes of each word."""
    letters, lengths = spelled(words)
    more = -len(words) % batch
    letters = np.pad(letters, ((0, more), (0, 0)), constant_values=LETTERS.index("</s>"))
    lengths = np.pad(lengths, (0, more), constant_values=1)
    found = [
        _pronounce(module, params, jnp.asarray(letters[at]), jnp.asarray(lengths[at]))
        for at in (slice(i, i + batch) for i in range(0, len(letters), batch))
    ]
    rows = np.concatenate([np.asarray(f) for f in found])[: len(words)]
    return [[PHONEMES[p] for p in row[: _until(row)]] for row in rows]


def spelled(words: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The letters of each word and its end, padded by ends, and how many they are."""
    lengths = np.array([len(w) + 1 for w in words], np.int32)
    letters = np.full((len(words), lengths.max()), LETTERS.index("</s>"), np.int32)
    for row, word in zip(letters, words, strict=True):
        row[: len(word)] = [LETTERS.index(c) if c in LETTERS else 1 for c in word]
    return letters, lengths


@functools.partial(jax.jit, static_argnums=0)
def _pronounce(module: G2P, params: Any, letters: jax.Array, lengths: jax.Array) -> jax.Array:
    result: Any = module.apply({"params": params}, letters, lengths)
    return result


def _until(row: np.ndarray) -> int:
    stops = np.flatnonzero(row == STOP)
    return int(stops[0]) if len(stops) else len(row)


def edit_distance(a: list[str], b: list[str]) -> int:
    """The fewest insertions, deletions and replacements between two lists."""
    if a == b:
        return 0
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(corner + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]
