"""Files that are not what they should be: always a named error of one line, never a crash."""

import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from structlin import matrices as ms
from structlin import specs, storage
from structlin.storage._header import digest, write_header


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tree.slin"


@pytest.fixture
def good(path):
    tree = {"w": ms.Masked(np.ones((2, 3), np.float32), 0.5), "n": np.arange(4, dtype=np.int8)}
    storage.save(path, tree, metadata={"a": 1})
    return path.read_bytes()


def fails(path, error=storage.StorageError, match=None, read=storage.load):
    with pytest.raises(error, match=match) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"Cannot read {str(path)!r}: ")
    assert "\n" not in message
    assert len(message) < 700


def test_a_missing_file_is_named(path):
    for read in (storage.load, storage.read_header, storage.read_metadata):
        with pytest.raises(FileNotFoundError, match=r"tree\.slin"):
            read(path)


def test_every_truncation_is_noticed(path, good):
    for size in reversed(range(len(good))):
        os.truncate(path, size)
        fails(path)
    path.write_bytes(good + b"\0")
    fails(path, storage.DamagedFileError, "too long")


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, storage.DamagedFileError, "it is empty"),
        (5, storage.ForeignFileError, "does not begin as a safetensors file"),
        (100, storage.DamagedFileError, "cut short: 100 bytes, of which the header alone"),
        (-1, storage.DamagedFileError, "cut short.*where its header says"),
    ],
)
def test_truncation_says_what_is_there(path, good, size, error, message):
    path.write_bytes(good[:size])
    for read in (storage.load, storage.read_header, storage.read_metadata):
        fails(path, error, message, read)


def test_every_flipped_bit_is_noticed(path, good):
    with open(path, "r+b", buffering=0) as file:
        for place in range(len(good)):
            file.seek(place)
            file.write(bytes([good[place] ^ 1 << place * 5 % 8]))
            fails(path)
            file.seek(place)
            file.write(good[place : place + 1])
    storage.load(path)


def test_damage_says_where(path, good):
    for old, new, message in [
        (b"Masked", b"Maskee", "header was altered"),
        (good[-6:], b"x" + good[-5:], "numbers were altered"),
        (b'"__metadata__":{"', b'"__metadata__":["', "header cannot be read"),
    ]:
        assert good.count(old) >= 1
        path.write_bytes(new.join(good.rsplit(old, 1)))
        fails(path, storage.DamagedFileError, message)


def test_foreign_files(path):
    safetensors.numpy.save_file({"a": np.ones(2)}, path, metadata={"format": "pt"})
    fails(path, storage.ForeignFileError, "safetensors.numpy.load_file")
    safetensors.numpy.save_file({"a": np.ones(2)}, path)
    fails(path, storage.ForeignFileError, "without structlin's header")
    safetensors.numpy.save_file({}, path, metadata={"structlin": '{"format": "other"}'})
    fails(path, storage.ForeignFileError, "does not say that its format is 'structlin'")
    for text in (
        b"# a text file of several lines\n" * 9,
        b"\x93NUMPY\x01\x00v\x00{'descr'",
        b"\xff" * 99,
    ):
        path.write_bytes(text)
        fails(path, storage.ForeignFileError, "does not begin")


def test_newer_versions_are_refused(path):
    record = {"format": "structlin", "version": 3, "anything": "else"}
    safetensors.numpy.save_file({}, path, metadata={"structlin": json.dumps(record)})
    fails(path, storage.NewerVersionError, "version 3.*up to 2.*update structlin")


def forge(path, tree, tensors=None, metadata=None):
    """A file whose checksums are right and whose content may be anything."""
    tensors = tensors or {}
    records = {name: {"sha256": digest([x.tobytes()])} for name, x in tensors.items()}
    header = write_header(tree, {} if metadata is None else metadata, records)
    path.write_bytes(safetensors.numpy.save(tensors, header))


def array(name="a", dtype="float32", shape=(2,)):
    return {"$": "array", "name": name, "dtype": dtype, "shape": shape}


def matrix(name="Masked", **fields):
    return {"$": "matrix", "class": name, "fields": fields}


NESTED: list = []
for _ in range(70):
    NESTED = [NESTED]

FORGED = [
    (array("b"), "tensor 'b' is missing"),
    ([array(), array()], "missing, or named twice"),
    ([], r"\['a'\] are not in its tree"),
    (array(shape=[3]), r"F32\[2\]; its tree wants F32\[3\]"),
    (array(dtype="int32"), "F32.*wants I32"),
    (array(dtype="object"), "dtype 'object'"),
    (array(shape=[-1]), "no shape"),
    (array(shape=[True]), "no shape"),
    (array(shape=None), "nothing|NoneType.*'shape' should be a list"),
    (array(name=3), "int where 'name' should be a str"),
    ({"$": "pickle", "data": "x"}, "unknown kind 'pickle'"),
    ({"$": []}, r"list where '\$' should be a str"),
    ({"$": "tuple"}, "nothing where 'items'"),
    ({"$": "dict", "items": [[True, 1]]}, "dict without keys"),
    ({"$": "dict", "items": [[[], 1]]}, "dict without keys"),
    ({"$": "float", "value": "1e5"}, "number '1e5'"),
    ({"$": "spec", "json": '{"spec": "Mine"}'}, "No spec is named 'Mine'.*import the module"),
    ({"$": "spec", "json": '{"spec": "LowRank", "rank": {}}'}, "cannot be made"),
    ({"$": "spec", "json": "[" * 100_000}, "cannot be made"),
    (matrix("Mine"), "'Mine', which is not defined here: import the module.*Kronecker"),
    (matrix("Masked", values=array(), size=1), "fields .'size'., which Masked does not have"),
    (matrix("Masked", density=0.5), "lacks the fields .'values'."),
    (matrix("Sparse", values=array(), indices=None), "lacks the fields .'rows'."),
    (matrix("Masked", values=None, density=array()), "array where only plain values"),
    (matrix("Masked", values=None, density=matrix()), "matrix where only plain values"),
    (NESTED, "64 levels deep"),
]


@pytest.mark.parametrize(("tree", "message"), FORGED, ids=[m[:20] for _, m in FORGED])
def test_headers_that_lie(path, tree, message):
    forge(path, tree, {"a": np.ones(2, np.float32)})
    fails(path, match=message)
    fails(path, match=message, read=storage.read_header)


def test_metadata_that_lies(path):
    forge(path, None, metadata={"a": array()})
    fails(path, storage.DamagedFileError, "array where only plain", storage.read_metadata)
    forge(path, None, metadata={"$": "tuple", "items": []})
    fails(path, storage.DamagedFileError, "not a dict", storage.read_metadata)


def test_unknown_specs_are_told_from_wrong_ones(path):
    forge(path, {"$": "spec", "json": '{"spec": "Mine"}'})
    fails(path, storage.UnknownStructureError)
    forge(path, {"$": "spec", "json": specs.LowRank(rank=2).to_json().replace("rank", "rang")})
    fails(path, storage.StorageError, "no field")


def raw(path, header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def entry(shape, end, dtype="F32", begin=0):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def ours(tree):
    return write_header(tree, {}, {"a": {"sha256": digest([])}})


HOSTILE = [
    b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    b'{"a":' + b"9" * 1_000_000 + b"}",
    b'{"\xff": 1}',
    b'{"__metadata__": {"structlin": 3}}',
    {"__metadata__": {"structlin": "[" * 100_000}},
    {"__metadata__": {"structlin": '{"format": "structlin", "version": ' + "9" * 9999 + "}"}},
    {"__metadata__": {"structlin": '{"format": "structlin", "version": true}'}},
    {"__metadata__": {"structlin": '{"format": "structlin", "version": 0}'}},
    {"__metadata__": {"structlin": '{"format": "structlin", "version": 1}'}},
    {"__metadata__": {"structlin": "null"}},
    {"__metadata__": ours(None), "a": 3},
    {"__metadata__": ours(None), "a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}},
    {"__metadata__": ours(None), "a": entry([1], 10**30)},
    {"__metadata__": ours(None), "a": entry([1], -4)},
    {"__metadata__": ours(array(shape=[10**12, 10**12])), "a": entry([10**12, 10**12], 0)},
    {"__metadata__": ours(array(shape=[0, 10**19])), "a": entry([0, 10**19], 0)},
    {"__metadata__": ours(array(shape=[0] * 200)), "a": entry([0] * 200, 0)},
    {"__metadata__": ours(array()), "a": entry("ab", 0)},
    {"__metadata__": ours(array()), "a": entry([2], 0, "F33")},
    {"__metadata__": ours(array()), "a": entry([2], 0, begin=8)},
]


@pytest.mark.parametrize("header", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_headers_end_in_an_error_and_soon(path, header):
    start = time.monotonic()
    raw(path, header)
    fails(path)
    assert time.monotonic() - start < 5


def test_a_claim_of_a_huge_header_reads_nothing(path):
    for length in (2**63, 99_000_000):
        path.write_bytes(length.to_bytes(8, "little") + b"{}")
        fails(path)


def test_nothing_here_can_run_code():
    for file in Path(storage.__file__).parent.glob("_*.py"):
        text = file.read_text()
        assert not re.search(r"\b(pickle|marshal|eval|exec|importlib|allow_pickle)\b", text), file
