"""What README.md and docs/ name is there: files, modules, links between pages, commands and their options."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import click
import pytest

from sr_tvm.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name / "README.md" for name in ("", "models", "tuning_logs"))]
TOP = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")} - {"runs", "tuning", "build", "dist"}
ROOMS = {path.name for path in (ROOT / "sr_tvm").iterdir()}
SOURCE = ("benchmarks", "docs", "models", "passes", "recipes", "sr_tvm", "tests", "tuning_logs")
CODE = re.compile(r"`([^`\n]+)`")
PLACEHOLDER = re.compile(r"NAME|SUBJECT")
OF_OTHERS = {"jni.h"}
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


@cache
def files() -> tuple[str, ...]:
    """All files and folders of the repository, each from the top, folders with a slash at the end."""
    found = []
    for name in SOURCE:
        for path in (ROOT / name).rglob("*"):
            if "__pycache__" not in path.parts:
                found.append(str(path.relative_to(ROOT)) + ("/" if path.is_dir() else ""))
    return tuple(found)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def spans(page: Path) -> list[str]:
    """What is in backticks, but for blocks of code."""
    return CODE.findall(re.sub(r"^```.*?^```", "", text_of(page), flags=re.S | re.M))


def exists(path: str) -> bool:
    """Whether a path is there: from the top, from sr_tvm/, or as the end of some path, as `rows/plan.py` is."""
    if (ROOT / path).exists() or (ROOT / "sr_tvm" / path).exists():
        return True
    return any(f"/{known}".endswith(f"/{path}") for known in files())


def is_repository_path(span: str) -> bool:
    no_path = not re.fullmatch(r"[\w./-]+", span) or span.startswith(("/", "."))
    if span in OF_OTHERS or no_path or PLACEHOLDER.search(span):
        return False
    if "/" not in span:
        return span.endswith((".py", ".c", ".h", ".S", ".j2"))
    return span.split("/")[0] in TOP | ROOMS or span.endswith((".py", ".h", ".j2"))


@cache
def defined(module: Path) -> dict[str, ast.AST]:
    """The names that a module has at its top, and what defines them."""
    return members(ast.parse(module.read_text(encoding="utf-8")).body)


def members(body: list[ast.stmt]) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
    return found


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or something that a module or its class has."""
    parts, here = dotted.split("."), ROOT
    while parts and ((here / parts[0]).is_dir() or (here / f"{parts[0]}.py").is_file()):
        here = here / parts[0] if (here / parts[0]).is_dir() else here / f"{parts[0]}.py"
        parts = parts[1:]
    if not parts:
        return True
    names = defined(here if here.is_file() else here / "__init__.py")
    for part in parts:
        node = names.get(part)
        if node is None:
            return False
        names = members(node.body) if isinstance(node, ast.ClassDef) else {}
    return True


@cache
def sources() -> str:
    modules = [name for name in files() if name.startswith("sr_tvm/") and name.endswith(".py")]
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in modules)


def commands(page: Path) -> list[str]:
    """The calls of ``sr-tvm`` in code, each on one line; what follows a # is said of them."""
    joined = re.sub(r"\\\n\s*", "", text_of(page))
    fences = "\n".join(re.findall(r"^```\n(.*?)^```", joined, flags=re.S | re.M))
    lines = [*re.findall(r"^ {4}(\S.*)$", joined, flags=re.M), *fences.splitlines()]
    found = [line for line in lines if re.match(r"(\.venv/bin/)?sr-tvm ", line)]
    found += [span for span in spans(page) if span.startswith("sr-tvm ")]
    return [one.split("#")[0].split("&&")[0].removeprefix(".venv/bin/") for one in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestPage:
    def test_paths(self, page: Path) -> None:
        missing = [span for span in spans(page) if is_repository_path(span) and not exists(span)]
        assert not missing

    def test_modules(self, page: Path) -> None:
        named = [s for s in spans(page) if re.fullmatch(r"(sr_tvm|benchmarks|recipes)(\.\w+)+", s)]
        assert [s for s in named if not resolves(s) and f'"{s}"' not in sources()] == []

    def test_links(self, page: Path) -> None:
        for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
            if link.startswith(("http://", "https://")):
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            if anchor:
                titles = re.findall(r"^#+ (.*)$", text_of(target), flags=re.M)
                assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}, link

    def test_commands(self, page: Path) -> None:
        for line in commands(page):
            name, *rest = line.split()[1:]
            if not re.fullmatch(r"[a-z]+", name):
                continue  # COMMAND, or an option of sr-tvm itself
            assert name in COMMANDS, line
            command = importlib.import_module(f"sr_tvm.cli.{name}").command
            if isinstance(command, click.Group):
                assert not rest or rest[0] in command.commands, line
                command = command.commands[rest[0]] if rest else command
            known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            assert set(OPTION.findall(line)) <= known, line

    def test_make(self, page: Path) -> None:
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for line in re.findall(r"(?:`|^ {4}|^)make ([a-z-]+)((?: \w+=\S+)*)", text_of(page), flags=re.M):
            assert re.search(rf"^{line[0]}:", makefile, flags=re.M), line
            for name in re.findall(r"\bNAME=(\w+)", line[1]):
                assert name in ("x", "NAME") or list(ROOT.glob(f"benchmarks/*/{name}.py")), line


def test_what_is_missing_is_noticed() -> None:
    assert exists("rows/plan.py") and exists("passes/pipeline.py") and exists("penalty.py")
    assert not exists("rows/plans.py") and not exists("plan.p") and not exists("lan.py")
    assert is_repository_path("sr_tvm/nowhere.py") and not is_repository_path("runs/x.json")
    assert resolves("sr_tvm.targets.target.Capabilities.any_size") and resolves("sr_tvm.passes.mapping.TABLE")
    assert not resolves("sr_tvm.build.compiler.takes_any_size") and not resolves("sr_tvm.nothing")
