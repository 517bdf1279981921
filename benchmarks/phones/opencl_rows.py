"""Rows of the OpenCL benchmark: machine code of a compiled network, and runs of it on an OpenCL device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.engines import OPENCL, cell
from benchmarks.engines.process import EngineProcess
from benchmarks.phones import opencl_builds, opencl_counts
from benchmarks.phones.onnx_facts import Network
from benchmarks.phones.opencl_builds import GPUS, STOCK, Built, Variant
from benchmarks.phones.opencl_summary import CODE, RUN
from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.isa.network import NetworkCount
from sr_tvm.regions.value import FLOAT16
from sr_tvm.runtimes.opencl.backend import DEVICE_VARIABLE, ClDevice

Row = dict[str, Any]
UNTESTED = "untested"


def code_row(model: str, variant: Variant, size: tuple[int, int]) -> Row:
    """A row of machine code with nothing found yet."""
    row: Row = {"part": CODE, "model": model, "variant": variant.name, "how": variant.how, "target": variant.target}
    row |= {
        "generic": variant.generic,
        "dtype": variant.dtype,
        "gpu": GPUS[variant.target],
        "input": f"{size[0]}x{size[1]}",
        "date": common.now(),
    }
    keys = ("useful_macs", "slots", "mac_per_slot", "slots_per_pixel", "worst_kernel", "worst_mac_per_slot", "spills")
    keys += ("min_waves", "registers", "estimated_ms", "estimated_gmac_per_s", "kernels", "calls", "bytes", "floor")
    return row | dict.fromkeys((*keys, "traffic_vs_floor", "tuned_kernels"))


def fill_traffic(row: Row, built: Built, network: Network) -> None:
    """Note kernels, and what they move."""
    moved = sum(built.traffic[name].read + built.traffic[name].written for name in built.code.calls)
    row |= {"kernels": len(set(built.code.calls)), "calls": len(built.code.calls), "bytes": round(moved)}
    row |= {"tuned_kernels": built.tuned, "schedule": "tuned" if built.tuned else "untuned"}
    if row["how"] == STOCK:
        row["schedule"] = "dlight's default rules"
    if network.floor is not None:
        row["floor"] = network.floor * (2 if row["dtype"] == FLOAT16 else 4)
        row["traffic_vs_floor"] = round(moved / row["floor"], 4)


def fill_counts(row: Row, found: NetworkCount, pixels: int) -> None:
    """Note what the machine code of a network comes to; an error where it can't be trusted."""
    worst = min(found.counts, key=lambda c: c.mac_per_slot if c.macs else 1e9)
    spilt = [c.statistics.spills + c.statistics.fills for c in found.counts]
    waves = [c.statistics.max_waves or 0 for c in found.counts]
    ms = found.estimated_ms
    row |= {
        "useful_macs": round(found.useful_macs),
        "slots": round(found.slots),
        "mac_per_slot": round(found.mac_per_slot, 4),
        "slots_per_pixel": round(found.slots / pixels, 1),
        "worst_kernel": worst.name,
        "worst_mac_per_slot": round(worst.mac_per_slot, 4),
        "spills": sum(spilt),
        "min_waves": min(waves),
        "registers": max(c.statistics.registers for c in found.counts),
        "estimated_ms": ms if ms is None else round(ms, 2),
        "estimated_gmac_per_s": None if not ms else round(found.useful_macs / ms / 1e6, 1),
    }
    if found.problems:
        name, said = next(iter(found.problems.items()))
        row["error"] = f"{len(found.problems)} kernels can't be trusted; {name}: {said}"


def on_driver(model: Path, target: str, tuned: bool, size: tuple[int, int]) -> Row:
    """What the phone's kernels in float16 come to on this machine's OpenCL device, against float32 on the CPU.

    ``driver`` says it, or begins with UNTESTED where no device computes in float16; kernels that are wrong there are an
    error.
    """
    from sr_tvm.build.compiler import chosen
    from sr_tvm.build.options import CompileOptions
    from sr_tvm.evaluation.verification import verify
    from sr_tvm.targets import registry

    options = CompileOptions(use_shipped_log=tuned, dtype=FLOAT16)
    half = chosen(registry.get(target), options)
    try:
        half.stand_in()
    except SrTvmError as error:
        return {"driver": f"{UNTESTED}: {one_line(error)}"}
    try:
        made = verify(model, half, {"x": (1, 3, *size)}, options)
    except SrTvmError as error:
        return {"driver": "failed", "error": one_line(error)}
    return {"driver": str(made), "driver_max_err": made.deviation}


# Runs


def prepare(model: Path, size: tuple[int, int], folder: Path) -> None:
    """Write a seeded picture x.npy, and PyTorch's answer y.npy by the weights beside the ONNX file."""
    import torch

    from sr_tvm.nets import weights

    folder.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(0).random((1, 3, *size), np.float32)
    with torch.inference_mode():
        y = weights.load_weights(model.with_suffix(".safetensors"))(torch.from_numpy(x)).numpy()
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)


@dataclass(frozen=True)
class Timed:
    """How a network is run."""

    size: tuple[int, int]
    threads: int
    rounds: common.Rounds
    host: str


def run_rows(
    model: Path, variants: Sequence[Variant], device: ClDevice, how: Timed, place: Path, note: cell.Note
) -> list[Row]:  # fmt: skip
    """A row for each variant of a network on ``device``, timed in the same rounds, each in a process of its own.

    Builds with the same kernels run once: the rows of the others name the one that stands for them.
    """
    prepare(model, how.size, place)
    rows: dict[str, Row] = {}
    same: dict[str, str] = {}
    with contextlib.ExitStack() as stack, _chosen(device):
        ready: list[common.Timed] = []
        for variant in variants:
            row: Row = {"part": RUN, "model": model.stem, "variant": variant.name, "how": variant.how}
            row |= {
                "target": variant.target,
                "device": device.name,
                "device_is_gpu": device.gpu,
                "dtype": variant.dtype,
            }
            row |= {"input": f"{how.size[0]}x{how.size[1]}", "threads": how.threads, "date": common.now()}
            row |= dict.fromkeys(("ms", "ms_low", "ms_high", "max_abs_err")) | {"rounds": 0, "ok": False}
            rows[variant.name] = row
            folder = place / variant.name
            try:
                note(f"{model.stem}: compiling {variant.name}", 0)
                built = opencl_builds.build(model, variant, how.size, folder, how.host, library=True)
                row["tuned_kernels"] = built.tuned
                if (first := same.setdefault(built.code.text, variant.name)) != variant.name:
                    row["same_as"] = first
                    continue
                for file in ("x.npy", "y.npy"):
                    (folder / file).symlink_to(place / file)
                note(f"{model.stem}: starting {variant.name}", 0)
                process = stack.enter_context(EngineProcess(OPENCL, folder, how.threads, variant.name))
                cell.judge(row, cell.TOLERANCE if variant.how == STOCK else cell.EXACT, **process.ready())
                ready.append(process)
            except SrTvmError as error:
                row["error"] = str(error)
        note(f"{model.stem}: measuring", 0)
        samples, errors = common.interleave(ready, how.rounds, lambda: note(None, 1)) if ready else ({}, {})
    for name, values in samples.items():
        if name in errors:
            rows[name] |= {"error": errors[name], "ok": False}
        else:
            rows[name] |= common.timing(values) | {"rounds": len(values)}
    for row in rows.values():
        if first := row.get("same_as"):
            kept = ("ms", "ms_low", "ms_high", "max_abs_err", "ok", "rounds", "error")
            row |= {key: rows[first][key] for key in kept if key in rows[first]}
    return list(rows.values())


@contextlib.contextmanager
def _chosen(device: ClDevice) -> Iterator[None]:
    """Have the processes that start now see this device alone."""
    before = os.environ.get(DEVICE_VARIABLE)
    os.environ[DEVICE_VARIABLE] = device.name
    try:
        yield
    finally:
        os.environ.pop(DEVICE_VARIABLE) if before is None else os.environ.update({DEVICE_VARIABLE: before})


def programs_of(built: Built) -> list[opencl_counts.Program]:
    """The kernels that a network calls."""
    return list(opencl_counts.programs(built.code).values())
