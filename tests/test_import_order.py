"""Packages import only from those above them, and nothing imports in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import structlin

ROOT = Path(structlin.__path__[0])
ORDER = [
    *["decompose", "kernels", "matrices", "specs", "functional", "linen", "nnx"],
    *["train", "text", "networks", "surgery", "storage", "builder", "demo", "bench", "cli"],
]
WHOLE = ("", "__main__")
"""Modules that see every package: the top of the library and the way to run it."""

PROGRAMS = ("demo", "bench", "cli")
"""What uses the library as its users do: these may also import its top."""


def name_of(path):
    """The dotted name of a file, ``structlin`` itself being the empty one."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(p): p for p in sorted(ROOT.rglob("*.py"))}


def imports(name, *, types=True):
    """Modules of structlin that ``name`` imports; with ``types`` also for type checkers alone."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    skipped = [b for n in nodes if isinstance(n, ast.If) and not types for b in for_types(n)]
    for node in [n for n in nodes if n not in skipped]:
        if isinstance(node, ast.Import):
            targets = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["structlin", *filter(None, package.split("."))]
                base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [base])])
            targets = [f"{base}.{a.name}" for a in node.names]
        else:
            continue
        for target in targets:
            if target.split(".")[0] == "structlin":
                inner = target.removeprefix("structlin").lstrip(".")
                while inner and inner not in MODULES:
                    inner = inner.rpartition(".")[0]
                yield inner


def for_types(node):
    """What stands under ``if TYPE_CHECKING:``, which never runs."""
    return node.body if ast.unparse(node.test) == "TYPE_CHECKING" else []


def test_every_package_has_a_place():
    packages = {name.split(".")[0] for name in MODULES} - set(WHOLE)
    private = {p for p in packages if p.startswith("_")}
    unplaced = packages - private - set(ORDER)
    assert not unplaced, f"give {sorted(unplaced)} a place in ORDER of {__file__}"


@pytest.mark.parametrize("name", [n for n in MODULES if n.split(".")[0] in ORDER])
def test_imports_go_upwards(name):
    package = name.split(".")[0]
    allowed = {*ORDER[: ORDER.index(package) + 1], *([""] if package in PROGRAMS else [])}
    for target in imports(name):
        other = target.split(".")[0]
        private = other.startswith("_") and other not in WHOLE
        assert other in allowed or private, (
            f"structlin.{name} imports structlin.{target}: {package} may import only from "
            f"{sorted(allowed)}. Move what it needs upwards, or hand it in as an argument."
        )


def test_nothing_imports_in_a_circle():
    done, path = set(), []

    def visit(name):
        assert name not in path, "a circle of imports: " + " -> ".join([*path, name])
        if name in done:
            return
        path.append(name)
        for target in imports(name, types=False):
            if target != name and target in MODULES:
                visit(target)
        path.pop()
        done.add(name)

    for name in MODULES:
        visit(name)


def test_the_reader_of_imports_sees_them():
    assert {"decompose", "matrices._base", "matrices._spec"} <= set(imports("matrices._kron_spec"))
    assert set(imports("matrices._cost")) == set()


def test_the_core_does_not_load_flax():
    code = """
import importlib, sys
for name in ("decompose", "kernels", "matrices", "specs"):
    importlib.import_module(f"structlin.{name}")
    if "flax" in sys.modules:
        sys.exit(f"importing structlin.{name} loads flax: import layers on first use")
"""
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
