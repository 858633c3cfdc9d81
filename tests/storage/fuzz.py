"""Mutations of files: each is read right or refused by name, in bounded memory and time.

    python tests/storage/fuzz.py 2000            # how each ended, the most memory, the longest time

Half of the mutations damage a file as accidents do; the others forge one whose checksums are right
and whose header lies.
"""

import collections
import json
import random
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

from trees import golden_coded_tree, golden_tree, same

from structlin import storage
from structlin.storage._header import digest

MEMORY = 64 << 20
"""The most bytes that reading a mutation may take at a time; the files have a few thousand."""

SECONDS = 5.0
"""The longest that it may take."""

NUMBERS = [0, 1, -1, 7, 8, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 10**30, 0.5, None, "9", []]
WORDS = ["ans", "huffman", "codes", "gaps", "values", "uint8", "int64", "float32", "complex64", ""]


def originals(folder: Path) -> list[tuple[bytes, Any]]:
    """Valid files, as bytes, with the trees in them."""
    found = []
    for i, coding in enumerate([None, "ans", "huffman"]):
        tree = golden_tree() if coding is None else golden_coded_tree()
        storage.save(folder / f"{i}.slin", tree, {"about": "fuzz"}, coding=coding)
        found.append(((folder / f"{i}.slin").read_bytes(), tree))
    return found


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """``data`` as accidents leave it."""
    kind, place = rng.randrange(6), rng.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data + rng.randbytes(rng.randrange(1, 99))
    if kind == 2:  # some bits
        flipped = bytearray(data)
        for _ in range(rng.randrange(1, 9)):
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 3:  # some bytes anew
        return data[:place] + rng.randbytes(min(16, len(data) - place)) + data[place + 16 :]
    if kind == 4:  # the header of one file on the numbers of another
        cut, start = (8 + int.from_bytes(d[:8], "little") for d in (data, other))
        return data[:cut] + other[start:]
    return rng.choice([0, 1, 2**40, 2**64 - 1]).to_bytes(8, "little") + data[8:]


def forged(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one to three lies in its header or its numbers, and right checksums."""
    length = int.from_bytes(data[:8], "little")
    header, numbers = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    ours = json.loads(header.pop("__metadata__")["structlin"])
    for _ in range(rng.randrange(1, 4)):
        if numbers and rng.random() < 0.3:
            numbers[rng.randrange(len(numbers))] = rng.randrange(256)
        else:
            lie(rng.choice([ours["tree"], ours["tensors"], header]), rng)
    for name, entry in header.items():
        try:
            begin, end = entry["data_offsets"]
            ours["tensors"][name]["sha256"] = digest([numbers[begin:end]])
        except (KeyError, TypeError, ValueError):
            pass  # a lie took the place of it
    ours["header_sha256"] = "0" * 64
    text = json.dumps(ours)
    text = text.replace("0" * 64, digest([text.encode()]), 1)
    made = json.dumps({"__metadata__": {"structlin": text}, **header}).encode()
    return len(made).to_bytes(8, "little") + made + bytes(numbers)


def lie(node: Any, rng: random.Random) -> None:
    """Changes one value somewhere in a tree of JSON."""
    while True:
        places: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return
        key = rng.choice(places)
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.85:
            node = node[key]
            continue
        if rng.random() < 0.1:
            del node[key]
        else:
            node[key] = rng.choice(WORDS if isinstance(node[key], str) else NUMBERS)
        return


def outcome(path: Path, tree: Any, *, honest: bool) -> str:
    """How reading ``path`` ends, which is one of the ways that it may.

    Args:
        path: The mutation.
        tree: What the file held before.
        honest: Whether its checksums were left as they were, so that it must give this tree if any.
    """
    ends = []
    for mmap in (False, True):
        try:
            loaded = storage.load(path, as_numpy=True, mmap=mmap)
            storage.read_header(path)
        except storage.StorageError as error:
            assert len(str(error)) < 900, str(error)
            ends.append(type(error).__name__)
        else:
            if honest and not mmap:  # what is mapped is not verified
                assert same(loaded, tree), path
            ends.append("read")
    return ends[0]


def fuzz(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Reads ``count`` mutations; raises where one is not read right or refused as it should be.

    Returns:
        How many ended how, the most memory in bytes, and the longest time in seconds.
    """
    rng, files = random.Random(seed), originals(folder)
    path, ends = folder / "mutation.slin", collections.Counter()
    most, longest = 0, 0.0
    tracemalloc.start()
    try:
        for i in range(count):
            (data, tree), (other, _) = rng.choice(files), rng.choice(files)
            honest = i % 2 == 0
            path.write_bytes(damaged(data, other, rng) if honest else forged(data, rng))
            tracemalloc.reset_peak()
            before, start = tracemalloc.get_traced_memory()[0], time.monotonic()
            kind = "damaged" if honest else "forged"
            ends[f"{kind}, {outcome(path, tree, honest=honest)}"] += 1
            most = max(most, tracemalloc.get_traced_memory()[1] - before)
            longest = max(longest, time.monotonic() - start)
            assert most < MEMORY, f"{most:,} bytes for mutation {i} of seed {seed}"
            assert longest < SECONDS, f"{longest:.1f} s for mutation {i} of seed {seed}"
    finally:
        tracemalloc.stop()
    return {"ends": dict(sorted(ends.items())), "bytes": most, "seconds": round(longest, 3)}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(fuzz(int(sys.argv[1]), 0, Path(name)), indent=2))
