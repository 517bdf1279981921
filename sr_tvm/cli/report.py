"""sr-tvm report: write the HTML page of a run anew."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: Path, as_json: bool) -> None:
    """Write report.html in the folder RUN from its summary.json and the files beside it.

    \b
    Example:  sr-tvm report runs/demo
    """
    from sr_tvm.report.page import write_report

    page = write_report(run)
    if as_json:
        click.echo(json.dumps({"report": str(page), "bytes": page.stat().st_size}))
    else:
        click.echo(f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB); open it in any browser")
