"""The example of an unmodified model takes few lines."""

import ast
import io
import tokenize
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def user_lines(path):
    """How many lines of code a script has; imports, docstrings and comments do not count."""
    text = path.read_text("utf-8")
    free = set()
    for node in ast.walk(ast.parse(text)):
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if words or isinstance(node, ast.Import | ast.ImportFrom):
            free |= set(range(node.lineno, node.end_lineno + 1))
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {t.start[0] for t in tokens if t.type not in (*blank, tokenize.ENDMARKER)}
    return len(code - free)


def test_train_compress_tune_pack_evaluate_in_30_lines():
    assert user_lines(EXAMPLES / "04_compress_an_unmodified_model.py") <= 30
