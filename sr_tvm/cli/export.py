"""``sr-tvm export``: a trained or a named network to ONNX, compared with PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import click

EXAMPLE_SIZE = (360, 640)


@click.command()
@click.argument("source", metavar="WEIGHTS_OR_NAME")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The ONNX file.")
@click.option("--input-shape", metavar="SHAPE", help="Fix the input, for example 1x3x360x640. [default: symbolic H, W]")
@click.option("--dynamic", is_flag=True, help="Keep height and width symbolic, which is the default.")
@click.option("--scale", type=click.IntRange(2, 4), help="Of a network given by name. [default: 2]")
@click.option(
    "--exporter",
    type=click.Choice(["dynamo", "torchscript"]),
    default="dynamo",
    show_default=True,
    help="PyTorch's new exporter, or the one that traces.",
)
@click.option("--opset", type=click.IntRange(9, 25), help="ONNX operator set. [default: the exporter's]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    source: str,
    output: Path,
    input_shape: str | None,
    dynamic: bool,
    scale: int | None,
    exporter: str,
    opset: int | None,
    as_json: bool,
) -> None:
    """Write a network as one self-contained ONNX file and say how far it is from PyTorch.

    WEIGHTS_OR_NAME is a .safetensors file of 'sr-tvm train', or wdsr-<depth>x<channels>, fsrcnn, carn-m or vgg16,
    which get random weights.

    \b
    Example:  sr-tvm export models/wdsr_x2_37k.safetensors -o wdsr.onnx
              sr-tvm export fsrcnn -o fsrcnn.onnx --input-shape 1x1x360x640
    """
    if dynamic and input_shape:
        raise click.UsageError("--dynamic and --input-shape exclude each other")
    from sr_tvm.errors import SrTvmError
    from sr_tvm.system import files

    files.check_writable(output)
    from sr_tvm.frontend.export import export_onnx
    from sr_tvm.frontend.input_shapes import parse_input_shape
    from sr_tvm.nets import registry

    named, fixed = registry.is_name(source), source == "vgg16"
    if dynamic and fixed:
        raise SrTvmError("vgg16 takes pictures of 224 x 224 only; leave out --dynamic")
    if scale and fixed:
        raise SrTvmError("vgg16 enlarges nothing; leave out --scale")
    if named:
        module = registry.build(source, scale or 2)
        example = registry.input_shape(source, 24, 20)
    elif Path(source).exists() or source.endswith(".safetensors"):
        from sr_tvm.nets.weights import load_weights

        module, example = load_weights(source), (1, 3, 24, 20)
        if scale not in (None, module.architecture.scale):
            raise SrTvmError(f"{source}: is of scale {module.architecture.scale}, not {scale}; leave out --scale")
    else:
        raise SrTvmError(f"{source}: no such file, and no network of that name; {', '.join(registry.NAMES)} are")
    shape: tuple[int, ...] = example
    if input_shape:
        ((name, shape),) = parse_input_shape(input_shape).items()
        if name not in ("", "x") or len(shape) != 4 or shape[1] != example[1] or (fixed and shape[2:] != example[2:]):
            takes = "x".join(map(str, example)) if fixed else f"Nx{example[1]}xHxW"
            raise SrTvmError(f"--input-shape {input_shape}: {source} takes {takes}, its input is named x")
    symbolic = not input_shape and not fixed
    parity = export_onnx(module, output, shape, symbolic, exporter, opset)
    if as_json:
        row = {"path": str(output), "bytes": output.stat().st_size, "parity": parity.to_json(), "random_weights": named}
        click.echo(json.dumps({**row, "input_shape": [*shape[:2], "height", "width"] if symbolic else list(shape)}))
        return
    if named:
        click.echo(f"{source} with random weights (seed 0): for compiling and timing, not for pictures")
    click.echo(f"parity with PyTorch: largest difference {parity.max_abs_err:.2g} at a peak of {parity.peak:.3g}")
    click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")
    height, width = EXAMPLE_SIZE
    fix = f" --input-shape 1x{shape[1]}x{height}x{width}" if symbolic else ""
    click.echo(f"next:  sr-tvm compile {output} --target cpu{fix} -o {output.with_suffix('')}-cpu")
    if symbolic:
        click.echo("       without --input-shape: one library for pictures of every size")
