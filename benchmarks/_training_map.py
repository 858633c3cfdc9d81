"""The map of structures over widths: its own rows, and the small scale as its widest column."""

import json
from pathlib import Path
from typing import Any

__all__ = ["whole_map"]

LOWER = ", half the rate"
WIDEST = Path(__file__).resolve().parent / "results" / "training_language_model.json"


def whole_map(result: dict[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Its rows by ``(width, compression, structure)``, or ``(width, "Dense")``.

    The language models of the small scale, of the first seed, are those of one width more; they
    train for longer, and the better of two rates on the validation part counts. What could not be
    made so small is there, without figures.
    """
    found = {}
    for row in result["rows"]:
        part, *place = row["name"].split(", ", 3)
        if part == "map":
            found[tuple(place)] = row
    structures = {place[-1] for place in found}
    sizes = {place[1] for place in found if len(place) > 2} | {"1x"}
    for row in json.loads(WIDEST.read_text("utf-8"))["rows"]:
        name, asked, seed = row["name"].rsplit(", ", 2)
        name, width = name.removesuffix(LOWER), str(row["recipe"]["hidden"])
        if seed == "seed 0" and name in structures and asked in sizes:
            place = (width, name) if name == "Dense" else (width, asked, name)
            found[place] = min(found.get(place, row), row, key=_validation_bits)
    return found


def _validation_bits(row: dict[str, Any]) -> float:
    return row["figures"]["valid"]
