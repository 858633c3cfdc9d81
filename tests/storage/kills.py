"""A writer killed at random moments: the file is always one that was written whole.

python tests/storage/kills.py 50
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from structlin import storage
from structlin.storage import _atomic

WRITER = """
import pathlib, runpy, sys
module, path, *contents = sys.argv[1:]
write = runpy.run_path(module)["write_atomically"]
contents = [pathlib.Path(c).read_bytes() for c in contents]
print("ready", flush=True)
while True:
    for data in contents:
        write(path, data)
"""
"""Writes by turns what `structlin.save` made, and starts quickly as it loads nothing but the code
that writes."""


def kill_writers(count: int, seed: int, folder: Path) -> int:
    """Kills ``count`` writers within a tenth of a second and reads what each has left.

    Returns:
        How many were killed while they wrote: these left a temporary file.

    Raises:
        StorageError: A file was not whole.
    """
    rng, path = random.Random(seed), folder / "w.slin"
    contents = [folder / "0.slin", folder / "1.slin"]
    for i, content in enumerate(contents):
        storage.save(content, {"w": np.full(1 << 19, i, np.int32)})
    storage.save(path, {"w": np.zeros(1 << 19, np.int32)})
    for _ in range(count):
        command = [sys.executable, "-c", WRITER, _atomic.__file__, path, *contents]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(rng.random() / 10)
            writer.send_signal(signal.SIGKILL)
        found = storage.load(path, as_numpy=True)["w"]
        assert (found == found[0]).all()
    return len(list(folder.glob(".structlin-*.tmp")))


if __name__ == "__main__":
    total = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        print(f"{total} kills, {kill_writers(total, 0, Path(name))} while it wrote: no file broken")
