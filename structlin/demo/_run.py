"""The main job: train, compress, tune, pack, save, reload, measure."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from structlin import storage, surgery
from structlin.demo._contenders import CONTENDERS, Contender, sized
from structlin.demo._corpus import Corpus, load_corpus, windows
from structlin.demo._latency import measure
from structlin.demo._model import CharLM, compress_lstm, dense_init, lstm_kernels
from structlin.demo._report import draw, print_table
from structlin.demo._results import Record, summary, write_json
from structlin.demo._sample import sample
from structlin.demo._training import bits_per_character, fit
from structlin.matrices import cost
from structlin.specs import Dense, Spec

__all__ = ["Settings", "run"]

STREAMS, STEPS, TEST_STREAMS = 16, 64, 8
MOST_TEST = 100_000
DENSE_RATE, TUNE_RATE, PRUNE_UNTIL = 8e-3, 1.2e-2, 0.35


@dataclasses.dataclass(frozen=True)
class Settings:
    """What to run.

    Attributes:
        out: Where the results go.
        text: A text to train on; the embedded one if ``None``.
        valid: A text to test on; the last tenth of the other if ``None``.
        structures: Names of `CONTENDERS`.
        compression: Dense bytes over stored bytes of the LSTM kernels.
        epochs: Passes over the text that train the dense model; each structure is tuned for half.
        seeds: One whole run each.
        hidden: The width of the LSTM.
    """

    out: Path
    text: Path | None = None
    valid: Path | None = None
    structures: tuple[str, ...] = tuple(CONTENDERS)
    compression: float = 10.0
    epochs: float = 3.0
    seeds: tuple[int, ...] = (0,)
    hidden: int = 256

    def command(self) -> str:
        """The command that runs this, without the folders of its files."""
        options = {
            "text": self.text and self.text.name,
            "valid": self.valid and self.valid.name,
            "structures": ",".join(self.structures),
            "compression": f"{self.compression:g}",
            "epochs": f"{self.epochs:g}",
            "seed": self.seeds[0],
            "seeds": len(self.seeds),
        }
        quick = " --quick" if self.hidden < 256 else ""
        given = (f"--{name} {value}" for name, value in options.items() if value is not None)
        return f"structlin demo{quick} {' '.join(given)}"


class _Job:
    """One run's corpus, batches, plan and what is finished."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.corpus: Corpus = load_corpus(settings.text, settings.valid, MOST_TEST)
        self.train = windows(self.corpus.train, STREAMS, STEPS, "training")
        self.test = windows(self.corpus.test, TEST_STREAMS, STEPS, "test")
        self.model = CharLM(len(self.corpus.vocabulary), hidden=settings.hidden)
        embed, hidden = self.model.embed, self.model.hidden
        self.shapes = ((embed, 4 * hidden), (hidden, 4 * hidden))
        self.plan: dict[str, tuple[Contender, tuple[Spec, Spec]]] = {
            name: (CONTENDERS[name], sized(CONTENDERS[name], settings.compression, self.shapes))
            for name in settings.structures
        }
        self.dense_steps = max(1, round(settings.epochs * len(self.train)))
        self.tune_steps = max(1, round(settings.epochs * len(self.train) / 2))
        self.records: list[Record] = []

    def described(self) -> dict[str, Any]:
        """The settings as they are written into the table."""
        s, corpus = self.settings, self.corpus
        return {
            "command": s.command(),
            "text": corpus.name,
            "train_characters": len(corpus.train),
            "test_characters": len(corpus.test),
            "vocabulary": len(corpus.vocabulary),
            "unknown_share_of_test": round(corpus.unknown_share, 6),
            "compression": s.compression,
            "hidden": s.hidden,
            "embed": self.model.embed,
            "streams": STREAMS,
            "window": STEPS,
            "dense_steps": self.dense_steps,
            "tune_steps": self.tune_steps,
            "dense_learning_rate": DENSE_RATE,
            "tune_learning_rate": TUNE_RATE,
            "pruned_until": PRUNE_UNTIL,
            "co_matrix_dropout": CONTENDERS["DopedKron"].dropout,
            "seeds": list(s.seeds),
        }

    def file(self, name: str, seed: int) -> Path:
        """Where a model is saved."""
        suffix = f"-{seed}" if len(self.settings.seeds) > 1 else ""
        return self.settings.out / f"{name}{suffix}.slin"


def run(settings: Settings, console: Console) -> dict[str, Any]:
    """Runs the demo and writes ``table.json``, ``pareto.png`` and the models to ``settings.out``.

    Args:
        settings: What to run.
        console: Where progress and the table go.

    Returns:
        The table that was written.

    Raises:
        TextError: A text cannot be used.
        ValueError: A structure cannot be as small as asked.
        OSError: ``settings.out`` cannot be written.
        KeyboardInterrupt: After what is finished was written and printed.
    """
    job = _Job(settings)
    settings.out.mkdir(parents=True, exist_ok=True)
    write_json(settings.out / "table.json", summary([], job.described()) | {"rows": []})
    try:
        with _progress(console) as progress:
            for seed in settings.seeds:
                _seed(job, seed, progress)
    except KeyboardInterrupt:
        console.print("[yellow]Interrupted:[/] what is finished is below and in the files.")
        if job.records:
            _finish(job, console)
        raise
    return _finish(job, console)


def _seed(job: _Job, seed: int, progress: Progress) -> None:
    start = dense_init(job.model, jax.random.key(seed))
    rates = {"steps": job.dense_steps, "learning_rate": DENSE_RATE}
    dense, seconds = _train(job, f"seed {seed}: Dense", seed, start, progress, **rates)
    models = {"Dense": _keep(job, "Dense", seed, (Dense(), Dense()), dense, {}, seconds)}
    rates = {"steps": job.tune_steps, "learning_rate": TUNE_RATE}
    for name, (contender, specs) in job.plan.items():
        projected = compress_lstm(dense, specs)
        bits = {"projected": bits_per_character(job.model, projected, job.test)}
        begin = compress_lstm(dense, contender.annealed(specs)) if contender.sparse else projected
        pruning = {"prune_until": PRUNE_UNTIL, "dropout": contender.dropout}
        extra = pruning if contender.sparse else {}
        what = f"seed {seed}: {name}"
        tuned, seconds = _train(job, what, seed, begin, progress, **rates, **extra)
        models[name] = _keep(job, name, seed, specs, tuned, bits, seconds)
    task = progress.add_task(f"seed {seed}: latency", total=None, loss="")
    times = measure({n: (job.model, p) for n, p in models.items()}, job.corpus.test)
    for record in job.records:
        if record.seed == seed:
            record.microseconds = times[record.structure]
    progress.remove_task(task)
    _write(job)


def _train(
    job: _Job, what: str, seed: int, start: Any, progress: Progress, **options: Any
) -> tuple[Any, float]:
    task = progress.add_task(what, total=options["steps"], loss="")

    def report(step: int, bits: float) -> None:
        progress.update(task, completed=step, loss=f"{bits:.3f} bits")

    begin = time.perf_counter()
    params = fit(job.model, start, job.train, seed=seed, report=report, **options)
    return params, time.perf_counter() - begin


def _keep(
    job: _Job,
    name: str,
    seed: int,
    specs: tuple[Spec, Spec],
    tuned: Any,
    bits: dict[str, float],
    seconds: float,
) -> Any:
    """Packs, saves, reloads, evaluates and notes a trained model; returns the reloaded one."""
    packed, path = surgery.pack(tuned), job.file(name, seed)
    model = {"embed": job.model.embed, "hidden": job.model.hidden}
    metadata = {"model": "CharLM", **model, "vocabulary": job.corpus.vocabulary}
    storage.save(path, packed, metadata)
    reloaded = storage.load(path)
    for stage, params in (("tuned", tuned), ("packed", packed), ("reloaded", reloaded)):
        bits[stage] = bits_per_character(job.model, params, job.test)
    job.records.append(
        Record(
            structure=name,
            seed=seed,
            spec=[s.to_json() for s in specs],
            cost=cost(lstm_kernels(packed)),
            file_bytes=path.stat().st_size,
            bits=bits,
            seconds=seconds,
        )
    )
    _write(job)
    return reloaded


def _finish(job: _Job, console: Console) -> dict[str, Any]:
    table = _write(job)
    draw(job.settings.out / "pareto.png", table)
    print_table(console, table)
    smallest = min(job.records, key=lambda r: r.cost.bytes)
    path = job.file(smallest.structure, smallest.seed)
    params = storage.load(path)
    text = sample(job.model, params, job.corpus, 300, smallest.seed)
    console.print(f"{path.name} ({path.stat().st_size:,} bytes) writes:", style="bold")
    line = max(text.splitlines(), key=lambda line: sum(map(str.isalpha, line)))
    console.print(" ".join(line.split()), markup=False, highlight=False)
    return table


def _write(job: _Job) -> dict[str, Any]:
    table = summary(job.records, job.described())
    write_json(job.settings.out / "table.json", table)
    return table


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)
