"""The report of a compression: its figures and its forms."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import structlin as sl
from structlin import specs


@pytest.fixture(scope="module")
def small():
    keys = jax.random.split(jax.random.key(0), 2)
    table = jax.random.normal(keys[0], (12, 6))
    params = {
        "embed": {"embedding": table},
        "out": {"kernel": jax.random.normal(keys[1], (6, 8)), "bias": jnp.zeros(8)},
        "twin": {"embedding": table},
    }
    recipe = {".*/embedding": specs.LowRank(rank=2), "out/kernel": specs.Sparse(density=0.5)}
    return params, sl.compress(params, recipe)


def test_rows_hold_what_the_matrices_cost(small):
    params, found = small
    for row in found.report.rows:
        module, name = row.path.split("/")
        matrix, dense = found.params[module][name], params[module][name]
        cost = matrix.pack().cost()
        assert (row.params, row.bytes, row.flops) == (cost.params, cost.bytes, cost.flops)
        assert row.compression == dense.nbytes / row.bytes
        error = np.linalg.norm(matrix.to_dense() - dense) / np.linalg.norm(dense)
        assert row.relative_error == pytest.approx(float(error), rel=1e-5)


def test_totals_count_all_leaves_and_tied_ones_once(small):
    params, found = small
    table = params["embed"]["embedding"]
    dense = sum(x.nbytes for x in jax.tree.leaves(params)) - table.nbytes
    total = found.report.total
    assert total.dense_bytes == dense
    packed = sl.pack(found.params)
    leaves = jax.tree.leaves({k: v for k, v in packed.items() if k != "twin"})
    assert total.bytes == sum(x.nbytes for x in leaves)
    assert found.report["twin/embedding"].tied_to == "embed/embedding"
    assert found.report.untouched.bytes == params["out"]["bias"].nbytes


def test_its_text_has_a_line_for_each_weight_and_two_more(small):
    lines = str(small[1].report).splitlines()
    assert len(lines) == 1 + 3 + 2
    assert lines[1].startswith("embed/embedding")
    assert "LowRank(rank=2)" in lines[1]
    assert "tied to embed/embedding" in lines[3]
    assert lines[-1].startswith("whole model")


def test_rich_draws_the_same_cells(small):
    from rich.console import Console

    report = small[1].report
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report)
    drawn = console.export_text()
    for line in report.lines():
        for cell in line:
            assert cell in drawn


def test_json_has_every_figure(small):
    report = small[1].report
    record = json.loads(report.to_json())
    assert [r["path"] for r in record["rows"]] == [r.path for r in report.rows]
    assert record["rows"][0]["spec"] == {"spec": "LowRank", "rank": 2}
    assert record["total"]["bytes"] == report.total.bytes
    assert record["total"]["compression"] == report.total.compression
    assert sl.surgery.Row.from_record(report.rows[0].record()) == report.rows[0]


def test_the_picture_is_written(small, tmp_path):
    file = tmp_path / "report.png"
    small[1].report.plot(file)
    assert file.read_bytes()[:4] == b"\x89PNG"


def test_a_missing_row_is_named(small):
    with pytest.raises(KeyError, match="out/kernel"):
        small[1].report["out/kern"]


def test_what_is_still_to_be_pruned_is_not_counted():
    params = {"out": {"kernel": jax.random.normal(jax.random.key(0), (8, 8))}}
    spec = specs.PerGate(specs.Sparse(density=0.25, anneal=True), gates=2)
    row = sl.compress(params, {"out/kernel": spec}).report["out/kernel"]
    assert row.relative_error == 0
    assert row.params == 16
