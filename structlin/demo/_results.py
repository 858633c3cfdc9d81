"""What a run of the demo found: one record for each model and seed, and their summary."""

import dataclasses
import datetime
import json
import os
import platform
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

import flax
import jax
import numpy as np

import structlin
from structlin.matrices import Cost

__all__ = ["STAGES", "Record", "device_name", "summary", "write_json"]

NUMBERS = re.compile(r"\[\n([-+.\deE,\s]+)\n *\]")
"""A list of numbers as `json` indents it; a string has no line break."""

STAGES = ("projected", "tuned", "packed", "reloaded")
"""What a model goes through, in order; the dense one is never projected."""


@dataclasses.dataclass
class Record:
    """One model of one seed.

    Attributes:
        structure: The name of the contender, or ``Dense``.
        seed: The seed of its training.
        spec: What its two kernels were asked to be, as JSON.
        cost: Of both LSTM kernels, packed.
        file_bytes: Of the saved model: kernels, embedding, output layer, biases and header.
        bits: Test bits a character at each of `STAGES`.
        microseconds: A character at batch 1, by form.
        seconds: Spent on training.
    """

    structure: str
    seed: int
    spec: list[str]
    cost: Cost
    file_bytes: int = 0
    bits: dict[str, float] = dataclasses.field(default_factory=dict)
    microseconds: dict[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0


def summary(records: list[Record], settings: dict[str, Any]) -> dict[str, Any]:
    """The table as it is printed and written: means and spreads over the seeds."""
    names = list(dict.fromkeys(r.structure for r in records))
    fastest_dense = _best([r for r in records if r.structure == "Dense"])
    rows = [_row([r for r in records if r.structure == name], fastest_dense) for name in names]
    return {
        "settings": settings,
        "rows": rows,
        "versions": {
            "structlin": structlin.__version__,
            "jax": jax.__version__,
            "flax": flax.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "device": device_name(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _row(records: list[Record], fastest_dense: float | None) -> dict[str, Any]:
    first, best = records[0], _best(records)
    stages = [s for s in STAGES if all(s in r.bits for r in records)]
    return {
        "structure": first.structure,
        "spec": [json.loads(text) for text in first.spec],
        "params": first.cost.params,
        "bytes": first.cost.bytes,
        "file_bytes": round(statistics.mean(r.file_bytes for r in records)),
        "compression": round(first.cost.compression, 3),
        "compression_params": round(first.cost.compression_params, 3),
        "bits_per_character": {s: _spread([r.bits[s] for r in records]) for s in stages},
        "microseconds_per_character": best and round(best, 2),
        "microseconds_by_form": _forms(records),
        "speedup": best and fastest_dense and round(fastest_dense / best, 3),
        "training_seconds": _spread([r.seconds for r in records], 1),
        "seeds": [r.seed for r in records],
    }


def _forms(records: list[Record]) -> dict[str, float]:
    timed = [r.microseconds for r in records if r.microseconds]
    forms = timed[0] if timed else {}
    return {form: round(statistics.median(t[form] for t in timed), 2) for form in forms}


def _best(records: list[Record]) -> float | None:
    return min(_forms(records).values(), default=None)


def _spread(values: list[float], digits: int = 4) -> dict[str, Any]:
    return {
        "mean": round(statistics.mean(values), digits),
        "std": round(statistics.stdev(values), digits) if len(values) > 1 else None,
        "values": [round(v, digits) for v in values],
    }


def device_name() -> str:
    """The processor that computes, with its number of cores if it is a CPU."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores"


def write_json(path: Path, content: Any) -> None:
    """Writes JSON so that the file is whole or not there; a list of numbers takes a line."""
    text = NUMBERS.sub(lambda m: f"[{' '.join(m[1].split())}]", json.dumps(content, indent=2))
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        file.write(f"{text}\n")
    try:
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError:
        os.unlink(file.name)
        raise
