"""``sr-tvm doctor``: check this installation, and say what to type where something is missing."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--fix", is_flag=True, help="First build what can be built here: the OpenCL runtime.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(fix: bool, as_json: bool) -> None:
    """Check Python, the packages and their pins, TVM, the linker, the shipped model, OpenCL, disk and memory.

    Exits with 1 if something that is needed failed; what is optional only warns.

    \b
    sr-tvm doctor
    sr-tvm doctor --fix
    """
    from sr_tvm.doctor import CHECKS, FAIL, OK, build_opencl, run

    if fix:
        click.echo(build_opencl(), err=as_json)
    results = []
    for check in CHECKS:
        result = run(check)
        results.append(result)
        if not as_json:
            click.echo(f"{click.style(f'{result.state:<4}', fg=_COLOURS[result.state])}  {result.what}: {result.found}")
            if result.state != OK and result.remedy:
                click.echo(f"      -> {result.remedy}")
    failed = sum(r.state == FAIL for r in results)
    if as_json:
        rows = [{"check": r.what, "state": r.state, "found": r.found, "remedy": r.remedy} for r in results]
        click.echo(json.dumps({"ok": failed == 0, "checks": rows}))
    elif failed:
        click.echo(f"{failed} of {len(results)} checks failed; what to type stands below each")
    else:
        click.echo("ready; next: sr-tvm upscale photo.jpg -o big.png")
    raise click.exceptions.Exit(1 if failed else 0)


_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}
