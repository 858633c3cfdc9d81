"""The networks of one size, trained one after the other, and the best of them."""

import contextlib
import dataclasses
import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from structlin import storage
from structlin.builder._measure import quality
from structlin.builder._model import load, write
from structlin.builder._networks import Network, facts_of, networks
from structlin.builder._settings import Settings
from structlin.builder._split import Dataset
from structlin.builder._training import Plan, Progress, fit

__all__ = ["Candidates"]

Figures = dict[str, float]


@dataclasses.dataclass
class Candidates:
    """What trains and compares networks.

    Attributes:
        settings: What was asked.
        data: The examples.
        plan: How long each network is trained.
        mark: A name for all of these.
        folder: Where finished and unfinished networks are.
        progress: Called after some steps.
    """

    settings: Settings
    data: Dataset
    plan: Plan
    mark: str
    folder: Path
    progress: Progress
    _kept: dict[str, tuple[np.ndarray, ...]] = dataclasses.field(default_factory=dict)

    def best(self, size: str, soft: np.ndarray | None, out: Path) -> None:
        """Trains the networks of a size and writes the best on the validation part.

        Args:
            size: Its name.
            soft: The logits of a teacher; the best network is then trained without them as well.
            out: The file of the best.
        """
        made = self._networks(size)
        alone = size == "teacher" or self.settings.distill == "none"
        taught = "none" if alone else self.settings.distill
        found = {k: self._trained(size, k, made[k], taught, soft) for k in made}
        if taught == "after":
            kind = _best(found)
            found[f"{kind} alone"] = self._trained(size, kind, made[kind], "none", None)
        path, figures = found[_best(found)]
        metadata = storage.read_metadata(path)
        tried = {name: of["accuracy"] for name, (_, of) in found.items()}
        facts = metadata["training"] | {"validation": figures, "candidates": tried}
        storage.save(out, storage.load(path), metadata | {"size": size, "training": facts})
        for path, _ in found.values():
            path.unlink()

    def logits(self, path: Path) -> np.ndarray:
        """Those of a model on the training part, but for a constant, ``(examples, classes)``."""
        chances = load(path).probabilities(self.data.train.inputs)
        return np.log(np.maximum(chances, 1e-9))

    def _networks(self, size: str) -> dict[str, Network]:
        s, inputs = self.settings, self.data.train.inputs
        return networks(size, inputs, len(self.data.labels), s.spec, s.bytes_of_text)

    def _trained(
        self, size: str, kind: str, network: Network, taught: str, soft: np.ndarray | None
    ) -> tuple[Path, Figures]:
        """The file of a trained network and its figures on the validation part."""
        name = f"{size} {kind}" + (f", taught {taught}" if taught != "none" else "")
        mark = _digest(self.mark, name, facts_of(network))
        path = self.folder / f"{size}-{kind}-{taught}.slin"
        if not _is_of(path, mark):
            teacher = self._networks("teacher")[kind] if taught == "joint" else None
            start, train = time.monotonic(), self.data.train
            params = fit(
                network,
                (self._arrays(network), train.targets, self._weights(), soft),
                self.plan,
                teacher=teacher and (teacher, self._arrays(teacher)),
                checkpoint=path.with_suffix(".state"),
                mark=mark,
                progress=lambda *steps: self.progress(name, *steps),
            )
            facts: dict[str, Any] = {"mark": self.mark, "network": mark, "kind": kind}
            facts |= {"taught": taught, "seconds": time.monotonic() - start}
            write(path, network, params, self.data.labels, train.inputs[:1], {"training": facts})
        return path, quality(load(path), self.data.valid)

    def _arrays(self, network: Network) -> tuple[np.ndarray, ...]:
        """The training part as a network takes it; networks on one projection share it."""
        key = repr(network.given())
        if key not in self._kept:
            self._kept = {key: network.arrays(self.data.train.inputs)}
        return self._kept[key]

    def _weights(self) -> np.ndarray:
        """What each example counts, 1 in the mean."""
        counts = np.bincount(self.data.train.targets)
        found = (1.0 / counts[self.data.train.targets]) ** self.settings.balance
        return (found / found.mean()).astype(np.float32)


def _best(found: dict[str, tuple[Path, Figures]]) -> str:
    """The name of the most accurate; of equals, of the one that is least surprised."""
    return max(found, key=lambda k: (found[k][1]["accuracy"], -found[k][1]["cross_entropy"]))


def _is_of(path: Path, mark: str) -> bool:
    """Whether a file holds the network of this mark, whole."""
    with contextlib.suppress(OSError, ValueError):
        return load(path).metadata["training"]["network"] == mark
    return False


def _digest(*facts: Any) -> str:
    return hashlib.blake2b(repr(facts).encode(), digest_size=16).hexdigest()
