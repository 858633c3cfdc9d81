"""What is easily forgotten: cases, docstrings, names, messages, and the size of files."""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from cases import CASES, SPEC_CASES, make

import structlin
from structlin import matrices as ms
from structlin import specs

ROOT = Path(structlin.__path__[0])
FILES = sorted(ROOT.rglob("*.py"))
PUBLIC_FILES = {"specs.py", "demo.py", "__init__.py", "__main__.py"}
FILE_CAP, BODY_CAP = 400, 50

MODULES = [
    "structlin",
    *(
        found.name
        for found in pkgutil.walk_packages(structlin.__path__, "structlin.")
        if not found.name.endswith("__main__")  # importing it runs it
    ),
]


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def label(path):
    return str(path.relative_to(ROOT))


every_file = pytest.mark.parametrize("path", FILES, ids=label)


def test_every_structure_has_cases():
    ours = {n for n, c in ms.REGISTRY.items() if c.__module__.startswith("structlin.")}
    missing, unknown = ours - set(CASES), set(CASES) - ours
    assert not missing, f"add factories of {sorted(missing)} to CASES in tests/cases.py"
    assert not unknown, f"CASES in tests/cases.py has {sorted(unknown)}, which structlin has not"


def test_every_spec_has_cases():
    ours = {n for n, c in specs.SPECS.items() if c.__module__.startswith("structlin.")}
    missing, unknown = ours - set(SPEC_CASES), set(SPEC_CASES) - ours
    assert not missing, f"add specs of {sorted(missing)} to SPEC_CASES in tests/cases.py"
    assert not unknown, f"SPEC_CASES in tests/cases.py has {sorted(unknown)}: no such spec"
    hidden = ours - set(specs.__all__)
    assert not hidden, f"export {sorted(hidden)} from structlin/specs.py"


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_a_structure_are_enough(name):
    made = [make(name, i, np.float32) for i in range(len(CASES[name]))]
    assert {type(w).__name__ for w in made} == {name}
    assert len(made) >= 3, f"{name} needs a case of one row, one of one column and a large one"
    m, n = made[-1].shape
    assert m * n >= 800, f"the last case of {name} is {m} x {n}: too small to show a dense form"


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} needs a docstring that says what is in it"
    source = assignments_with_docstrings(Path(module.__file__))
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert written(value), f"{name}.{public} needs a docstring"
        elif not inspect.ismodule(value) and public in source:
            assert source[public], f"{name}.{public} needs a docstring in the line below it"
        if inspect.isclass(value) and value.__module__.startswith("structlin"):
            for member, attribute in vars(value).items():
                if not member.startswith("_") and isinstance(attribute, property | type(written)):
                    doc = inspect.getdoc(getattr(value, member))
                    assert doc, f"{name}.{public}.{member} needs a docstring"


def written(value):
    """The docstring that somebody wrote, not the signature that ``dataclass`` fills in."""
    doc = value.__doc__ or ""
    return "" if doc.startswith(f"{getattr(value, '__name__', '')}(") else doc


def assignments_with_docstrings(path):
    """Names that a module assigns -> whether a string follows the assignment."""
    body, found = tree(path).body, {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        documented = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            found |= {t.id: documented for t in targets if isinstance(t, ast.Name)}
    return found


@every_file
def test_modules_are_private_unless_named(path):
    private = path.name.startswith("_") or path.name in PUBLIC_FILES
    assert private, f"rename {label(path)} to _{path.name} and export its names from the package"


@every_file
def test_files_and_functions_stay_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE_CAP, f"{label(path)} has {lines} lines, over {FILE_CAP}: split it by topic"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            assert length <= BODY_CAP, (
                f"{label(path)}: {node.name} has {length} lines, over {BODY_CAP}: split it by step"
            )


@every_file
def test_errors_carry_a_message(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            bare = node.exc.id[0].isupper()
            assert not bare, f"{label(path)}:{node.lineno} raises {node.exc.id} without a message"
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            given = node.exc.args or node.exc.keywords
            assert given, f"{label(path)}:{node.lineno} raises without a message: say what to do"
