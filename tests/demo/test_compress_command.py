"""``structlin compress``: the same as in the library, and one line for all that goes wrong."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command import one_line
from safetensors.numpy import save_file

import structlin as sl
from structlin import specs

SIZES = {"a/kernel": (12, 16), "b/kernel": (16, 10), "c/embedding": (20, 12)}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    found = {path: rng.normal(size=shape).astype(np.float32) for path, shape in SIZES.items()}
    return found | {"a/bias": np.ones(16, np.float32)}


@pytest.fixture
def model(arrays, tmp_path):
    """A file with a tree in it, in which not all is arrays; the test is where it is."""
    tree = {"name": "small", "steps": [3, None]}
    for path, array in arrays.items():
        module, name = path.split("/")
        tree.setdefault(module, {})[name] = jnp.asarray(array)
    sl.save(tmp_path / "m.slin", tree, {"vocabulary": "abc"})
    return tree


LOW, SPARSE = specs.LowRank(rank=2), specs.Sparse(compression=2)


def equal(a, b):
    same = jax.tree.map(lambda x, y: bool(np.all(x == y)), sl.densify(a), sl.densify(b))
    return all(jax.tree.leaves(same))


def test_by_recipe(cmd, model):
    recipe = sl.Recipe({"c/.*": LOW, ".*/kernel": SPARSE})
    recipe.to_toml("r.toml")
    status, out, err = cmd("compress", "m.slin", "small.slin", "--recipe", "r.toml", "--json", "j")
    assert (status, err) == (0, "")
    want = sl.compress(model, recipe)
    found = sl.load("small.slin")
    assert equal(found, want.params)
    assert isinstance(found["a"]["kernel"], sl.matrices.Sparse)
    assert sl.storage.read_metadata("small.slin") == {"vocabulary": "abc"}
    with open("j", encoding="utf-8") as file:
        assert json.load(file) == want.report.record()
    assert "a/kernel" in out
    assert f"{want.report.total.compression:.2f}x smaller" in out


def test_pruned_weights_stay_trainable_if_asked(cmd, model):
    sl.Recipe({"a/kernel": SPARSE}).to_toml("r.toml")
    status, _, _ = cmd("compress", "m.slin", "m.slin", "--recipe", "r.toml", "--no-pack")
    assert status == 0
    assert isinstance(sl.load("m.slin")["a"]["kernel"], sl.matrices.Masked)


def test_by_plan(cmd, model, tmp_path):
    options = ("--candidates", "LowRank,Circulant", "--save-plan", "p.toml", "--plot", "r.png")
    status, _, err = cmd("compress", "m.slin", "new/small.slin", "--bytes", "1500", *options)
    assert (status, err) == (0, "")
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    found = sl.load("new/small.slin")
    assert sum(x.nbytes for x in jax.tree.leaves(found) if hasattr(x, "nbytes")) <= 1500
    plan = sl.Plan.from_toml(tmp_path / "p.toml")
    assert set(plan) == set(SIZES)
    status, _, _ = cmd("compress", "m.slin", "again.slin", "--recipe", "p.toml")
    assert status == 0
    assert (tmp_path / "again.slin").read_bytes() == (tmp_path / "new/small.slin").read_bytes()


def test_options_of_a_plan_reach_it(cmd, model, monkeypatch):
    given = []
    plan = sl.surgery.plan

    def noted(tree, **options):
        given.append(options)
        return plan(tree, **options)

    monkeypatch.setattr(sl.surgery, "plan", noted)
    options = ("--candidates", "Sparse", "--importance", "magnitude", "--include", "a/.*", "--fuse")
    status, _, _ = cmd("compress", "m.slin", "s.slin", "--compression", "1.2", *options)
    assert status == 0
    want = {"include": "a/.*", "fuse": True, "importance": "magnitude", "compression": 1.2}
    assert given[-1].items() >= (want | {"candidates": [SPARSE], "bytes": None}).items()


def test_named_arrays_of_other_tools(cmd, arrays):
    # Their numbers of 64 bits become the 32 of JAX.
    np.savez("m.npz", **{p: a.astype(np.float64) for p, a in arrays.items()})
    save_file({p.replace("/", "."): a for p, a in arrays.items()}, "m.safetensors")
    sl.Recipe({"c/embedding": LOW}).to_toml("r.toml")
    for source in ("m.npz", "m.safetensors"):
        status, _, _ = cmd("compress", source, "small.slin", "--recipe", "r.toml")
        assert status == 0
        found = sl.load("small.slin")
        np.testing.assert_array_equal(found["a"]["kernel"], arrays["a/kernel"])
        assert found["b"]["kernel"].dtype == np.float32
        assert found["c"]["embedding"].left.shape == (20, 2)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "one of --recipe, --compression and --bytes; given none"),
        (("--bytes", "9", "--compression", "2"), "given --compression and --bytes"),
        (("--recipe", "r.toml", "--fuse"), "--fuse is for a plan"),
        (("--recipe", "r.toml", "--save-plan", "p"), "--save-plan is for a plan"),
        (("--recipe", "missing.toml"), "there is no file missing.toml"),
        (("--recipe", "broken.toml"), "broken.toml: This is not TOML"),
        (("--recipe", "odd.toml"), "cannot read odd.toml"),
        (("--recipe", "r.toml"), "'nothing' in the recipe matches no parameter"),
        (("--recipe", "large.toml"), "a/kernel, 12 x 16, cannot be fitted by LowRank(rank=99)"),
        (("--compression", "0"), "positive number for its budget; given 0"),
        (("--compression", "nan"), "positive number for its budget; given nan"),
        (("--compression", "1e-310"), "infinity"),
        (("--compression", "ten"), "Invalid value for '--compression'"),
        (("--bytes", "70", "--candidates", "Circulant"), "70 bytes; the least"),
        (("--bytes", "900", "--include", "kern"), "The weights are: a/kernel 12 x 16, b/kernel"),
        (("--bytes", "900", "--include", "("), "not a regular expression"),
        (("--bytes", "900", "--importance", "large"), "given 'large'"),
        (("--bytes", "900", "--candidates", "Dopd"), "no spec is named 'Dopd'; there are Block"),
        (("--bytes", "900", "--candidates", "PerGate"), "PerGate needs more than a size"),
        (("--bytes", "900", "--candidates", ","), "names no spec"),
        (("--bytes", "900", "--plot", "r.txt"), "--plot writes .png"),
    ],
)
def test_wrong_arguments(cmd, model, tmp_path, args, message):
    sl.Recipe({"nothing": LOW}).to_toml("r.toml")
    sl.Recipe({"a/kernel": specs.LowRank(rank=99)}).to_toml("large.toml")
    (tmp_path / "broken.toml").write_text("[recipe")
    (tmp_path / "odd.toml").write_text("outputs = 3\n[recipe]\n")
    before = set(tmp_path.iterdir())
    status, _, err = cmd("compress", "m.slin", "small.slin", *args)
    assert status == 2
    assert message in one_line(err)
    assert set(tmp_path.iterdir()) == before


def test_files_that_are_missing_or_misnamed(cmd, tmp_path):
    for names, message in {
        ("nowhere.slin", "o.slin"): "no file nowhere.slin",
        ("nowhere.npz", "o.slin"): "no file nowhere.npz",
        ("nowhere.slin", "o.npz"): "OUT is a .slin file, given o.npz",
        ("nowhere.slin",): "Missing argument 'OUT'",
    }.items():
        status, _, err = cmd("compress", *names, "--bytes", "900")
        assert status == 2
        assert message in one_line(err)


def test_damaged_files(cmd, model, arrays, tmp_path):
    whole = (tmp_path / "m.slin").read_bytes()
    np.savez(tmp_path / "whole.npz", **arrays)
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    save_file({"a": np.ones(3), "a.b": np.ones(3)}, tmp_path / "double.safetensors")
    np.save(tmp_path / "one.npy", np.ones(3))
    damaged = {
        "cut.slin": whole[:-20],
        "cut.safetensors": whole[:-20],
        "flipped.slin": whole[:-1] + bytes([whole[-1] ^ 1]),
        "empty.npz": b"",
        "cut.npz": (tmp_path / "whole.npz").read_bytes()[:-20],
        "one.npz": (tmp_path / "one.npy").read_bytes(),
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "o.slin").write_text("as it was")
    for name in (*damaged, "objects.npz", "double.safetensors"):
        status, _, err = cmd("compress", name, "o.slin", "--bytes", "900")
        assert status == 1
        assert name in one_line(err)
    assert (tmp_path / "o.slin").read_text() == "as it was"


def test_unwritable_outputs(cmd, model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for names in (("file/o.slin",), ("o.slin", "--json", "file/j"), ("o.slin", "--save-plan", ".")):
        status, _, err = cmd("compress", "m.slin", *names, "--bytes", "3000")
        assert status == 1
        assert "cannot write" in one_line(err)
        assert not (tmp_path / "o.slin").exists()
