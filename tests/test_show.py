"""A matrix as text, as a table and as a picture."""

import io
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import rich.console
import treescope
from cases import CASES, make
from matplotlib.figure import Figure

from structlin import matrices as ms
from structlin.matrices import _plot

every_structure = pytest.mark.parametrize("name", CASES)


def axes():
    """Axes that no window shows."""
    return Figure().subplots()


def test_repr_names_the_compression_and_the_parts():
    doped = make("Sum", -1, np.float32)
    text = repr(doped)
    assert text.startswith("Sum(24x36, float32, 132 params, 600 bytes, 5.8x smaller: ")
    assert text.endswith(": Kronecker, Sparse)")
    assert "Sum[Kronecker, Sparse]" in repr(ms.Permuted(doped, None, None))
    assert "smaller" not in repr(make("Dense", -1, np.float32))
    wide = ms.ColumnBlocks((make("Dense", 0, np.float32),) * 40)
    assert len(repr(wide)) <= 120


@every_structure
def test_summary_adds_up(name):
    matrix = make(name, -1, np.float32)
    rows, cost = matrix.summary().rows, matrix.cost()
    assert rows[0][:2] == (0, name)
    assert rows[0][4:6] == (f"{cost.params:,}", f"{cost.bytes:,}")
    leaves = [row for row in rows[1:] if not row[-1]]  # arrays have no compression
    assert sum(int(row[5].replace(",", "")) for row in leaves) == cost.bytes
    assert sum(int(row[4].replace(",", "")) for row in leaves) == cost.params


def test_summary_is_text_and_a_table():
    summary = make("Sum", -1, np.float32).summary()
    text = str(summary)
    assert repr(summary) == text
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["part", "shape", "dtype"]
    assert [line.split()[0] for line in lines[1:5]] == [
        "Sum",
        "kronecker",
        "factors[0]",
        "factors[1]",
    ]
    assert "40%" in text
    console = rich.console.Console(file=io.StringIO(), width=100)
    console.print(summary)
    shown = console.file.getvalue()
    for word in ("kronecker Kronecker", "factors[1]", "24 x 36", "600", "5.8x"):
        assert word in shown
        assert word in text


def test_summary_of_shapes_alone_and_of_half_precision():
    matrix = make("Sparse", -1, jnp.bfloat16)
    assert "bfloat16" in str(matrix.summary())


@every_structure
def test_picture_shows_every_magnitude(name):
    matrix = make(name, -1, np.float32)
    ax = matrix.plot(axes())
    (image,) = ax.images
    want = np.abs(np.asarray(matrix.to_dense()))
    shown = np.ma.filled(image.get_array(), 0)
    np.testing.assert_allclose(shown, want, rtol=1e-4, atol=1e-5 * want.max())
    assert ax.get_title(loc="left").startswith(name)
    assert f"{want.shape[0]}x{want.shape[1]}" in ax.get_xlabel()


def test_picture_of_a_large_matrix_is_made_of_bins(tmp_path, monkeypatch):
    large = ms.Diagonal(jnp.arange(1.0, 2001.0))
    monkeypatch.setattr(_plot, "AT_ONCE", 100_000)  # in several parts
    ax = large.plot(path=tmp_path / "w.png")
    (image,) = ax.images
    shown = np.ma.filled(image.get_array(), 0)
    assert shown.shape == (400, 400)
    assert np.array_equal(shown != 0, np.eye(400, dtype=bool))
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")


def test_picture_of_odd_shapes_and_numbers(tmp_path):
    for shape in ((1, 1000), (1000, 1), (3, 500)):
        ms.LowRank(jnp.ones((shape[0], 1)), jnp.ones((1, shape[1]))).plot(path=tmp_path / "w.png")
    ms.Dense(jnp.zeros((2, 3), jnp.bfloat16)).plot(axes())
    ms.Dense(jnp.full((2, 3), 1j)).plot(axes())
    ms.Dense(jnp.array([[jnp.nan, 1.0]])).plot(axes())


def test_without_matplotlib_the_error_names_the_extra():
    code = """
import sys
sys.modules["matplotlib"] = None
sys.modules["rich"] = None
import jax.numpy as jnp
from structlin import matrices as ms
w = ms.Diagonal(jnp.ones(2))
print(w.summary())
try:
    w.plot()
except ImportError as error:
    assert "structlin[plot]" in str(error), error
else:
    sys.exit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore:The chararray class:DeprecationWarning")  # treescope's own
@every_structure
def test_treescope_shows_the_fields(name):
    matrix = make(name, 1, np.float32)
    text = treescope.render_to_text(matrix)
    assert name in text
    for field in matrix.__dataclass_fields__:
        assert f"{field}=" in text
