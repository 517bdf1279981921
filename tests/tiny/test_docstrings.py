"""Every public function of the package documents its arguments; ruff holds the rest of its text (pyproject.toml)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("sr_tvm", "passes", "recipes")
# Click shows the docstring of a command as its help, and tells the options by their own help texts.
NOT_HELD = {"command", "group", "override", "overload"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _names(decorators: list[ast.expr]) -> Iterator[str]:
    for expression in decorators:
        expression = expression.func if isinstance(expression, ast.Call) else expression
        yield expression.attr if isinstance(expression, ast.Attribute) else getattr(expression, "id", "")


def _public(body: list[ast.stmt]) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public(node.body)
        elif (
            isinstance(node, Function)
            and not node.name.startswith("_")
            and not NOT_HELD & {*_names(node.decorator_list)}
        ):
            yield node


def undocumented_args(source: str) -> list[str]:
    """Public functions and methods with parameters that have no line in an Args section."""
    found = []
    for node in _public(ast.parse(source).body):
        lines = [line.strip() for line in (ast.get_docstring(node) or "").splitlines()]
        section = lines[lines.index("Args:") + 1 :] if "Args:" in lines else []
        a = node.args
        names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg)))]
        missing = [
            name
            for name in names
            if name not in ("self", "cls")
            and not name.startswith("_")
            and not any(line.lstrip("*").startswith((f"{name}:", f"{name} (")) for line in section)
        ]
        if missing:
            found.append(f"line {node.lineno}: {node.name}: {', '.join(missing)}")
    return found


def test_finds_what_is_missing():
    good = 'def f(a, *b):\n    """Do.\n\n    Args:\n        a: One.\n        *b: More.\n    """\n'
    assert undocumented_args(good) == []
    assert undocumented_args(good.replace("a: One", "c: One")) == ["line 1: f: a"]
    assert undocumented_args('class A:\n    def f(self, x):\n        """Do."""\n') == ["line 2: f: x"]
    assert (
        undocumented_args("def _f(x): pass\nclass _A:\n    def f(self, x): pass\n@click.command()\ndef f(x): pass\n")
        == []
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_all_public_functions_document_their_args(folder):
    files = [path for path in sorted((ROOT / folder).rglob("*.py")) if not path.is_symlink()]
    assert files
    told = {str(path.relative_to(ROOT)): undocumented_args(path.read_text()) for path in files}
    assert {name: lines for name, lines in told.items() if lines} == {}
