"""The output of ``sr-tvm explain --isa``: the machine code of an artifact's kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sr_tvm.errors import SrTvmError

if TYPE_CHECKING:
    from sr_tvm.isa.count import Count
    from sr_tvm.isa.network import NetworkCount
    from sr_tvm.records.artifact import Artifact

_COLUMNS = ("", "calls", "MAC/slot", "slots", "regs", "waves", "spills", "MB", "issue", "memory", "loads")


def show(folder: Path, gpu: str, as_json: bool) -> None:
    """Count the kernels of an artifact for a GPU, and print them.

    Args:
        folder: The artifact's.
        gpu: The GPU's name, such as "adreno-660".
        as_json: Whether JSON is printed instead of a table.

    Raises:
        SrTvmError: It is no OpenCL artifact, the GPU is unknown, or the compilers are not there.
    """
    from sr_tvm.isa import gpus
    from sr_tvm.isa.device_code import DeviceCode
    from sr_tvm.isa.network import count_network
    from sr_tvm.records.artifact import Artifact

    gpus.get(gpu)
    artifact = Artifact.load(folder)
    if artifact.tvm_target.get("kind") != "opencl":
        raise SrTvmError(f"{folder} is for target {artifact.target}, which has no OpenCL; GPUs need adreno or mali")
    network = count_network(DeviceCode.load(folder), gpu, _macs(artifact))
    click.echo(json.dumps(network.to_json())) if as_json else _print(network)


def _macs(artifact: Artifact) -> float | None:
    """Return the network's multiply-accumulates by its architecture, where that is known and the input is fixed."""
    from sr_tvm.records.architecture import Architecture

    shape = artifact.inputs[0].shape
    if artifact.architecture is None or len(shape) != 4:
        return None
    height, width = shape[2:]
    if not isinstance(height, int) or not isinstance(width, int):
        return None
    return float(Architecture.from_json(artifact.architecture).macs(height, width))


def _print(network: NetworkCount) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from sr_tvm.isa import gpus

    console = Console()
    title = f"{network.gpu}: Mesa {network.mesa}'s compiler, static, not the vendor's; an estimate"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "loads" else "right", overflow="fold")
    for number, count in enumerate(network.counts, 1):
        table.add_row(*_row(number, count, network.calls[count.name]))
    console.print(table)
    for number, count in enumerate(network.counts, 1):
        problem = f": not to be trusted, {count.problem}" if count.problem else ""
        console.print(f"{number} {count.name}{problem}", highlight=False)
    notes = (
        "MAC are those of the kernels, padding included. Slots and loads (by memory: global, local, constant, image, "
        "private) are of one work-item, spills:fills of the text"
    )
    console.print(f"\n{notes}. Issue and memory are ms of a call by these rates:", highlight=False)
    for key, rate in gpus.get(network.gpu).rates.items():
        console.print(f"  {key} {rate['value']:.4g}: {rate['source']}", highlight=False)
    if stands_for := gpus.get(network.gpu).stands_for:
        console.print(f"  {stands_for}", highlight=False)
    sums = f"{network.useful_macs / 1e9:.3f} GMAC in {network.slots / 1e9:.3f} G slots"
    whole = f"{sums}, {network.mac_per_slot:.4f} a slot"
    asked = "of the network" if network.macs is not None else "of its kernels, padding included"
    console.print(f"\nNetwork: {whole} (MAC {asked}); {network.footprint / 1e6:.1f} MB touched", highlight=False)
    if network.estimated_ms is None:
        console.print("No time: the rates of this GPU are not published.", highlight=False)
    else:
        said = "the larger floor of each launch, summed"
        console.print(f"Estimated {network.estimated_ms:.1f} ms: {said}; no phone was asked.", highlight=False)


def _row(number: int, count: Count, calls: int) -> tuple[str, ...]:
    facts = count.statistics
    loads = " ".join(f"{where[0]} {moved['count']:.0f}" for where, moved in sorted(count.loads.items()))
    registers = str(facts.registers) if not facts.half_registers else f"{facts.registers}+{facts.half_registers}h"
    return (
        f"{number}{'!' if count.problem else ''}",
        str(calls),
        f"{count.mac_per_slot:.4f}",
        f"{count.slots:.0f}",
        registers,
        "-" if facts.max_waves is None else str(facts.max_waves),
        f"{facts.spills}:{facts.fills}",
        f"{count.footprint / 1e6:.2f}",
        *("-" if ms is None else f"{ms:.2f}" for ms in (count.arithmetic_ms, count.memory_ms)),
        loads,
    )
