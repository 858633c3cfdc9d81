"""Suggests emoji: reads a message on every line of standard input, and prints five.

    python examples/emoji/suggest.py out/classic/pruned-90
    > good morning california

The rows of the embeddings that a message needs are read from the database when they are needed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

from _recommender import ModelError, open_model


def resident() -> int:
    """Bytes of memory that this process has now; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


def main() -> None:
    """Answers line by line."""
    parser = argparse.ArgumentParser(description="Suggest emoji for messages.")
    parser.add_argument("folder", type=Path, help="of a model that train.py wrote")
    parser.add_argument("--count", type=int, default=5, help="how many emoji for a message")
    parser.add_argument(
        "--figures", action="store_true", help="print memory and time at the end, as JSON"
    )
    given = parser.parse_args()
    before, taken = resident(), []
    try:
        model = open_model(given.folder)
    except ModelError as error:
        sys.exit(str(error))
    for line in sys.stdin:
        start = time.perf_counter()
        found = model.suggest(line, given.count)
        taken.append(time.perf_counter() - start)
        print("  ".join(f"{emoji} {p:.2f}" for emoji, p in found) or "no words", flush=True)
    if given.figures:
        after = resident()
        figures = {"resident_bytes": after, "model_bytes": after - before}
        if taken:
            figures["milliseconds"] = 1e3 * statistics.median(taken)
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
