"""A family of models from one file of examples: teacher, sizes, figures."""

import dataclasses
import hashlib
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from structlin import storage
from structlin.builder import _measure
from structlin.builder._candidates import Candidates
from structlin.builder._data import read
from structlin.builder._errors import FolderError
from structlin.builder._model import VERSION, Model, load
from structlin.builder._networks import SIZES
from structlin.builder._settings import Settings
from structlin.builder._split import Dataset, assemble
from structlin.builder._training import Plan, Progress
from structlin.storage._atomic import write_atomically

__all__ = ["Build"]

BATCH, SEEN, EPOCHS = 64, 100_000, (3, 60)
"""The largest batch; how many examples a training sees; the fewest and the most epochs of it."""


class Build:
    """A build: what it reads, trains and tells. `train` may be stopped at any time.

    Attributes:
        settings: What was asked.
        data: The examples.
        plan: How long each network is trained.

    Raises:
        DataError: When made, if the examples cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        others = (f and read(f, settings.encoding) for f in (settings.valid, settings.test))
        self.data: Dataset = assemble(read(settings.data, settings.encoding), *others)
        count = len(self.data.train.targets)
        epochs = settings.epochs or int(np.clip(round(SEEN / count), *EPOCHS))
        self.plan = Plan(epochs, min(BATCH, max(1, count // 8)), settings.seed)
        self.mark = self._mark()

    @property
    def _unfinished(self) -> Path:
        return self.settings.out / ".unfinished"

    def file(self, size: str) -> Path:
        """Where the model of a size is."""
        return self.settings.out / f"{size}.slin"

    def finished(self) -> list[str]:
        """The sizes whose models are there, the teacher's last."""
        return [s for s in (*self.settings.sizes, "teacher") if self.file(s).exists()]

    def prepare(self, restart: bool = False) -> None:
        """Makes the folder, or finds that it can go on.

        Args:
            restart: Whether to delete the models that are there.

        Raises:
            FolderError: It holds models of other data or settings.
            OSError: The folder cannot be made.
        """
        self.settings.out.mkdir(parents=True, exist_ok=True)
        there = {path: _mark_of(path) for path in map(self.file, SIZES) if path.exists()}
        for path, mark in there.items():
            if mark is None:
                raise FolderError(f"{path} is no model of this command: choose another folder.")
            if mark != self.mark and not restart:
                raise FolderError(
                    f"{path} is of other data or settings: choose another folder, or begin anew "
                    "with --restart, which deletes the models there."
                )
        if restart:
            for path in there:
                path.unlink()
            shutil.rmtree(self._unfinished, ignore_errors=True)

    def train(self, progress: Progress) -> None:
        """Trains what is not there yet.

        A size whose file is there is left alone. One that was interrupted keeps the networks that
        were finished, and goes on within the one that was not.

        Raises:
            DivergedError: A loss is not finite.
            OSError: The folder cannot be written.
        """
        work, s = self._unfinished, self.settings
        work.mkdir(parents=True, exist_ok=True)
        tried = Candidates(s, self.data, self.plan, self.mark, work, progress)
        missing = [size for size in s.sizes if not self.file(size).exists()]
        soft, teacher = None, self.file("teacher")
        if missing and s.distill == "after":
            if not teacher.exists():
                tried.best("teacher", None, teacher)
            soft = tried.logits(teacher)
        for size in missing:
            tried.best(size, soft, self.file(size))
        shutil.rmtree(work)

    def report(self) -> dict[str, Any]:
        """Measures what is finished, and writes ``report.json``."""
        models = {size: load(self.file(size)) for size in self.finished()}
        times = _measure.microseconds(models, self.data.test.inputs)
        rows = [self._row(size, model, times[size]) for size, model in models.items()]
        report = {"settings": self._described(), "notes": self.data.notes, "rows": rows}
        text = json.dumps(report, indent=2, ensure_ascii=False)
        data = f"{text}\n".encode("utf-8", "surrogatepass")
        write_atomically(self.settings.out / "report.json", data)
        return report

    def _row(self, size: str, model: Model, time_of_one: float) -> dict[str, Any]:
        facts = model.metadata["training"]
        return {
            "size": size,
            "kind": facts["kind"],
            "taught": facts["taught"],
            "bytes": self.file(size).stat().st_size,
            "microseconds": time_of_one,
            **_measure.quality(model, self.data.test),
            "validation": facts["validation"],
            "candidates": facts["candidates"],
        }

    def _described(self) -> dict[str, Any]:
        made = dataclasses.asdict(self.settings)
        for name in ("data", "valid", "test"):
            path = getattr(self.settings, name)
            made[name] = path and path.name
        made["spec"] = self.settings.spec and self.settings.spec.to_json()
        counts = (len(x.targets) for x in (self.data.train, self.data.valid, self.data.test))
        rows = dict(zip(("train", "validation", "test"), counts, strict=True))
        return {k: v for k, v in made.items() if k != "out"} | {
            "epochs": self.plan.epochs,
            "rows": rows,
            "labels": len(self.data.labels),
            "figures_of": "test" if self.data.tested else "validation",
            "jax": jax.__version__,
            "machine": platform.machine(),
        }

    def _mark(self) -> str:
        """A name for what every model of the folder depends on: not the test file."""
        s = self.settings
        spec = s.spec and s.spec.to_json()
        facts = (VERSION, self.data.digest, s.distill, s.balance, spec, s.bytes_of_text, self.plan)
        return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()


def _mark_of(path: Path) -> str | None:
    """The mark of the build that wrote a model; ``None`` if none did."""
    try:
        facts = storage.read_metadata(path).get("training")
    except storage.StorageError:
        return None
    return facts.get("mark") if isinstance(facts, dict) else None
