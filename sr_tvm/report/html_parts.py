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
    """Open the templates beside this file; a name that a page lacks is an error.

    Returns:
        Jinja2's environment, which escapes what is filled in.
    """
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
    """Put a value on one line, to be escaped by the template that it goes into.

    Args:
        value: Anything that has a text; ``Markup`` stays as it is.
        limit: The most characters; the middle of what is longer is left out.

    Returns:
        Plain text, or the ``Markup``.
    """
    return value if isinstance(value, Markup) else clean(value, limit)


def ms(value: float) -> str:
    """Format a time with three digits that count.

    Args:
        value: In milliseconds.

    Returns:
        The number and its unit.
    """
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def amount(value: float) -> str:
    """Format a large count, short: 36.7 K, 8.5 G.

    Args:
        value: The count.

    Returns:
        Three digits that count and a prefix, to put a unit behind.
    """
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " K")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:g}"


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Any]], numbers: set[int], strong: set[int] | None = None
) -> Markup:
    """Build a table.

    Args:
        heads: Titles of the columns.
        rows: Cells of each row.
        numbers: Indices of columns that are set to the right.
        strong: Indices of rows that stand out.

    Returns:
        HTML.
    """
    return _part("table", heads, list(rows), numbers, strong or set())


def section(title: str, *parts: Markup | str) -> Markup:
    """Build a section of the page.

    Args:
        title: Not yet escaped.
        *parts: HTML; what is "" is left out.

    Returns:
        HTML.
    """
    return _part("section", title, parts)


def para(words: str, note: bool = False) -> Markup:
    """Build a paragraph.

    Args:
        words: Not yet escaped.
        note: Whether it is set small, as a note.

    Returns:
        HTML.
    """
    return _part("para", words, note)


def heading(words: str) -> Markup:
    """Build a title within a section.

    Args:
        words: Not yet escaped.

    Returns:
        HTML.
    """
    return _part("heading", words)


def wide(drawing: str) -> Markup:
    """Let a drawing scroll where the page is narrow.

    Args:
        drawing: An ``<svg>`` element, made by us.

    Returns:
        HTML.
    """
    return _part("wide", Markup(drawing))


def code(words: Any) -> Markup:
    """Set words as code.

    Args:
        words: Not yet escaped.

    Returns:
        HTML.
    """
    return Markup("<code>{}</code>").format(text(words))


def facts(items: Iterable[tuple[str, str, str]]) -> Markup:
    """Build the list of figures at the top of the page.

    Args:
        items: (name, value, what it means) of each, not yet escaped.

    Returns:
        HTML.
    """
    return _part("facts", list(items))


def slider(left: str, right: str, left_name: str, right_name: str) -> Markup:
    """Build a pair of pictures with an edge between them that can be moved.

    Args:
        left: A data URI.
        right: A data URI of a picture of the same size.
        left_name: What the left one is, not yet escaped.
        right_name: What the right one is, not yet escaped.

    Returns:
        HTML.
    """
    return _part("slider", left, right, left_name, right_name)


def crops(pictures: Iterable[tuple[str, str]]) -> Markup:
    """Build a row of small pictures, side by side.

    Args:
        pictures: A data URI and a caption, not yet escaped, of each.

    Returns:
        HTML.
    """
    return _part("crops", list(pictures))


def enlarged(source: str, caption: str, size: str, file: str) -> Markup:
    """Build a large picture with its caption.

    Args:
        source: A data URI.
        caption: Not yet escaped.
        size: Of the picture, in words.
        file: Its name in the run's folder.

    Returns:
        HTML.
    """
    return _part("enlarged", source, caption, size, file)
