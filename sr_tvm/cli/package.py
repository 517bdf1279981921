"""``sr-tvm package``: an artifact as a C library that an app links."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--format", "kind", type=click.Choice(["c", "android"]), default="c", show_default=True, help="Android adds an AAR."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder to write. [default: ARTIFACT-FORMAT]")
@click.option("--name", help="Of the library and its functions. [default: the model's]")
@click.option(
    "--fallback", type=click.Path(path_type=Path), help="For adreno and mali: the same model's artifact for the CPU."
)
@click.option("--json", "as_json", is_flag=True, help="Print the package's record as one JSON object.")
def command(
    artifact: Path, kind: str, output: Path | None, name: str | None, fallback: Path | None, as_json: bool
) -> None:
    """Make a small C library of the artifact in the folder ARTIFACT, with nothing of TVM beside it.

    The folder has a header, a static and a shared library with the weights inside, an example, files for CMake and
    pkg-config, licences, and a benchmark program that needs nothing beside it. The artifact is of target cpu or
    android-cpu, for pictures of any size.

    Or it is of target adreno or mali, for pictures of one size, which larger ones go through in tiles. The library
    opens the phone's OpenCL by itself; --fallback takes smaller pictures, and all of them where there is no OpenCL.

    Or it is of a quantised model for target hexagon: a static library without threads or a C library, which makes bands
    of rows, and a benchmark program for the simulator.

    With --format android there is an archive (AAR) as well, for prefab and Java, with a class that enlarges bitmaps.

    \b
    sr-tvm package out/
    sr-tvm package phone/ --format android
    sr-tvm package phone/ --name wdsr -o app/libs/wdsr
    sr-tvm package adreno/ --fallback phone/
    sr-tvm package adreno/ --fallback phone/ --format android
    sr-tvm package dsp/                                            a quantised model for hexagon
    """
    from sr_tvm.package.write import write_package
    from sr_tvm.records.artifact import Artifact

    output = output or Path(f"{artifact.resolve()}-{kind}")
    cpu = None if fallback is None else Artifact.load(fallback)
    package = write_package(Artifact.load(artifact), output, name, kind, cpu)
    if as_json:
        from sr_tvm.package.record import FILE, SCHEMA, VERSION
        from sr_tvm.system import files

        record = files.read_json(package.folder / FILE, SCHEMA, VERSION)
        click.echo(json.dumps({"folder": str(package.folder), **record}))
        return
    shared = package.folder / "lib" / f"lib{package.name}.so"
    if not shared.is_file():
        shared = shared.with_suffix(".a")
    code, weights = (shared.stat().st_size - package.weight_bytes) / 1e3, package.weight_bytes / 1e3
    click.echo(f"{package.model} for {package.machine}: {shared}, {code:.0f} KB and {weights:.0f} KB of weights")
    click.echo(f"{package.folder / 'README.md'} says how to use it")
    if package.bench.is_file():
        click.echo(f"next:  sr-tvm bench {package.folder}")
