"""Command-line options that several benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

from sr_tvm.errors import SrTvmError

Words = Callable[[click.Context, click.Parameter, str], list[str]]


def numbers(ctx: click.Context, option: click.Parameter, value: str) -> list[int]:
    """A comma-separated list of whole numbers from 1."""
    try:
        found = [int(part) for part in value.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise click.BadParameter(f"{value!r}; give whole numbers from 1, separated by commas, such as 1,2")
    return list(dict.fromkeys(found))


def size(ctx: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    """HxW."""
    height, _, width = value.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise click.BadParameter(f"{value!r}; give height x width, such as 360x640")
    return int(height), int(width)


def words(known: Sequence[str]) -> Words:
    """A comma-separated list of names out of ``known``; an empty ``known`` allows all."""

    def check(ctx: click.Context, option: click.Parameter, value: str) -> list[str]:
        found = [part.strip() for part in (value or "").split(",") if part.strip()]
        if wrong := [part for part in found if known and part not in known]:
            raise click.BadParameter(f"unknown {wrong[0]!r}; known are {', '.join(known)}")
        return list(dict.fromkeys(found))

    return check


def run(command: click.Command) -> None:
    """Run a benchmark's command; an error is one line and exit code 1."""
    try:
        command()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
