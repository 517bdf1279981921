"""Small pieces of HTML. Everything that comes from outside goes through :func:`text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from sr_tvm.report.svg import clean


def text(value: Any, limit: int = 2000) -> str:
    """Escape a value as text on one line.

    Args:
        value: Anything that has a text.
        limit: Characters before escaping; the middle of what is longer is left out.

    Returns:
        HTML.
    """
    return html.escape(clean(value, limit))


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
) -> str:
    """Build a table.

    Args:
        heads: Titles of the columns; without any but "" there is no head.
        rows: Cells of each row; they are escaped here, unless they are :class:`Markup`.
        numbers: Indices of columns that are set to the right.
        strong: Indices of rows that stand out.

    Returns:
        HTML.
    """

    def cell(tag: str, i: int, value: Any) -> str:
        inner = value if isinstance(value, Markup) else text(value)
        return f'<{tag} class="n">{inner}</{tag}>' if i in numbers else f"<{tag}>{inner}</{tag}>"

    head = "".join(cell("th", i, h) for i, h in enumerate(heads))
    body = []
    for r, row in enumerate(rows):
        this = ' class="this"' if strong and r in strong else ""
        body.append(f"<tr{this}>" + "".join(cell("td", i, v) for i, v in enumerate(row)) + "</tr>")
    top = f"<thead><tr>{head}</tr></thead>" if any(heads) else ""
    return f'<div class="wide"><table>{top}<tbody>{"".join(body)}</tbody></table></div>'


class Markup(str):
    """Text that is HTML already, made by us."""


def section(title: str, *parts: str) -> str:
    """Build a section of the page.

    Args:
        title: Not yet escaped.
        *parts: HTML; what is "" is left out.

    Returns:
        HTML.
    """
    return f"<section><h2>{text(title)}</h2>\n" + "\n".join(p for p in parts if p) + "</section>"


def para(words: str, note: bool = False) -> str:
    """Build a paragraph.

    Args:
        words: Not yet escaped.
        note: Whether it is set small, as a note.

    Returns:
        HTML.
    """
    return f'<p class="note">{text(words)}</p>' if note else f"<p>{text(words)}</p>"


def facts(items: Iterable[tuple[str, str, str]]) -> str:
    """Build the list of figures at the top of the page.

    Args:
        items: (name, value, what it means) of each, not yet escaped.

    Returns:
        HTML.
    """
    cells = (f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd><small>{text(s)}</small></div>" for n, v, s in items)
    return f'<dl class="facts">{"".join(cells)}</dl>'
