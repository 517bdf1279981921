"""The texts of a package, as Jinja2 templates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def render(name: str, facts: Mapping[str, Any]) -> str:
    """Fill in a template; a fact that it names and that is missing is an error.

    Args:
        name: Of the template, without ``.j2``.
        facts: By name.

    Returns:
        The text.
    """
    return _environment().get_template(f"{name}.j2").render(facts)


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # C and CMake, no HTML
    )
    made.globals["terms_text"] = _terms
    made.filters["c_string"] = _c_string
    made.filters["plain"] = _plain
    made.filters["mb"] = lambda count: f"{count / 2**20:.1f}"
    return made


def _c_string(text: str) -> str:
    """Return a text as C has it, whatever characters are in it."""
    safe = set(range(32, 127)) - set(b'"?\\')  # with "?", trigraphs
    return '"' + "".join(chr(b) if b in safe else f"\\{b:03o}" for b in text.encode()) + '"'


def _plain(text: str) -> str:
    """Return a text for a comment, which it must not end, or for a table."""
    return re.sub(r"[^A-Za-z0-9 ._+-]", "_", text)


def _terms(terms: Sequence[tuple[int, int, int]]) -> str:
    return ", ".join("{%d, %d, %d}" % term for term in terms or [(0, 0, 0)])  # noqa: UP031


def write_texts(folder: Path, name: str, facts: dict[str, Any], kind: str = "") -> None:
    """Write what a package has beside its code: example, files of CMake and pkg-config, README.

    Args:
        folder: Of the package, in which ``lib`` and ``example`` are.
        name: The network's.
        facts: For the templates.
        kind: Begins the names of the templates of packages that have their own; CMake's version file is the same in
            all.
    """
    cmake, example, package = folder / "lib" / "cmake" / name, folder / "example", folder / "lib" / "pkgconfig"
    cmake.mkdir(parents=True)
    package.mkdir()
    for template, path in (
        (f"{kind}example.c", example / "example.c"),
        (f"{kind}CMakeLists.txt", example / "CMakeLists.txt"),
        (f"{kind}config.cmake", cmake / f"{name}-config.cmake"),
        ("version.cmake", cmake / f"{name}-config-version.cmake"),
        (f"{kind}package.pc", package / f"{name}.pc"),
        (f"{kind}README.md", folder / "README.md"),
    ):
        path.write_text(render(template, facts), encoding="utf-8")
