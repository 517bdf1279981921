"""Common parts of the speed commands: warnings as notes, an input shape, the tables."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from typing_extensions import override

if TYPE_CHECKING:
    from sr_tvm.speed.feedback import Row


@contextmanager
def notes_of_warnings() -> Iterator[None]:
    """Print each warning of the block on stderr as a note of one line.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        click.echo(f"note: {warning.message}", err=True)


class InputShape(click.ParamType):
    """A click type: 1x3xHxW as a tuple of four numbers."""

    name = "1x3xHxW"

    @override
    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        parts = value.lower().split("x")
        if len(parts) != 4 or not all(p.isascii() and p.isdigit() and 1 <= int(p[:9]) <= 16384 for p in parts):
            self.fail(f"{value!r} is not of the form 1x3xHxW, as in 1x3x90x160", param, ctx)
        n, channels, height, width = (int(p) for p in parts)
        if (n, channels) != (1, 3):
            self.fail(f"{value!r}: networks take one RGB picture; the shape begins with 1x3x", param, ctx)
        return n, channels, height, width


def print_rows(rows: list[Row], unit: str) -> None:
    """Print what networks take and what was predicted, a line each.

    Args:
        rows: The networks.
        unit: Of both numbers, such as "ms".
    """
    click.echo(f"{'network':<44} {'measured':>10} {'predicted':>10} {'error':>7}   {unit}")
    for row in rows:
        click.echo(f"{row.name:<44} {row.measured:>10.3f} {row.predicted:>10.3f} {row.relative_error:>+7.1%}")
