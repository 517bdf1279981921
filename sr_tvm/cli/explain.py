"""``sr-tvm explain``: what the passes did, and why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sr_tvm.passes.report import PassReport

FEW = 12  # operators of one kernel that are listed one by one


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--input-shape",
    "shape",
    multiple=True,
    metavar="[NAME:]1x3xHxW",
    help="Size of an input that the file leaves open, else any size where the target takes it; repeat for more.",
)
@click.option("--target", default="cpu", show_default=True, help="Target that the kernels are made for.")
@click.option("--dump", type=click.Path(file_okay=False, path_type=Path), help="Write the module after each phase.")
@click.option("--isa", metavar="GPU", help="Count an artifact's machine code: a GPU such as adreno-660, or hexagon.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(
    model: Path, shape: tuple[str, ...], target: str, dump: Path | None, isa: str | None, as_json: bool
) -> None:
    """Say which operators of MODEL became one kernel, by which rule, and what memory traffic that saved.

    MODEL is an ONNX file, or the folder of a compiled artifact, whose own report is then shown.

    \b
    Examples:
      sr-tvm explain models/wdsr_x2_37k.onnx
      sr-tvm explain model.onnx --input-shape 1x3x360x640 --dump phases/
      sr-tvm explain out/
      sr-tvm explain out/ --isa adreno-660
      sr-tvm explain dsp/ --isa hexagon
    """
    from sr_tvm.cli._given import refuse_given

    if isa is not None:
        from sr_tvm.cli import _isa_table, _packet_table

        if not model.is_dir():
            raise click.UsageError(f"--isa needs the folder of a compiled OpenCL or Hexagon artifact; {model} is none")
        refuse_given("--isa counts the kernels of an artifact as they are", "shape", "target", "dump")
        if isa == _packet_table.NAME:
            _packet_table.show(model, as_json)
            return
        _isa_table.show(model, isa, as_json)
        return
    if model.is_dir():
        from sr_tvm.passes.report import FILE_NAME, PassReport

        refuse_given(f"{model} is an artifact: only an ONNX file can be compiled", "shape", "target", "dump")
        report = PassReport.load(model / FILE_NAME)
    else:
        report = _make(model, shape, target, dump)
    if as_json:
        click.echo(json.dumps(report.to_json()))
        return
    _print(report)
    if dump:
        click.echo(f"The module after each phase is in {dump}; read {dump}/{_last(report)}.")


def _make(model: Path, shape: tuple[str, ...], target: str, dump: Path | None) -> PassReport:
    """Return what the passes did: import and optimise the ONNX file, checking what is cheap before TVM is loaded."""
    from sr_tvm.cli._input_shapes import merge_open
    from sr_tvm.system import files
    from sr_tvm.targets import registry

    registry.check(target)
    if dump:
        files.check_writable(dump / "phase")
    given = merge_open(shape)
    from sr_tvm.frontend.model import read_model

    read = read_model(model)
    read.require_float()
    preset = registry.get(target)
    shapes = read.open_shapes(given) if preset.capabilities.any_size else read.shapes(given)

    from sr_tvm.frontend.to_relax import import_graph
    from sr_tvm.passes.pipeline import optimize

    return optimize(import_graph(read.graph(shapes)), preset.tvm_target(), dump, preset.lowering(), preset)[1]


def _last(report: PassReport) -> str:
    phase = report.phases[-1]
    return f"{phase['number']:02d}-{phase['name']}.py"


def _print(report: PassReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
        for name in columns:
            numeric = name in ("times", "KiB written", "B written", "ms", "phase")
            made.add_column(name, justify="right" if numeric else "left", overflow="fold")
        return made

    written = "B written" if report.per_pixel else "KiB written"
    kernels = table("Kernels", "times", "operators", "rule", written)
    groups: Counter[tuple[Any, ...]] = Counter()
    for row in report.fusions:
        rules = row["rule"].replace("; ", "\n")
        groups[(_operators(row["operators"]), rules, row["output_bytes"])] += 1
    for (operators, rule, size), times in groups.items():
        kernels.add_row(str(times), operators, rule, str(size) if report.per_pixel else f"{size / 1024:.1f}")
    console.print(kernels)

    for title, rows, key in (("Folded away", report.rewrites, "rule"), ("Not done", report.refusals, "reason")):
        if rows:
            made = table(f"\n{title}", "times", key, "first at")
            firsts = {row[key]: row["where"] for row in reversed(rows)}
            for said, times in Counter(row[key] for row in rows).items():
                made.add_row(str(times), said, firsts[said])
            console.print(made)

    phases = table("\nPhases", "phase", "name", "what", "ms")
    for row in report.phases:
        phases.add_row(str(row["number"]), row["name"], row["what"], f"{row['ms']:.0f}")
    console.print(phases)
    before, after = report.intermediate_bytes_before, report.intermediate_bytes_after
    sizes = f"{before} -> {after} bytes a pixel of the input"
    if not report.per_pixel:
        sizes = f"{before / 2**20:.2f} -> {after / 2**20:.2f} MiB a picture"
    console.print(f"\nKernels: {report.kernels_before} -> {report.kernels_after}", highlight=False)
    console.print(f"Intermediates written to memory: {sizes}", highlight=False)


def _operators(names: list[str]) -> str:
    """Return the names in order where they are few; of a whole network how many there are of each."""
    if len(names) <= FEW:
        return " + ".join(names)
    return f"{len(names)} operators: " + ", ".join(f"{times} {name}" for name, times in Counter(names).most_common())
