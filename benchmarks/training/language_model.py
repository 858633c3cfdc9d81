"""Trains character language models from scratch, an LSTM of every structure, and measures them.

    python benchmarks/training/language_model.py                        # what is still missing
    python benchmarks/training/language_model.py --only '10x, seed 0'   # rows of this name
    python benchmarks/training/language_model.py --quick --out quick.json

The small scale: Shakespeare's characters (``tinyshakespeare`` among the data sets), one LSTM of 256
on an embedding as wide. Both of its kernels, 256 x 1024, are made by one spec; embedding, biases
and output layer are dense and not counted. What is sparse starts full and is pruned in the first
`PRUNED` of the steps, and co-matrix dropout of a doped matrix falls to 0 meanwhile; where the
support is fixed it is drawn once. Blocks of 16 x 1, 16 outputs that share an input, are blocks of
``(1, 16)`` of a kernel here. The host of a doped low rank or HMD takes a `HOST_SHARE` of the bytes.
All train with one learning rate. Sizes are those of the packed kernels, indices counted; a
structure whose shapes are few, such as `Kron`, may be smaller than asked for.

A row is written to benchmarks/results/training_language_model.json when it is done. A run that was
stopped or killed goes on where it was, within a row too: checkpoints and figures of the steps, for
``tensorboard --logdir``, are in the folder of the runs, by default in the user's cache.

On two cores the 10x rows take 24 (doped Kronecker) to 110 (low rank) steps a second, the dense one
42: two hours for all 48 rows by these rates, 25 minutes for the first ten. ``--quick`` takes 45
seconds, 70 of CPU time.
"""

import argparse
import dataclasses
import datetime
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _data import Streams, Text, Window, characters, data_folder
from _language import Carry, LanguageModel, at_rest, bits, drawn, nats, size
from _trainer import train

import structlin as sl
from structlin import specs
from structlin.demo._results import device_name, write_json

RESULT = Path(__file__).resolve().parents[1] / "results" / "training_language_model.json"
RUNS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "structlin" / "training"
MAIN, OTHERS, SEEDS = 10.0, (5.0, 25.0), (0, 1, 2)
"""The compression of all seeds, and those of the first seed alone."""

PRUNED, DROPOUT, HOST_SHARE = 0.6, 0.05, 1 / 3
CLIP, WARM_UP = 1.0, 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all rows of a file share.

    Attributes:
        text: Among the data sets; empty for the embedded text.
        hidden: The width of the embedding and of the LSTM.
        batch: How many streams are read at once.
        time: Characters between two updates.
        steps: Updates.
        learning_rate: Its peak, after a short warm-up; it falls along half a cosine.
    """

    text: str = "tinyshakespeare/input.txt"
    hidden: int = 256
    batch: int = 16
    time: int = 64
    steps: int = 6000
    learning_rate: float = 3e-3


QUICK = Settings(text="", steps=300)


@dataclasses.dataclass(frozen=True)
class Contender:
    """A structure and how it trains.

    Attributes:
        spec: Of both kernels, for a compression; ``None`` for dense ones.
        pruned: The share of the steps after which its sparse part has its density: 0 where its
            support is fixed, ``None`` where it has none.
        dropout: The rate of co-matrix dropout at the start.
    """

    spec: Callable[[float], specs.Spec | None]
    pruned: float | None = None
    dropout: float = 0.0


def _hmd(compression: float) -> specs.Spec:
    """One for each gate, or the dense columns would all fall to the first."""
    return specs.PerGate(specs.HMD(compression=compression))


def _doped(host: Callable[[float], specs.Spec]) -> Contender:
    def spec(compression: float) -> specs.Spec:
        return specs.Doped(host(compression / HOST_SHARE), compression=compression, anneal=True)

    return Contender(spec, PRUNED, DROPOUT)


def _doped_kron(block: tuple[int, int]) -> Contender:
    def spec(compression: float) -> specs.Spec:
        return specs.DopedKron(compression=compression, block=block, anneal=True)

    return Contender(spec, PRUNED, DROPOUT)


CONTENDERS = {
    "Dense": Contender(lambda _: None),
    "DopedKron": _doped_kron((1, 1)),
    "Doped LowRank": _doped(lambda c: specs.LowRank(compression=c)),
    "Doped HMD": _doped(_hmd),
    "DopedKron, 16 x 1 blocks": _doped_kron((1, 16)),
    "Sparse": Contender(lambda c: specs.Sparse(compression=c, anneal=True), PRUNED),
    "Sparse, fixed support": Contender(lambda c: specs.Sparse(compression=c), 0.0),
    "LowRank": Contender(lambda c: specs.LowRank(compression=c)),
    "HMD": Contender(_hmd),
    "Kron": Contender(lambda c: specs.Kron(compression=c)),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One model to train: a structure, the compression asked of both kernels, and a seed."""

    structure: str
    asked: float
    seed: int

    @property
    def name(self) -> str:
        """What it is called on the command line and in the file."""
        return f"{self.structure}, {self.asked:g}x, seed {self.seed}"


def rows(quick: bool) -> list[Row]:
    """All models, those that matter most first."""
    if quick:
        names = ("DopedKron", "LowRank", "Sparse")
        return [Row("Dense", 1.0, 0), *(Row(name, MAIN, 0) for name in names)]
    structured = [name for name in CONTENDERS if name != "Dense"]
    main = [("Dense", 1.0), *((name, MAIN) for name in structured)]
    others = [(name, c) for c in OTHERS for name in structured]
    parts = [(main, SEEDS[0]), (others, SEEDS[0]), *((main, seed) for seed in SEEDS[1:])]
    return [Row(name, c, seed) for part, seed in parts for name, c in part]


Batch = tuple[Window, np.float32]
"""A window, and how far the pruning has yet to go, from 1 to 0."""


def loss_of(contender: Contender, model: LanguageModel) -> Callable[..., Any]:
    """The loss that the trainer asks for."""

    def loss(params: Any, batch: Batch, key: jax.Array, carry: Carry) -> tuple[jax.Array, Carry]:
        window, to_go = batch
        if contender.dropout:
            rate = jnp.asarray(contender.dropout * to_go)
            params = sl.train.co_matrix_dropout(params, key, rate)
        if contender.pruned is not None:
            params = sl.densify(params)  # its sparse part is dense while it trains: one product
        carry = jax.tree.map(lambda x: jnp.where(window.fresh, 0, x), carry)
        return nats(model, params, jnp.asarray(window.tokens), carry)

    return loss


def optimiser_of(contender: Contender, params: Any, settings: Settings) -> Any:
    """Adam on clipped gradients; it prunes where there is something to prune."""
    peak, steps = settings.learning_rate, settings.steps
    warm = min(WARM_UP, steps // 4)
    rate = optax.warmup_cosine_decay_schedule(0.0, peak, warm, steps, peak / 20)
    optimiser = optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(rate))
    if contender.pruned is None:
        return optimiser
    end = int(contender.pruned * steps)
    return sl.train.sparsify(optimiser, sl.train.targets(params), end=end)


def folder_of(row: Row, text: Text, settings: Settings, runs: Path) -> Path:
    """Where a row is trained: another folder for each spec, text and settings."""
    made = f"{text.name} {CONTENDERS[row.structure].spec(row.asked)!r} {settings!r}"
    return runs / f"{row.name} {hashlib.sha256(made.encode()).hexdigest()[:8]}"


def measure(row: Row, text: Text, settings: Settings, folder: Path) -> dict[str, Any]:
    """Trains the model of a row, or goes on with it, and measures it.

    A spec that cannot be so small says why instead.
    """
    contender = CONTENDERS[row.structure]
    spec = contender.spec(row.asked)
    found = {"name": row.name, **dataclasses.asdict(row)}
    found["spec"] = spec and json.loads(spec.to_json())
    try:
        params = drawn(len(text.vocabulary), settings.hidden, spec, row.seed)
    except ValueError as error:
        return found | {"refused": str(error)}
    model = LanguageModel(len(text.vocabulary), settings.hidden)
    streams = Streams(text.train, settings.batch, settings.time)
    pruned = int((contender.pruned or 0) * settings.steps)

    def batch(seed: int, step: int) -> Batch:
        return streams(seed, step), np.float32(max(0.0, 1 - step / max(pruned, 1)))

    def held_out(params: Any, part: str = "valid") -> dict[str, float]:
        ids = getattr(text, part)
        return {part: round(bits(model, params, ids, settings.batch, settings.time), 5)}

    trained = train(
        loss_of(contender, model),
        params,
        optimiser_of(contender, params, settings),
        batch,
        steps=settings.steps,
        seed=row.seed,
        folder=folder,
        carry=at_rest(settings.hidden, settings.batch),
        evaluate=held_out,
        title=row.name,
    )
    cost = size(trained.params)
    return found | {
        "bits_per_character": held_out(trained.params) | held_out(trained.params, "test"),
        "params": cost.params,
        "bytes": cost.bytes,
        "compression": round(cost.compression, 3),
        "compression_params": round(cost.compression_params, 3),
        "seconds": round(trained.seconds, 1),
    }


def header(settings: Settings, text: Text, quick: bool) -> dict[str, Any]:
    """How the figures were made."""
    flags = " --quick" * quick
    if settings.steps != (QUICK if quick else Settings()).steps:
        flags += f" --steps {settings.steps}"
    return {
        "command": f"python benchmarks/training/language_model.py{flags}",
        "seed": [SEEDS[0]] if quick else list(SEEDS),
        "settings": dataclasses.asdict(settings) | {"text": text.name},
        "characters": {part: len(getattr(text, part)) for part in ("train", "valid", "test")},
        "versions": {
            "structlin": sl.__version__,
            "jax": jax.__version__,
            "flax": flax.__version__,
            "optax": optax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": device_name(),
        "threads": len(os.sched_getaffinity(0)),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def measured(out: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The rows of a file by name; none if it is not there.

    Raises:
        SystemExit: They were made with other settings.
    """
    if not out.exists():
        return {}
    there = json.loads(out.read_text("utf-8"))
    if there["settings"] != settings:
        raise SystemExit(
            f"The rows of {out} were made with {there['settings']}, these would be with "
            f"{settings}: give another --out."
        )
    return {row["name"]: row for row in there["rows"]}


def main() -> None:
    """Measures what is missing, and writes after every row."""
    parser = argparse.ArgumentParser(description="Train language models of every structure.")
    parser.add_argument("--only", default="", help="a part of the rows' names")
    parser.add_argument("--quick", action="store_true", help="four rows on the embedded text")
    parser.add_argument("--steps", type=int, help="updates of each model")
    parser.add_argument("--out", type=Path, help="the file of the figures")
    parser.add_argument("--runs", type=Path, default=RUNS, help="the folder of the checkpoints")
    given = parser.parse_args()
    if (given.quick or given.steps) and given.out is None:
        parser.error("--quick and --steps need --out: their figures are not the benchmark's.")
    settings = QUICK if given.quick else Settings()
    settings = dataclasses.replace(settings, steps=given.steps or settings.steps)
    text = characters(data_folder() / settings.text if settings.text else None)
    out, about = given.out or RESULT, header(settings, text, given.quick)
    done = measured(out, about["settings"])
    for row in rows(given.quick):
        if given.only in row.name and row.name not in done:
            folder = folder_of(row, text, settings, given.runs)
            found = done[row.name] = measure(row, text, settings, folder)
            figures = found.get("bits_per_character", found.get("refused"))
            print(f"{row.name}: {figures}", file=sys.stderr)
            out.parent.mkdir(parents=True, exist_ok=True)
            write_json(out, about | {"rows": list(done.values())})
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)


if __name__ == "__main__":
    main()
