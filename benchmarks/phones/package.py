"""Networks as C libraries: their bytes, start and memory, and their time beside TVM's virtual machine and the engines.

``make bench NAME=package``; writes benchmarks/results/package.json.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from benchmarks import common, models, options
from benchmarks.engines import ALL, OURS, PACKAGE, cell
from benchmarks.engines import package as packaged
from benchmarks.engines.process import EngineProcess
from benchmarks.phones.package_memory import peak_of_example
from benchmarks.phones.package_vs_vm import compare
from sr_tvm import shipped
from sr_tvm.errors import SrTvmError
from sr_tvm.package.native import zig
from sr_tvm.package.record import Package
from sr_tvm.records.artifact import Artifact
from sr_tvm.system.files import check_writable

NAME = "package"
NETWORKS = ("wdsr_x2_s21_40ms", "wdsr_x2_37k", "wdsr_x2_8x24")
PEERS = ("onnxruntime", "mnn", "ncnn")
PHONE = "phone"  # in a network's folder: its package for aarch64
SIZES = {"360p": (360, 640), "4k": (1080, 1920)}  # of the input
STARTS = 9
METHOD = {
    "clock": "wall time of one run_f32 of the whole picture, or of the engine's run, the input in memory already",
    "order": "each engine in a process of its own; rounds over all engines, shuffled anew each round",
    "statistic": "median; ms_low and ms_high are the first and third quartile",
    "vs_vm": "both in one process by turns, one thread, in its CPU time: the median of the pairs' ratios, time through "
    "TVM's virtual machine over time of the C library, so above 1 the library is faster",
    "vs_vm_wall": "the same of the rounds' wall times, with each number of threads",
    "code_kb": "bytes of the stripped shared library less those of its weights, in thousands",
    "peak_mb": "VmHWM of the example's process, which works by bands from a file to a pipe, in MiB, one thread",
    "start_ms": "the example's process with a picture of 1x1, from fork to end; median",
    "max_abs_err": "the C library's output against the artifact's through the virtual machine, same input",
    "aarch64": "cross-compiled; its own program checked it under qemu-aarch64. No time, no memory: emulated",
}


def build(name: str, folder: Path, size: tuple[int, int]) -> dict[str, Any]:
    """Compile and package a shipped network for this machine and a phone, and its example; gives its facts."""
    from sr_tvm.build.compiler import compile_model
    from sr_tvm.package.write import write_package

    about = models.prepare(name, folder, size)
    model = shipped.models() / f"{name}.onnx"
    package = write_package(compile_model(model, "cpu", folder / "artifact"), folder / packaged.FOLDER)
    write_package(compile_model(model, "android-cpu", folder / "phone-artifact"), folder / PHONE)
    static = package.folder / "lib" / f"lib{package.name}.a"
    sources = [package.folder / "example" / "example.c", static]
    options_c = ["-O2", f"-I{package.folder / 'include'}", "-o", folder / "example"]
    zig(["cc", "-target", f"{package.machine}-linux-gnu", *sources, *options_c], "the example")
    return about


def facts(name: str, folder: Path, pairs: int) -> list[dict[str, Any]]:
    """A row for each machine: bytes, and for this one start, memory and whether it computes what the artifact does."""
    rows = []
    for place in (packaged.FOLDER, PHONE):
        package = Package.load(folder / place)
        size = package.files[f"lib/lib{package.name}.so"]
        row: dict[str, Any] = {"model": name, "machine": package.machine, "library_bytes": size}
        row |= {"weight_bytes": package.weight_bytes, "code_kb": round((size - package.weight_bytes) / 1e3, 1)}
        if place == PHONE:
            row |= emulated(package)
        else:
            row["start_ms"] = start(folder / "example", folder)
            row |= {
                f"peak_mb_{s}": round(peak_of_example(folder / "example", *hw) / 2**20, 2) for s, hw in SIZES.items()
            }
            row["max_abs_err"] = difference(folder)
            row |= compare(folder, pairs)
        rows.append(row)
    return rows


def start(example: Path, folder: Path) -> float:
    """Milliseconds of a whole process of the example with a picture of one pixel."""
    (folder / "one.ppm").write_bytes(b"P6\n1 1\n255\n\0\0\0")
    samples = []
    for _ in range(STARTS):
        begin = time.perf_counter()
        subprocess.run([example, folder / "one.ppm", folder / "four.ppm"], check=True, timeout=60)
        samples.append((time.perf_counter() - begin) * 1e3)
    return round(statistics.median(samples), 2)


def difference(folder: Path) -> float:
    """The largest difference between the C library's output and the artifact's, for the folder's input."""
    from sr_tvm.runners.local import LocalRunner

    x = np.load(folder / "x.npy")
    loaded = packaged.load(PACKAGE, folder, 1, x)
    ours = loaded.output(loaded.call())
    device, artifact = LocalRunner(1), Artifact.load(folder / "artifact").at({"": x.shape})
    device.load(artifact)
    (wanted,) = device.run(artifact, [x])
    return float(np.abs(ours.astype(np.float64) - wanted).max())


def emulated(package: Package) -> dict[str, Any]:
    """What the phone's benchmark program says of its output under emulation; nothing where there is no emulator."""
    import json
    import shutil

    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if qemu is None:
        return {"emulated_error_of_peak": None}
    command = [qemu, package.bench, "--height", "24", "--width", "40", "--seconds", "0"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600)
    value = json.loads(done.stdout)
    return {"emulated_error_of_peak": value["error_of_peak"] if value["error"] is None else None}


def measure(
    name: str, folder: Path, about: dict[str, Any], engines: Sequence[str], threads: int, rounds: common.Rounds
) -> list[dict[str, Any]]:
    """A row for each engine; that of the package has ``vs_vm_wall``, if both ran."""
    rows: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        ready: list[common.Timed] = []
        for engine in engines:
            row: dict[str, Any] = {"model": name, "engine": engine, "threads": threads, "date": common.now()}
            rows[engine] = row | {"ms": None, "ms_low": None, "ms_high": None, "max_abs_err": None, "ok": False}
            process = stack.enter_context(EngineProcess(engine, folder, threads))
            try:
                bound = cell.EXACT if engine in (OURS, PACKAGE) else cell.TOLERANCE
                cell.judge(rows[engine], bound, **process.ready())
                ready.append(process)
            except SrTvmError as error:
                rows[engine]["error"] = str(error)
        samples, errors = common.interleave(ready, rounds) if ready else ({}, {})
    for engine, values in samples.items():
        rows[engine] |= {"error": errors[engine], "ok": False} if engine in errors else common.timing(values)
    if PACKAGE in samples and OURS in samples and not errors:
        ratios = [vm / ours for vm, ours in zip(samples[OURS], samples[PACKAGE], strict=True)]
        rows[PACKAGE]["vs_vm_wall"] = round(statistics.median(ratios), 4)
    return list(rows.values())


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The worst of each; None where nothing was measured."""

    def worst(key: str, pick: Any) -> Any:
        found = [row[key] for row in rows if row.get(key) is not None]
        return pick(found) if found else None

    peers = []
    for row in rows:
        if row.get("engine") == PACKAGE and row["ms"]:
            same = (row["model"], row["threads"])
            here = [r for r in rows if r.get("engine") in PEERS and (r["model"], r["threads"]) == same]
            times = [r["ms"] for r in here if r["ms"] and "error" not in r]
            peers += [round(min(times) / row["ms"], 3)] if times else []
    native = [row["max_abs_err"] for row in rows if "machine" in row and "max_abs_err" in row]
    return {
        "max_code_kb": worst("code_kb", max),
        "vs_vm": worst("vs_vm", min),
        "vs_vm_wall": worst("vs_vm_wall", min),
        "peak_mb_360p": worst("peak_mb_360p", max),
        "peak_mb_4k": worst("peak_mb_4k", max),
        "max_abs_err": max(native) if native else None,
        "emulated_error_of_peak": worst("emulated_error_of_peak", max),
        "worst_vs_best_peer": min(peers) if peers else None,
    }


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The rows and the summary, a line each."""
    for row in rows:
        words = [f"{k} {v}" for k, v in row.items() if k not in ("date", "ok") and v is not None]
        console.print(", ".join(words), soft_wrap=True)
    for key, value in summary.items():
        console.print(f"{key} {value}")


@click.command()
@click.option("--models", "names", default=",".join(NETWORKS), callback=options.words(()), help="Shipped x2 networks.")
@click.option("--engines", default=",".join((PACKAGE, OURS, *PEERS)), callback=options.words((PACKAGE, OURS, *PEERS)),
              help="With commas.")  # fmt: skip
@click.option("--rounds", default=40, show_default=True, type=click.IntRange(1), help="At most; and pairs for vs_vm.")
@click.option("--budget", default=60.0, show_default=True, type=click.FloatRange(0), help="Seconds of rounds for each.")
@click.option("--threads", default="1,2", show_default=True, callback=options.numbers, help="Numbers of threads.")
@click.option(
    "--input", "input_size", default="360x640", show_default=True, callback=options.size, help="Height x width, timed."
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Instead of results/package.json."
)
def main(
    names: list[str], engines: list[str], rounds: int, budget: float, threads: list[int], input_size: tuple[int, int],
    output: Path | None,
) -> None:  # fmt: skip
    """Package shipped networks and put their bytes, memory and times into benchmarks/results/package.json.

    \b
    Example:  make bench NAME=package ARGS="--models wdsr_x2_37k --threads 1"
    """
    path = output or common.RESULTS / f"{NAME}.json"
    check_writable(path)
    for name in names:
        if models.weights_file(name, models.SCALE) is None:
            raise SrTvmError(f"no shipped network {name!r}; {', '.join(NETWORKS)} are")
    plan, console, load = common.Rounds(min(5, rounds), rounds, budget), Console(), os.getloadavg()[0]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="sr-tvm-package-bench-") as place, console.status("") as status:
        for name in names:
            folder = Path(place) / name
            status.update(f"{name}: compiling")
            about = build(name, folder, input_size)
            status.update(f"{name}: start and memory")
            rows += facts(name, folder, rounds)
            for count in threads:
                status.update(f"{name}: timing with {count} threads")
                rows += measure(name, folder, about, engines, count, plan)
    summary = summarize(rows)
    how = METHOD | {"input": f"{input_size[0]}x{input_size[1]} (height x width), batch 1", "load_average_before": load}
    how |= {"load_average_after": os.getloadavg()[0], "engines": {name: ALL[name].how for name in engines}}
    packages = tuple(p for engine in engines for p in ALL[engine].packages)
    common.write_result(common.result(NAME, how, rows, summary, packages), path)
    show(rows, summary, console)
    console.print(f"wrote {path}")


if __name__ == "__main__":
    options.run(main)
