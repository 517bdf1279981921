"""The same output at every step: PyTorch, ONNX, Relax, and the artifact over RPC, for all four networks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import common, models
from sr_tvm.errors import SrTvmError
from sr_tvm.frontend.parity import TOLERANCE, Parity, compare

NAME = "parity"
SIZE = (90, 160)
DEADLINE = 300.0  # seconds: VGG-16 has half a gigabyte to upload
METHOD = {
    "reference": "PyTorch on one picture of noise in 0..1",
    "export": "ONNX Runtime on the exported file",
    "import": "Relax after import, TVM's own default build",
    "rpc": "the artifact for cpu, default schedules, on a TVM RPC server behind a tracker, both on 127.0.0.1",
    "tolerance": f"{TOLERANCE:g} of max(1, peak of the reference)",
}


def steps(name: str, folder: Path, tracker: str, key: str) -> list[Parity]:
    """One network through the loop; the comparisons in order."""
    import onnxruntime

    from sr_tvm.build.compiler import compile_model
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.frontend.onnx_file import load_onnx, resolve_inputs
    from sr_tvm.frontend.parity import run_relax
    from sr_tvm.frontend.to_relax import import_onnx
    from sr_tvm.runners.rpc import RpcRunner

    models.prepare(name, folder, SIZE)
    path, x, y = folder / "model.onnx", np.load(folder / "x.npy"), np.load(folder / "y.npy")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    exported = session.run(None, {session.get_inputs()[0].name: x})[0]
    model = load_onnx(path)
    imported = run_relax(import_onnx(model, resolve_inputs(model)), [x])[0]
    artifact = compile_model(path, "cpu", folder / "artifact", options=CompileOptions(use_shipped_log=False))
    with RpcRunner(tracker, key, deadline=DEADLINE) as device:
        remote = device.run(artifact, [x])[0]
    found = (("export", exported), ("import", imported), ("rpc", remote))
    return [compare(step, y, output) for step, output in found]


@click.command()
@click.option("--models", "names", default=",".join(models.NAMES), show_default=True, help="Comma separated.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/parity.json.")
def main(names: str, output: Path | None) -> None:
    """Compare every step afresh and rewrite benchmarks/results/parity.json.

    \b
    Example:  make bench NAME=parity
    """
    from sr_tvm.runners.tracker import start_server, start_tracker

    console = Console()
    rows: list[dict[str, Any]] = []
    with start_tracker() as tracker, start_server(tracker, "parity"):
        for name in names.split(","):
            with tempfile.TemporaryDirectory(prefix="sr-tvm-parity-") as place, console.status(name):
                for p in steps(name, Path(place), tracker, "parity"):
                    figures = {"max_abs_err": p.max_abs_err, "peak": p.peak, "ok": p.ok}
                    rows.append({"model": name, "step": p.name, **figures})
    table = Table("model", "step", "max abs error", "peak of the output")
    for r in rows:
        table.add_row(r["model"], r["step"], f"{r['max_abs_err']:.2g}", f"{r['peak']:.3g}")
    console.print(table)
    summary = {"ok": all(r["ok"] for r in rows), "worst": max(r["max_abs_err"] for r in rows)}
    value = common.result(NAME, METHOD, rows, summary, ("onnxruntime", "onnx"))
    console.print(f"wrote {common.write_result(value, output)}")
    if not summary["ok"]:
        raise SrTvmError("outputs differ: see the table")


if __name__ == "__main__":
    try:
        main()
    except SrTvmError as error:
        raise SystemExit(f"error: {error}") from None
