"""Saving and loading: what comes back is what was saved, to the last bit."""

import base64
import collections
import json
import os
from pathlib import Path
from typing import NamedTuple

import cases
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from trees import GOLDEN_METADATA, doped, golden_coded_tree, golden_tree, same

from structlin import matrices as ms
from structlin import specs, storage
from structlin.storage._arrays import _BYTES, _COMPLEX, _NATIVE

DTYPES = sorted({*_NATIVE, *_BYTES, *_COMPLEX})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tree.slin"


def reloaded(path, tree, **kwargs):
    storage.save(path, tree)
    return storage.load(path, **kwargs)


@pytest.mark.parametrize("name", sorted(cases.CASES))
def test_every_structure_comes_back(path, dtype, name):
    tree = {str(i): cases.make(name, i, dtype) for i in range(len(cases.CASES[name]))}
    tree["packed"] = {k: m.pack() for k, m in tree.items()}
    assert same(reloaded(path, tree), tree)


def test_a_loaded_matrix_has_the_pytree_and_the_product_of_the_saved_one(path):
    matrix = jax.tree.map(jnp.asarray, doped())
    back = reloaded(path, matrix)
    assert jax.tree.structure(back) == jax.tree.structure(matrix)
    assert isinstance(back.terms[0].factors[0], jax.Array)
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(x @ back, x @ matrix)


def test_every_spec_comes_back(path):
    tree = [spec for spec, _ in cases.SPECS]
    storage.save(path, tree, metadata={"recipe": tree})
    assert storage.load(path) == storage.read_metadata(path)["recipe"] == tree


def test_a_structure_from_outside_needs_no_change_here(path):
    try:

        class Rows(ms.Dense):
            """Has a static field of each kind, and one that came later."""

            name: str = ms.static(default="")
            parts: tuple = ms.static(default=())

        matrix = Rows(np.ones((2, 3)), "é", ((1, np.int64(2)), None, specs.Kron(), np.float32(0.5)))
        back = reloaded(path, {"w": matrix}, as_numpy=True)["w"]
        assert same(back, Rows(matrix.values, "é", ((1, 2), None, specs.Kron(), 0.5)))
        hash(back.parts)
        ms.REGISTRY.pop("Rows")
        with pytest.raises(storage.UnknownStructureError, match=r"'w' is a 'Rows'.*import"):
            storage.load(path)
        assert storage.read_metadata(path) == {}
    finally:
        ms.REGISTRY.pop("Rows", None)


def test_fields_that_came_later_take_their_defaults(path):
    storage.save(path, ms.Masked(np.ones((2, 2), np.float32), 0.5))
    edit(path, lambda record: record["tree"]["fields"].pop("density"))
    assert storage.load(path).density == 1.0


def edit(path, change):
    from structlin.storage._header import write_header

    with safetensors.safe_open(path, "np") as file:
        record = json.loads(file.metadata()["structlin"])
    change(record)
    header = write_header(record["tree"], record["metadata"], record["tensors"])
    path.write_bytes(safetensors.numpy.save(safetensors.numpy.load_file(path), header))


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_comes_back(path, name):
    dtype = jnp.dtype(name)
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    tree = [values, np.array(values[0, 1]), values[:, :0], values.T, values[::-1, ::2]]
    back = reloaded(path, tree)
    assert same(back, tree)
    narrowed = jax.dtypes.canonicalize_dtype(dtype) != dtype
    assert all(isinstance(x, np.ndarray if narrowed else jax.Array) for x in back)
    assert same(storage.load(path, as_numpy=True), tree)
    assert all(type(x) is np.ndarray for x in storage.load(path, as_numpy=True))


def test_wide_types_are_jax_arrays_where_jax_has_them(path, x64):
    tree = [np.array([2**60 + 1]), np.array([0.1]), np.array([0.1j])]
    back = reloaded(path, tree)
    assert same(back, tree)
    assert all(isinstance(x, jax.Array) for x in back)


def test_numbers_keep_their_kind(path):
    tree = [1, True, 1.0, -0.0, 5e-324, float("nan"), float("-inf"), 2**64, None, "", "\ud800"]
    assert same(reloaded(path, tree), tree)
    scalars = reloaded(path, [np.float32(0.1), np.int64(3), np.bool_(True)], as_numpy=True)
    assert [(x.shape, x.dtype.name) for x in scalars] == [
        ((), "float32"),
        ((), "int64"),
        ((), "bool"),
    ]


def test_byte_order_and_mapped_arrays_are_stored_by_value(path, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.int16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    back = reloaded(path, [np.arange(3, dtype=">f4"), mapped], as_numpy=True)
    assert same(back, [np.arange(3, dtype=np.float32), np.arange(3, dtype=np.int16)])


def test_keys_of_all_kinds_have_tensors_of_their_own(path):
    one = np.ones(1, np.float32)
    tree = {"a/b": one, "a": {"b": one * 2, "": one}, "a%2Fb": one * 3, "": one, 1: one, "1": one}
    tree |= {"__metadata__": one * 4, "$": one, "é ☃\n": one, "\udc80": one, -3: one}
    assert same(reloaded(path, tree), tree)
    names = storage.read_header(path).tensors
    assert {"a%2Fb", "a/b", "a%252Fb", "__metadata__%", "é ☃\n", "%uDC80", "1", "1%"} <= set(names)


@pytest.mark.parametrize(
    "tree", [np.ones(2, np.int8), None, 3, "x", {}, [], (), {"__metadata__": 1}]
)
def test_a_tree_may_be_a_single_leaf_or_empty(path, tree):
    assert same(reloaded(path, tree), tree)


def arrays():
    dtypes = st.sampled_from([np.float32, np.uint8, np.bool_, np.int64, np.complex64])
    return dtypes.flatmap(
        lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=2))
    )


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | arrays()
KEYS = st.text(max_size=3) | st.integers() | st.sampled_from(["$", "/", "__metadata__"])
TREES = st.recursive(
    LEAVES,
    lambda t: st.lists(t) | st.lists(t).map(tuple) | st.dictionaries(KEYS, t),
    max_leaves=8,
)


@hypothesis.settings(
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(tree=TREES)
def test_any_tree_comes_back(path, tree):
    assert same(reloaded(path, tree), tree)


def test_other_readers_see_the_numbers_under_their_paths(path):
    tree = {"lstm": {"h": doped()}}
    storage.save(path, tree)
    plain = safetensors.numpy.load_file(path)
    stem = "lstm/h/terms/"
    assert sorted(plain) == [
        f"{stem}0/factors/0",
        f"{stem}0/factors/1",
        f"{stem}1/indices",
        f"{stem}1/values",
    ]
    np.testing.assert_array_equal(plain[f"{stem}1/values"], tree["lstm"]["h"].terms[1].values)


def test_a_header_is_read_without_the_numbers(path):
    tree = {"w": doped(), "k": 1}
    storage.save(path, tree, metadata={"perplexity": 81.5})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # in the numbers
    path.write_bytes(data)
    header = storage.read_header(path)
    assert (header.version, header.metadata) == (2, {"perplexity": 81.5})
    assert header.tree["w"].cost() == tree["w"].cost()
    assert header.tensors["w/terms/1/indices"] == jax.ShapeDtypeStruct((2, 3), jnp.uint8)
    assert storage.read_metadata(path) == {"perplexity": 81.5}
    with pytest.raises(storage.DamagedFileError):
        storage.load(path)


def test_the_file_of_version_1_stays_readable(tmp_path):
    record = json.loads((Path(__file__).parent / "golden_v1.json").read_text())
    path = tmp_path / "golden.slin"
    path.write_bytes(base64.b64decode("".join(record["base64"])))
    assert same(storage.load(path), golden_tree())
    assert storage.read_metadata(path) == GOLDEN_METADATA


@pytest.mark.parametrize("name", ["plain", "ans", "huffman"])
def test_the_files_of_version_2_stay_readable(tmp_path, name):
    record = json.loads((Path(__file__).parent / "golden_v2.json").read_text())
    path = tmp_path / "golden.slin"
    path.write_bytes(base64.b64decode("".join(record[name])))
    want = golden_tree() if name == "plain" else golden_coded_tree()
    for options in ({}, {"mmap": True}):
        assert same(storage.load(path, **options), want)
    assert storage.read_metadata(path) == GOLDEN_METADATA
    coders = {s.coder for s in storage.read_header(path).stored.values()}
    assert coders == ({""} if name == "plain" else {"", name})


def offsets(path):
    """Where each tensor of a file begins, and the length of the file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    places = {n: 8 + length + e["data_offsets"][0] for n, e in header.items() if n[0] != "_"}
    return places, len(data)


@pytest.mark.parametrize("name", ["a", "ab", "abc", "abcd", "abcde", "abcdefg"])
def test_every_tensor_stands_where_its_dtype_may_be_mapped(path, name):
    dtypes = {d: np.ones(3, jnp.dtype(d)) for d in DTYPES}
    storage.save(path, {name: dtypes}, metadata={"x": name})
    for tensor, place in offsets(path)[0].items():
        array = dtypes[tensor.rpartition("/")[2]]
        assert place % array.dtype.alignment == 0, tensor
    loaded = storage.load(path, mmap=True)[name]
    assert same(loaded, dtypes)
    assert all(x.flags.aligned and not x.flags.writeable for x in loaded.values())


def resident(path):
    """The bytes of a mapped file that are in memory, counting each map of it."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    inside, total = False, 0
    for line in lines:
        if "-" in line.split(" ")[0]:
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="needs Linux's account of maps")
def test_a_map_reads_what_is_used(path):
    size = 16 << 20
    table = {"a": np.zeros(size, np.uint8), "w": ms.Dense(np.ones((1 << 13, 512), np.float32))}
    coded = ms.Quantized(ms.Dense(np.zeros(size, np.uint8)), (np.ones(2, "f"),), ((1 << 14, 1024),))
    storage.save(path, table | {"q": coded})
    loaded = storage.load(path, mmap=True)
    before = resident(path)
    rows = np.asarray(loaded["w"][np.array([5, 4000])])
    codes = np.asarray(loaded["q"][np.array([7, 9000])])
    assert (rows == 1).all()
    assert (codes == 1).all()
    # Four places were touched, and the system maps up to two megabytes around each.
    assert max(before, resident(path)) < size
    assert int(loaded["a"].sum()) == 0
    assert resident(path) >= size


def test_a_map_outlives_the_file_and_is_verified_on_demand(path):
    storage.save(path, {"x": np.arange(5000), "y": np.ones(3)})
    loaded = storage.load(path, mmap=True)["x"]
    storage.save(path, {})
    np.testing.assert_array_equal(loaded, np.arange(5000))
    storage.save(path, {"x": np.arange(5000), "y": np.ones(3)})
    storage.verify(path)
    places, _ = offsets(path)
    data = bytearray(path.read_bytes())
    data[places["x"]] ^= 1
    path.write_bytes(data)
    assert storage.load(path, mmap=True)["x"][0] == 1
    for read in (storage.load, storage.verify):
        with pytest.raises(storage.DamagedFileError, match="checksum of 'x'"):
            read(path)


class Pair(NamedTuple):
    a: int
    b: int


class Opaque:
    pass


MASKED = np.ma.masked_array(np.ones(2), [True, False])
REFUSED = [
    (Pair(1, 2), r"'x/0' is a \S*Pair"),
    (collections.OrderedDict(a=1), "collections.OrderedDict.*flax.core.unfreeze"),
    (Opaque(), r"'x/0' is a \S*Opaque"),
    (1j, "is a complex"),
    (b"raw", "is a bytes"),
    ({1, 2}, "is a set"),
    (jax.random.key(0), "jax.random.key_data"),
    (jax.ShapeDtypeStruct((2,), jnp.float32), "ShapeDtypeStruct"),
    (np.array(["a"]), "array of <U1"),
    (np.array([None]), "array of object"),
    (np.zeros(1, "datetime64[s]"), "datetime64"),
    (np.zeros(1, [("a", "i4")]), "array of"),
    (np.str_("a"), "array of <U1"),
    (MASKED, "MaskedArray"),
    ({True: 1}, "key True of type bool"),
    ({(1, 2): 1}, "key .1, 2. of type tuple"),
    ({None: 1}, "of type NoneType"),
    (ms.Masked(np.ones((2, 2)), np.ones(3)), "'x/0/density'.*hold no arrays"),  # pyright: ignore[reportArgumentType]
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=lambda v: v if type(v) is str else "")
def test_what_has_no_form_is_refused_by_path_and_type(path, value, message):
    with pytest.raises(TypeError, match=message):
        storage.save(path, {"x": [value]})
    assert not path.exists()


def test_flax_containers_are_refused_with_advice(path):
    frozen = pytest.importorskip("flax.core").FrozenDict({"a": 1})
    with pytest.raises(TypeError, match=r"'p' is a flax\S*FrozenDict.*unfreeze"):
        storage.save(path, {"p": frozen})


def test_traced_arrays_are_refused(path):
    with pytest.raises(TypeError, match="'x' is traced"):
        jax.jit(lambda x: storage.save(path, {"x": x}))(1.0)


def test_trees_without_end_and_numbers_without_end_are_refused(path):
    loop: list = []
    loop.append(loop)
    for tree, message in [(loop, "levels deep"), (10**5000, "4096 bits")]:
        with pytest.raises(ValueError, match=message):
            storage.save(path, tree)
    deep = None
    for _ in range(64):
        deep = (deep,)
    assert same(reloaded(path, deep), deep)
    with pytest.raises(ValueError, match="levels deep"):
        storage.save(path, [deep])


def test_metadata_holds_plain_values(path):
    facts = {"a": [1, (2.5, None)], "b": {"c": True}, "n": np.float64(0.5), "s": specs.Kron()}
    storage.save(path, {}, metadata=facts)
    assert same(storage.read_metadata(path), {**facts, "n": 0.5})
    for wrong, message in [
        ({"a": np.ones(2)}, "'metadata/a'.*no arrays"),
        ({"a": ms.Dense(np.ones((1, 1)))}, "'metadata/a'.*no arrays"),
        ([1], "metadata is a dict; given a list"),
    ]:
        with pytest.raises(TypeError, match=message):
            storage.save(path, {}, metadata=wrong)


def test_paths_of_all_kinds(tmp_path):
    for name in ["plain", "naïve ☃ モデル.slin", "with space"]:
        for path in (tmp_path / name, os.fspath(tmp_path / name)):
            storage.save(path, [name])
            assert storage.load(path) == [name]
