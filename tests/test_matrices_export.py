"""Functions of matrices written by `jax.export` and read back."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from cases import CASES, make
from jax import export
from laws import close

from structlin import matrices as ms

pytest.importorskip("flatbuffers", reason="jax.export writes with the package flatbuffers")
every_structure = pytest.mark.parametrize("name", CASES)


@jax.jit
def apply(w, x):
    return x @ w


@every_structure
def test_a_function_of_a_matrix_is_written_and_read(name):
    matrix = make(name, 1, np.float32)
    x = np.ones((2, matrix.shape[0]), np.float32)
    written = export.export(apply)(matrix, x).serialize()
    read = export.deserialize(bytearray(written))
    assert read.in_tree == jax.tree.structure(((matrix, x), {}))
    close(read.call(matrix, x), x @ np.asarray(matrix.to_dense()), np.float32)


def test_what_is_read_has_a_gradient():
    matrix = make("LowRank", -1, np.float32)
    x = np.ones((2, matrix.shape[0]), np.float32)
    read = export.deserialize(bytearray(export.export(apply)(matrix, x).serialize(vjp_order=1)))
    got = jax.grad(lambda w: (read.call(w, x) ** 2).sum())(matrix)
    want = jax.grad(lambda w: ((x @ w) ** 2).sum())(matrix)
    jax.tree.map(lambda g, w: close(g, w, np.float32), got, want)


def test_a_batch_of_any_size():
    matrix = make("Kronecker", -1, np.float32)
    size = jax.ShapeDtypeStruct(export.symbolic_shape(f"b, {matrix.shape[0]}"), np.float32)
    read = export.deserialize(bytearray(export.export(apply)(matrix, size).serialize()))
    for batch in (1, 5):
        x = np.ones((batch, matrix.shape[0]), np.float32)
        close(read.call(matrix, x), x @ np.asarray(matrix.to_dense()), np.float32)


def test_another_process_reads_it(tmp_path):
    matrix, path = make("Sparse", 1, np.float32), tmp_path / "function"
    x = np.ones((2, matrix.shape[0]), np.float32)
    path.write_bytes(export.export(apply)(matrix, x).serialize())
    program = (
        "import sys, pathlib; from jax import export; import structlin.matrices;"
        "read = export.deserialize(bytearray(pathlib.Path(sys.argv[1]).read_bytes()));"
        "print(read.in_tree)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == str(jax.tree.structure(((matrix, x), {})))


def test_a_class_defined_again_is_written_too():
    def define():
        class Again(ms.Dense):
            """A dense matrix with a note."""

            note: tuple = ms.static(default=())

        return Again

    try:
        for note in ((), (np.int64(1), (2.5, "three"), None)):
            matrix = define()(np.ones((2, 3), np.float32), note)
            exported = export.export(apply)(matrix, np.ones(2, np.float32))
            read = export.deserialize(bytearray(exported.serialize()))
            assert read.in_tree == exported.in_tree
    finally:
        del ms.REGISTRY["Again"]
