"""No two public classes share a name: a traceback, a search for the name or a sentence about it means one thing."""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "sr_tvm"


def homonyms(files: Iterable[Path]) -> dict[str, list[Path]]:
    """The files of each public class whose name is that of another, too."""
    found = defaultdict(list)
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(), file)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(file)
    return {name: where for name, where in found.items() if len(where) > 1}


def modules() -> list[Path]:
    # Path.rglob follows no links, and passes/ and models/ are linked into the package.
    roots = {folder.resolve() for folder in (PACKAGE, *PACKAGE.iterdir()) if folder.is_dir()}
    return sorted({file.resolve() for root in roots for file in root.rglob("*.py")})


def test_no_two_public_classes_share_a_name():
    files = modules()
    assert {"sr_tvm", "passes", "models"} <= {file.relative_to(PACKAGE.parent).parts[0] for file in files}
    assert not homonyms(files)


def test_a_shared_name_is_found(tmp_path):
    for name, text in {"a": "class Plan: ...\nclass _Own: ...", "b": "class Plan: ...\nclass _Own: ..."}.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert homonyms(sorted(tmp_path.iterdir())) == {"Plan": [tmp_path / "a.py", tmp_path / "b.py"]}
