"""The example of NNX is as short as it is meant to be."""

import ast
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "06_compress_nnx.py"


def user_lines(path):
    """How many lines of code a script has but imports; docstrings do not count."""
    nodes = [n for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.stmt)]

    def lines(chosen):
        return {n for node in chosen for n in range(node.lineno, node.end_lineno + 1)}

    docs = [n for n in nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
    blank = {i for i, text in enumerate(path.read_text("utf-8").splitlines(), 1) if not text}
    return len(lines(nodes) - lines(docs) - lines(imports) - blank)


def test_train_compress_tune_pack_evaluate_in_25_lines():
    assert 15 < user_lines(EXAMPLE) <= 25
