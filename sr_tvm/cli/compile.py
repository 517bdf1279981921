"""``sr-tvm compile``: an ONNX file to an artifact for a target."""

from __future__ import annotations

import json

import click

from sr_tvm.targets import registry


@click.command()
@click.argument("model", type=click.Path())
@click.option("--target", "target", required=True, metavar="NAME", help=f"One of {', '.join(registry.names())}.")
@click.option("-o", "--output", required=True, type=click.Path(), help="The artifact's folder; replaced if there.")
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    metavar="[NAME:]NxCxHxW",
    help="Fix a symbolic shape; repeat it. Letters for H and W, as in 1x3xHxW, keep them open.",
)
@click.option("--database", type=click.Path(), metavar="DIR", help="Tuning records to build from ('sr-tvm tune').")
@click.option("--no-shipped-log", is_flag=True, help="Do not use the tuning records that come with sr-tvm.")
@click.option(
    "--fp16", is_flag=True, help="Keep numbers in float16: adreno, mali, CPUs that can. Says the cost in PSNR."
)
@click.option("--host", metavar="NAME", help="adreno, mali: what calls the kernels, android (default), x86 or arm.")
@click.option("--mcpu", metavar="NAME", help="hexagon: the processor, hexagonv65 to hexagonv75; default hexagonv68.")
@click.option("--data", metavar="DIR", help="Pictures to measure --fp16 with; a few photographs if not given.")
@click.option("--verify", "verified", is_flag=True, help="First run its kernels here, and write nothing if they err.")
@click.option("--json", "as_json", is_flag=True, help="Print the artifact's manifest as one JSON object.")
def command(
    model: str,
    target: str,
    output: str,
    input_shapes: tuple[str, ...],
    database: str | None,
    no_shipped_log: bool,
    fp16: bool,
    host: str | None,
    mcpu: str | None,
    data: str | None,
    verified: bool,
    as_json: bool,
) -> None:
    """Turn the ONNX file MODEL into an artifact: a folder with a library and all that is known about it.

    A model with symbolic height and width becomes one library for pictures of every size, where the target can do that
    (cpu); a fixed shape may be faster.

    With --fp16 the streaming kernels of a CPU that has float16 instructions compute in it. Those of adreno and mali
    keep weights and what lies between kernels in it; a phone's Mali adds in it, too. The output is then compared with
    float32's on this machine, on the pictures of --data; for another CPU, and GPUs, by emulation, and the note says so.

    Kernels of adreno and mali are called by the CPU of a phone. With --host x86, or arm, by that of a Linux machine:
    the artifact then runs on its OpenCL device, which may be a GPU or, by PoCL, the CPU ('sr-tvm doctor').

    With --verify the same kernels run on this machine first, called by its CPU, on its OpenCL device (adreno, mali):
    on noise and on a picture, against those of another target. Where they compute something else nothing is written.

    \b
    sr-tvm compile models/wdsr_x2_37k.onnx --target cpu -o out/
    sr-tvm compile models/wdsr_x2_37k.onnx --target cpu -o out/ --input-shape 1x3x360x640
    sr-tvm compile models/wdsr_x2_37k.onnx --target android-cpu -o phone/ --fp16 --data Set5
    sr-tvm compile models/wdsr_x2_37k.onnx --target mali -o out/ --host x86 --input-shape 1x3x90x160
    sr-tvm compile models/wdsr_x2_37k.onnx --target adreno -o phone/ --verify --input-shape 1x3x360x640
    sr-tvm compile wdsr_int8.onnx --target hexagon -o dsp/ --mcpu hexagonv66
    """
    import time

    from sr_tvm.build.compiler import chosen, compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.build.output import check_output
    from sr_tvm.cli._input_shapes import merge_open
    from sr_tvm.records.tensor import shape_text
    from sr_tvm.regions.value import FLOAT32
    from sr_tvm.targets import registry

    if data is not None and not fp16:
        raise click.UsageError("--data names the pictures for --fp16; give both or neither")
    registry.check(target)
    check_output(output, database)
    shapes = merge_open(input_shapes)
    options = CompileOptions(database, not no_shipped_log, "float16" if fp16 else FLOAT32, host, mcpu)
    if fp16:
        from sr_tvm.evaluation.float16 import NotCompared, check_pictures, compare

        check_pictures(data)
    from sr_tvm.frontend.model import read_model

    if fp16 or verified:
        chosen(registry.get(target), options)  # a target that can't is told before what the file lacks
    read = read_model(model)
    comparison, uncompared = None, ""
    if fp16:  # first: numbers that float16 can't hold are no artifact
        try:
            comparison = compare(read, registry.get(target), shapes, data, options)
        except NotCompared as error:
            uncompared = str(error)
    begin = time.perf_counter()
    verification = None
    if verified:
        from dataclasses import replace

        from sr_tvm.evaluation.verification import verify

        verification = verify(read, chosen(target, options), shapes, options)
        options = replace(options, verification=verification.to_json())
    artifact = compile_model(read, target, output, shapes, options)
    seconds = time.perf_counter() - begin
    if as_json:
        from sr_tvm.records.artifact import MANIFEST, SCHEMA, VERSIONS
        from sr_tvm.system import files

        manifest = files.read_json(artifact.folder / MANIFEST, SCHEMA, *VERSIONS)
        cost = {} if comparison is None else {"fp16_against_fp32": comparison.to_json()}
        click.echo(json.dumps({"folder": str(artifact.folder), "seconds": round(seconds, 3), **manifest, **cost}))
        return
    tuned = sum(k["schedule"] == "tuned" for k in artifact.kernels)
    shape = shape_text(artifact.inputs[0].shape)
    click.echo(f"{artifact.model} for {target}, input {shape}: {len(artifact.kernels)} kernels, {tuned} tuned")
    for note in artifact.notes:
        click.echo(f"note: {note}")
    if fp16:
        kernels = (artifact.fp16 or {})["kernels"]
        click.echo(f"note: {kernels} of {len(artifact.kernels)} kernels keep numbers in float16")
        click.echo(f"note: {comparison or f'fp16 against fp32: not measured, for {uncompared}'}")
    if verification is not None:
        click.echo(f"note: {verification}")
    click.echo(f"{artifact.library_path} ({artifact.library_path.stat().st_size / 1e6:.1f} MB) in {seconds:.1f} s")
    plain = registry.get(target)
    if (plain if host is None else plain.hosted_by(host)).capabilities.runs_here:
        size = f" --input-shape {artifact.inputs[0].example()}" if artifact.any_size else ""
        click.echo(f"next: sr-tvm bench {output}{size}")
