"""The output of ``sr-tvm explain --isa hexagon``: the loops of an integer artifact's kernels, packet by packet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sr_tvm.isa.hexagon.bodies import Body
    from sr_tvm.isa.hexagon.program import ProgramCount, StageCount

NAME = "hexagon"
_COLUMNS = ("", "loop", "turns", "packets", "vrmpy", "MAC/packet", "HVX", "loads", "stores", "spills", "stalls")


def show(folder: Path, as_json: bool) -> None:
    """Count the loops of an artifact, and print them.

    Args:
        folder: The artifact's.
        as_json: Whether JSON is printed instead of a table.

    Raises:
        SrTvmError: It is no integer artifact of target hexagon, or a damaged one.
    """
    from sr_tvm.isa.hexagon import program
    from sr_tvm.records.artifact import Artifact

    Artifact.load(folder)
    counted = program.count(folder)
    click.echo(json.dumps(counted.to_json())) if as_json else _print(counted)


def _print(counted: ProgramCount) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from sr_tvm.isa.hexagon.assembly import STALL
    from sr_tvm.isa.hexagon.bodies import BOUND

    console = Console()
    title = f"hexagon: static, counted in LLVM's assembly; nothing ran. The bound is two vrmpy, {BOUND} MAC, a packet"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "loop" else "right", overflow="fold")
    kinds = _kinds(counted)
    for number, (stage, _) in enumerate(kinds, 1):
        for found in dict.fromkeys(stage.nests):  # one function may make several parts of a row
            for body in found.bodies:
                table.add_row(str(number), *_row(body))
    console.print(table)
    for number, (stage, times) in enumerate(kinds, 1):
        said = f"{stage.macs_per_packet:.1f} MAC/packet of the network, {stage.stalls:.1f} stalls a tile of 32 pixels"
        console.print(f"{number} {stage.stage.what} ({times}x): {said}", highlight=False)
    console.print(
        "\nA row's numbers are of one turn of the loop without the loops in it; MAC are those of whole vectors, what "
        "fills them up included. Spills are vectors stored to the stack or loaded from it",
        highlight=False,
    )
    console.print(f"Stalls: {STALL}", highlight=False)
    console.print(
        f"\nNetwork, loops alone: {counted.macs_per_packet:.1f} MAC/packet, {counted.stalls_percent:.2f} % of the "
        "packets stall. What runs, and all around the loops, is counted by 'sr-tvm bench' in the simulator",
        highlight=False,
    )


def _kinds(counted: ProgramCount) -> list[tuple[StageCount, int]]:
    """Return stages of the same functions once, and how many there are."""
    found: dict[tuple[str, ...], tuple[StageCount, int]] = {}
    for stage in counted.stages:
        key = tuple(call.symbol for call in stage.stage.calls)
        found[key] = found.get(key, (stage, 0))[0], found.get(key, (stage, 0))[1] + 1
    return list(found.values())


def _row(body: Body) -> tuple[str, ...]:
    numbers = (body.vector, body.loads, body.stores, body.spills, body.stalls)
    return (
        "tiles" if body.depth == 1 else "inner",
        "-" if body.trips is None else str(body.trips),
        str(body.packets),
        str(body.multiplications),
        f"{body.macs_per_packet:.1f}",
        *map(str, numbers),
    )
