"""The scripts of benchmarks/speed: other runtimes, whole models, tables and pictures."""

import importlib
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import structlin as sl
from structlin import bench
from structlin.bench import Case, Effort

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path += [str(BENCHMARKS), str(BENCHMARKS / "speed")]

peers = importlib.import_module("_peers")
tables = importlib.import_module("_speed_tables")
models = importlib.import_module("models")

TINY = Effort(rounds=3, seconds=5.0, sample=1e-4)
PEERS = {"ONNX Runtime, 1 thread", "ONNX Runtime, 2 threads", "PyTorch", "PyTorch, dynamic int8"}


def test_a_sparse_product_of_scipy():
    for batch in (1, 3):
        case = Case("product", 40, batch, structures=("Sparse 95 %", "Kron"))
        found = peers.peers(case, 0)
        assert list(found) == ["scipy.sparse, Sparse 95 %"]
        product = found["scipy.sparse, Sparse 95 %"].call()
        matrix = bench.drawn("Sparse 95 %", (40, 160), 0)
        want = np.asarray(bench.inputs(case, 0) @ matrix).T.reshape(product.shape)
        np.testing.assert_allclose(product, want, rtol=1e-5, atol=1e-6)


def test_runtimes_that_are_there_compute_the_same():
    found = peers.peers(Case("layer", 12, 2, 3), 0)  # each is compared when it is made
    assert set(found) == PEERS
    for name, peer in found.items():
        if isinstance(peer, str):
            assert peer.endswith("is not installed"), (name, peer)
        else:
            assert peer.call() is not None


def test_runtimes_that_are_not_there_say_so(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(peers.importlib, "import_module", absent)
    found = peers.peers(Case("layer", 12, 2, 3), 0)
    assert found["PyTorch"] == "torch is not installed"
    assert found["ONNX Runtime, 2 threads"] == "onnx is not installed"
    found = peers.peers(Case("training", 12, 2, 3), 0)
    assert found == {"PyTorch": "torch is not installed"}


def test_a_runtime_that_computes_something_else_is_no_contender():
    weights, x = bench.dense_weights(Case("layer", 4, 1, 2), 0), np.zeros((2, 1, 4), np.float32)
    arrays = tuple(map(np.asarray, weights))
    right = peers._lstm(arrays, x)
    peers._agree(arrays, x, right)
    made = peers._contender(lambda: peers._agree(arrays, x, right + 1))
    assert made == "ValueError: it computes something else"


@pytest.mark.parametrize("structure", ["Dense", "Kron"])
def test_models_say_a_token_at_a_time(structure):
    params = models.model(models.Size(1200, 16, 20, 2), structure)
    assert isinstance(params["embedding"], sl.matrices.LowRank) == (structure != "Dense")
    call = models.streaming(params)
    tokens = [int(call()[0]) for _ in range(4)]
    dense = models.streaming(sl.densify(params))
    assert tokens == [int(dense()[0]) for _ in range(4)]
    assert models.resident() > 1


def test_first_token_and_the_table_of_models(tmp_path):
    sl.save(tmp_path / "m.slin", models.model(models.Size(20, 8, 12, 1), "Kron"))
    found = models.first_token(tmp_path / "m.slin", native=False)
    assert found["first_token_seconds"] > 0
    row = {"name": "Kron, XLA", "microseconds": [9.0, 10.0, 11.0], "speedup": [2.0, 2.5, 3.0]}
    result = {"rows": [{"name": "characters", "contenders": [row | found | {"file_bytes": 1e6}]}]}
    line = tables.TABLES["speed_models"](result).splitlines()[-1]
    assert line.startswith("| characters | Kron, XLA | 100,000 | 2.50x | ")


@pytest.fixture(scope="module")
def result():
    """A result file of small cases under the names of large ones."""
    layer = ("Dense", "Kron", "LowRank 10x")
    small = {
        tables.LAYER: Case("layer", 20, 1, 3, layer),
        tables.LAYER + ", untuned": Case("layer", 20, 1, 3, layer),
        "product, 650 units, batch 64": Case("product", 20, 2, structures=("Sparse 98 %",)),
        "density, 650 units, batch 1": Case("density", 20, structures=tuple(bench.BY_DENSITY)[:4]),
        "training, 650 units, batch 20, 35 steps": Case("training", 20, 2, 3, ("Kron",)),
        "call, 64 units, batch 1": Case("call", 64, structures=("Kron",)),
    }

    def others(case, seed):
        if case.kind != "layer":
            return {}
        return {
            "PyTorch": "torch is not installed",
            "ONNX Runtime, 2 threads": bench.Contender(lambda: jnp.zeros(1)),
        }

    rows = [{"name": n} | bench.measure(c, TINY, peers=others) for n, c in small.items()]
    return {"rows": rows}


def test_the_table_of_a_gpu():
    micro = {"Dense": 100.0, "Kron": 50.0, "LowRank": 200.0}
    rows = [{"hidden": 650, "batch": batch, "microseconds": micro} for batch in (1, 16)]
    lines = tables.TABLES["speed_gpu"]({"rows": rows}).splitlines()
    assert lines[0] == "|  | 650, batch 1 | 650, batch 16 |"
    assert lines[2:] == [
        "| Dense | 100 µs | 100 µs |",
        "| Kron | 2.00x | 2.00x |",
        "| LowRank | 0.50x | 0.50x |",
    ]


@pytest.mark.parametrize("part", [part for part in tables.TABLES if part.startswith("speed/")])
def test_tables(part, result):
    lines = tables.TABLES[part](result).splitlines()
    assert len(lines) > 2
    assert len({line.count(" | ") for line in lines if "---" not in line}) == 1


def test_tables_say_what_was_measured(result):
    marks = tables.TABLES["speed/marks"](result)
    assert "| Kron, XLA | ONNX Runtime" not in marks  # its mark is of native code
    assert "| Kron, XLA | Hoisted dense scan | 5x | 8x | " in marks
    assert "| PyTorch | torch is not installed |" in tables.TABLES["speed/peers"](result)
    row = result["rows"][0]["contenders"][0]
    assert f"| Hoisted dense scan | {row['microseconds'][1]:,.1f}" in tables.TABLES["speed/layer"](
        result
    )


def test_the_picture(result, tmp_path):
    figure = importlib.import_module("_speed_plots").speed(result)
    figure.savefig(tmp_path / "speed.svg")
    left, right = figure.axes
    assert {t.get_text() for t in left.get_legend().get_texts()} >= {"Kron", "Hoisted dense scan"}
    assert {t.get_text() for t in right.get_legend().get_texts()} >= {"entries, XLA", "blocks, XLA"}
