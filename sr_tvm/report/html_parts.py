"""Small pieces of HTML, as Jinja2 macros in parts.html.j2. What is no ``Markup`` is escaped, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sr_tvm.report.svg import clean


@cache
def environment() -> jinja2.Environment:
    """The templates beside this file; a name that a page lacks is an error."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["line"] = text
    return made


def _part(name: str, *given: Any) -> Markup:
    return Markup(getattr(environment().get_template("parts.html.j2").module, name)(*given))


def text(value: Any, limit: int = 2000) -> Any:
    """``value`` on one line, to be escaped; ``Markup`` as it is."""
    return value if isinstance(value, Markup) else clean(value, limit)


def ms(value: float) -> str:
    """Milliseconds with three digits that count."""
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def amount(value: float) -> str:
    """A large count, short: 36.7 K, 8.5 G."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: set[int], strong: set[int] | None = None
) -> Markup:
    """A table; columns in ``numbers`` are set to the right, rows in ``strong`` stand out."""
    return _part("table", heads, list(rows), numbers, strong or set())


def section(title: str, *parts: Markup | str) -> Markup:
    return _part("section", title, parts)


def para(words: str, note: bool = False) -> Markup:
    return _part("para", words, note)


def heading(words: str) -> Markup:
    """A title within a section."""
    return _part("heading", words)


def wide(drawing: str) -> Markup:
    """An SVG drawing, made by us, that scrolls where the page is narrow."""
    return _part("wide", Markup(drawing))


def code(words: Any) -> Markup:
    return Markup("<code>{}</code>").format(text(words))


def facts(items: Iterable[tuple[str, str, str]]) -> Markup:
    """The figures at the top: (name, value, what it means)."""
    return _part("facts", list(items))


def slider(left: str, right: str, left_name: str, right_name: str) -> Markup:
    """Two pictures, as data URIs, with an edge between them that can be moved."""
    return _part("slider", left, right, left_name, right_name)


def crops(pictures: Iterable[tuple[str, str]]) -> Markup:
    """Small pictures side by side: data URI and caption."""
    return _part("crops", list(pictures))


def enlarged(source: str, caption: str, size: str, file: str) -> Markup:
    """One large picture."""
    return _part("enlarged", source, caption, size, file)
