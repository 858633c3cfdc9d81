"""The generated page about the structures says what the classes say today; other pages run."""

import importlib.util
import re
from pathlib import Path

import pytest

import structlin
from structlin import matrices as ms
from structlin.matrices._registry import HOOKS

SCRIPT = Path(structlin.__path__[0]).parent / "docs" / "structures.py"


@pytest.fixture(scope="module")
def page():
    found = importlib.util.spec_from_file_location("structures_page", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


OURS = [name for name, c in ms.REGISTRY.items() if c.__module__.startswith("structlin.")]


@pytest.mark.parametrize("name", OURS)
def test_a_structure_states_its_facts(name, page):
    missing = set(page.NEEDED) - set(page.facts(ms.REGISTRY[name]))
    assert not missing, f"the docstring of {name} needs lines {sorted(missing)}"


def test_the_page_agrees_with_the_structures(page):
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.page(), "run python docs/structures.py"


def test_operations_say_how(page):
    notes = []
    assert page.how(ms.Diagonal, "solve", notes) == "closed"
    assert page.how(ms.HMD, "solve", notes) == "iterative"
    assert page.how(ms.HMD, "cholesky", notes) == "--"
    assert page.how(ms.Dense, "rows", notes) == "closed"
    assert page.how(ms.Kronecker, "solve", notes) == "closed [1]"
    assert notes == ["square factors"]


@pytest.mark.parametrize("name", OURS)
def test_conditions_are_of_operations(name):
    assert set(ms.REGISTRY[name].needs) <= set(HOOKS)


def run_page(name):
    """Runs the blocks of a page one after the other, and returns its names."""
    text = (SCRIPT.parent / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, f"<docs/{name}>", "exec"), names)
    return names


def test_the_page_about_checkpoints_runs(capsys):
    names = run_page("checkpoints.md")
    assert "lstm/h/kernel" in capsys.readouterr().out
    assert isinstance(names["params"]["lstm"]["i"]["kernel"], ms.LowRank)


def test_the_page_about_training_runs():
    names = run_page("training.md")
    assert names["accuracy"] > 0.6
    kernel = names["small"]["lstm"]["h"]["kernel"]
    assert isinstance(kernel, ms.Sum)
    assert kernel.cost().compression >= 4


def test_the_page_about_embeddings_runs():
    names = run_page("embeddings.md")
    assert isinstance(names["tuned"], ms.RowGroups)
    assert names["small"].error <= 0.31


def test_the_page_about_performance_runs(monkeypatch):
    monkeypatch.setattr(structlin, "tune_cpu", lambda: ("the settings of this process stay",))
    names = run_page("performance.md")
    kernel = names["fast"]["cell"]["h"]["kernel"]
    assert isinstance(kernel, ms.Native)
    assert kernel.cost().compression >= 9


def test_the_page_about_projections_runs():
    names = run_page("projections.md")
    assert names["found"].tolist() == names["exported"].tolist() == [0, 1]
    assert names["right"] > 0.85
