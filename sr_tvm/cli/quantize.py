"""``sr-tvm quantize``: a float ONNX file and pictures to an int8 one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--data", required=True, metavar="DIR", help="Pictures to calibrate with; up to 24 of them are used.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The ONNX file.")
@click.option("--multipliers", is_flag=True, help="Multiply sums where a power of two would coarsen the weights.")
@click.option("--evaluate", "sets", multiple=True, metavar="DIR", help="Then compare it with float on these pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: Path, data: str, output: Path, multipliers: bool, sets: tuple[str, ...], as_json: bool) -> None:
    """Quantise the float ONNX file MODEL after training: int8 weights, uint8 activations, 32-bit sums.

    Ranges, weights and biases are chosen on the pictures of --data, shrunk by the network's scale. The result is ONNX
    with QuantizeLinear and DequantizeLinear, whose scales are powers of two apart, as Hexagon's vectors like them.

    \b
    sr-tvm quantize models/wdsr_x2_37k.onnx --data BSDS400 -o wdsr_int8.onnx --evaluate Set5
    sr-tvm compile wdsr_int8.onnx --target hexagon -o dsp/
    """
    from sr_tvm.build.integer import quantize_model
    from sr_tvm.quantize.calibrate import Calibration

    bar = None
    if sys.stderr.isatty() and not as_json:
        from rich.progress import Progress

        bar = Progress(transient=True)
        bar.start()
        task = bar.add_task("quantising", total=None)

    def progress(done: int, of: int) -> None:
        if bar is not None:
            bar.update(task, completed=done, total=of)

    warnings: list[str] = []
    try:
        how = Calibration(multipliers=multipliers)
        region, network = quantize_model(model, data, output, how, progress, warnings.append)
    finally:
        if bar is not None:
            bar.stop()
    for line in warnings:
        click.echo(f"warning: {line}", err=True)
    scores = []
    for folder in sets:
        from sr_tvm.evaluation.integer import compare

        scores.append(compare(region, network, folder))
    if as_json:
        rows = [score.to_json() for score in scores]
        value = {"path": str(output), "bytes": output.stat().st_size, "evaluated": rows, "warnings": warnings}
        click.echo(json.dumps(value))
        return
    for score in scores:
        click.echo(str(score))
    click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")
    click.echo(f"next: sr-tvm compile {output} --target hexagon -o {output.with_suffix('')}-hexagon")
