"""Small pieces of HTML. Everything that comes from outside goes through :func:`text`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from sr_tvm.report.svg import clean


def text(value: Any, limit: int = 2000) -> str:
    """``value`` as escaped text on one line."""
    return html.escape(clean(value, limit))


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
) -> str:
    """A table; columns in ``numbers`` are set to the right, rows in ``strong`` stand out.

    Cells are escaped here, unless they are :class:`Markup`.
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
    return f"<section><h2>{text(title)}</h2>\n" + "\n".join(p for p in parts if p) + "</section>"


def para(words: str, note: bool = False) -> str:
    """A paragraph of words not yet escaped."""
    return f'<p class="note">{text(words)}</p>' if note else f"<p>{text(words)}</p>"


def facts(items: Iterable[tuple[str, str, str]]) -> str:
    """The figures at the top: (name, value, what it means)."""
    cells = (f"<div><dt>{text(n)}</dt><dd>{text(v)}</dd><small>{text(s)}</small></div>" for n, v, s in items)
    return f'<dl class="facts">{"".join(cells)}</dl>'
